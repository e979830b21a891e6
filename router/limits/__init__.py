"""Limits and budgets: how much a key, a user, an organisation or a session may use and spend.

    admit (rate limits) ─► choose among models that fit ─► reserve (worst case) ─► call ─► record ─► settle

Where to read on:

    limits      `Limits`: the steps above         memory      counters of one process
    admission   one request's way through         shared      counters of one machine's processes, in a file
    book        limits.yaml, compiled             remote      counters of many machines, on Redis
    counters    the interface of a store          spend       spending by lake and journals
    periods     calendar and amounts              reservations  requests in flight at a process's death
    leases      parts of budgets, for the time in which Redis is away
    epochs      the time between two losses of Redis's data, and the hosts' reports in between
    hosts       a host's memory of epochs, in its data folder
"""
