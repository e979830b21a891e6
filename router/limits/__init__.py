"""Limits and budgets: what a key, a user, an organisation or a session may use and spend.

    admit (rate limits) ─► choose among what fits ─► reserve (worst case) ─► call ─► record ─► settle

Where to read on:

    limits      `Limits`: the steps above         memory      counters of one process
    admission   one request's way through         shared      counters of one machine's processes, in a file
    book        limits.yaml, compiled             remote      counters of many machines, on Redis
    counters    what a store counts, the seam     spend       what lake and journals say was spent
    periods     calendar and amounts              reservations  what was in flight when a process died
"""
