"""Whether a request can succeed now, and every reason against it.

    parts of the router ─► faults ─┐
    disk, Redis, warehouse ─► probes ─┴─► watch ─► `/health`, `/readyz`, the start-up line and the log

Read `faults` for the faults that memory shows, `probes` for those that need a look at the disk or at
Redis, then `watch`. `check` is `intellirouter config check`, which looks without a running router.
"""
