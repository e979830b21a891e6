"""Questions to the published warehouse.

In: SQL, or the name of a report in `sql/reports`. Out: an `Answer`, a pyarrow Table (`reports`), and its
table, CSV, JSON or Parquet (`output`).
"""
