"""Removes rows past their period from the lake, and keeps their rollups.

In: the periods of the settings and of `retention.yaml`. Out: a smaller lake, sealed rollups.
Read `retention` first: it names the steps, which `pipelines.flow` runs.

    holds      periods by organisation, legal holds     expiry     the rows and partitions to remove
    removals   removing single rows of a segment        progress   the cutoffs that retention reached
    purge      Dagster's own old runs               admission  segments of closed days are counted
"""
