"""The lake: which segments there are, whether to trust them, how they are replaced.

In: the folders that the router seals segments into (`router.journal`). Out: trusted segments, suspects
with a reason, rewritten segments. Read in this order:

    reading      listing and verifying segments
    versions     older schema versions, read as the current one
    replacing    a rewritten segment takes the place of others, in one step
    compaction   many small segments of a finished hour become few
    audit        walking the hash chains
"""
