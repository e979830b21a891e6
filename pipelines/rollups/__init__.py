"""Hourly and daily aggregates, computed again only where a load touched them.

In: rows of the warehouse and the list of stale hours. Out: the hourly rollups and the daily marts.
Read `tables` (which rollups there are), `rollups` (folding), then `removed_rollups` (what rows that
were taken out of the lake still add).
"""
