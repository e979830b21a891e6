"""Variables of the environment, before they are settings.

    environment and `.env` ─► names ─► `router.config.Settings`

Read `database_url` for the addresses that DATABASE_URL takes, then `names` for other names of variables.
"""
