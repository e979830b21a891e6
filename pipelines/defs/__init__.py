"""The Dagster assets: each a thin call of the module that does the work."""
