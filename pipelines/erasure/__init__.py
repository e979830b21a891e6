"""Persons leave the lake, and a certificate says so.

In: a user id, or the tombstone of an earlier erasure. Out: rewritten segments, a certificate.
Read `erasure` first: it names the steps, which `pipelines.flow` runs.

    tombstones        who was erased, as keyed hashes     persons        which rows are theirs
    leftovers         damaged and set-aside files         search         the id in every byte
    config_mentions   files that people edit              certificates   what was done, for the file
"""
