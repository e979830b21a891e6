"""The lake: lists segments, decides which to trust, and replaces them.

In: the folders that the router seals segments into (`router.journal`). Out: trusted segments, suspects
with a reason, rewritten segments. Read in this order:

    reading      listing and verifying segments
    versions     older schema versions, read as the current one
    replacing    putting a rewritten segment in the place of others, in one step
    compaction   merging the small segments of a finished hour
    audit        walking the hash chains
"""
