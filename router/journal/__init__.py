"""Stores records on disk: from a record to a sealed Parquet segment, and back.

Input: records (`router.records`). Output: `journal/` while they wait, `lake/` once they are sealed.
Read in this order:

    journal      an append is safe before the reply leaves; a thread seals every few seconds
    group_sync   one fdatasync for all waiting callers
    segments     a journal becomes one Parquet file for each hour
    manifests    describe segments: a segment exists once its manifest does
    chains       the hash chain of each writer
    places       the folders of the lake
    reading      records back from journals and lake       lookup   one request's record
"""
