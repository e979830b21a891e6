"""Runs queries on the published warehouse.

In: SQL, or the name of a report in `sql/reports`. Out: an `Answer` with a pyarrow Table (`reports`), printed
as a table, CSV, JSON or Parquet (`output`). Windows, days and months of a time zone are in `periods`.
"""
