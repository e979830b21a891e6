"""One lake for many hosts: an object store (LAKE_URL) that every host brings its own folder in line with.

    host A: journal ─► lake ──┐                          ┌── lake ◄─ journal: host B
                              ├─► objects of LAKE_URL ◄──┤
    pipelines' host: lake, scores, usage, bills ─────────┘

In: a data folder and a store. Out: the same folder with the segments of all hosts, and the store with its
own. Nothing else of the product knows of the store: routers seal and read their folder, jobs load it.
Read in this order:

    objects       the store behind six calls
    rounds        one round of bringing both sides in line, in the order that loses nothing
    segments      segments and manifests: fetching, sending, and removing obsolete ones
    files         the files that the jobs publish, as one snapshot
    lease         one host derives at a time
    sync_command  `intellirouter sync`
"""
