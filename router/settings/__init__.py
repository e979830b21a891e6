"""Variables of the environment, before they are settings.

    environment and `.env` ─► environment ─► names ─► `router.config.Settings`

Read `environment` for the variables and their origin, `names` for other names and misspellings, then
`database_url` for the addresses that DATABASE_URL takes.
"""
