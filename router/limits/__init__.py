"""Limits and budgets: what a key, a user, an organisation or a session may use and spend.

    admit (rate limits) ─► choose among what fits ─► reserve (worst case) ─► call ─► record ─► settle

Where to read on:

    limits      `Limits`: the steps above         memory      counters of one process
    book        limits.yaml, compiled             remote      counters of many processes, on Redis
    counters    what a store counts, the seam     spend       what lake and journals say was spent
    periods     calendar and amounts              reservations  what was in flight when a process died
"""

from router.limits.book import LimitBook, Subjects
from router.limits.limits import UNLIMITED, Admission, Limits
from router.limits.periods import to_pico, to_usd

__all__ = ["UNLIMITED", "Admission", "LimitBook", "Limits", "Subjects", "to_pico", "to_usd"]
