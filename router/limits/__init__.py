"""Limits and budgets: what a key, a user, an organisation or a session may use and spend.

    admit (rate limits) ─► choose among what fits ─► reserve (worst case) ─► call ─► record ─► settle

Where to read on:

    limits      `Limits`: the steps above         memory      counters of one process
    admission   one request's way through         remote      counters of many processes, on Redis
    book        limits.yaml, compiled             spend       what lake and journals say was spent
    counters    what a store counts, the seam     reservations  what was in flight when a process died
    periods     calendar and amounts
"""
