"""Rows past their period leave the lake; what was learnt from them stays.

In: the periods of the settings and of `retention.yaml`. Out: a smaller lake, sealed rollups.
Read `retention` first: it names the steps, which `pipelines.flow` runs.

    holds      periods by organisation, legal holds     expiry     what goes of each partition
    removals   single rows leave a segment              progress   how far retention has come
    purge      Dagster's own old runs
"""
