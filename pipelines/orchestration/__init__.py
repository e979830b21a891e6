"""Dagster's web server and daemon for one data folder.

In: the data folder. Out: two processes that use the same Dagster home and the same code location as
`pipelines.refresh`, so that runs of the commands and of the UI are on one timeline.
Read `dagster_command`.
"""
