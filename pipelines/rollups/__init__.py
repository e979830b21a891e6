"""Hourly and daily aggregates, computed again only where a load touched them.

In: rows of the warehouse and the list of stale hours. Out: the hourly rollups and the daily marts.
Read `tables` (the list of rollups), `rollups` (folding), `engines` (DuckDB, or `spark` with `spark_sql`),
then `removed_rollups` (the shares of rows that were taken out of the lake) and `archived_rollups` (the
rollups that came with another folder).
"""
