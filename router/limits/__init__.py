"""Limits and budgets: what a key, a user, an organisation or a session may use and spend.

    admit (rate limits) ─► choose among what fits ─► reserve (worst case) ─► call ─► record ─► settle

Where to read on:

    limits      `Limits`: the steps above         memory      counters of one process
    admission   one request's way through them    remote      counters of many processes, on Redis
    book        limits.yaml, compiled             opening     what was charged before this process:
    counters    what a store counts, the seam     spend       … by the records of lake and journals
    periods     calendar and amounts              reservations  … by processes that were killed
"""

from router.limits.admission import UNLIMITED, Admission
from router.limits.book import LimitBook, Subjects
from router.limits.limits import Limits
from router.limits.periods import to_pico, to_usd

__all__ = ["UNLIMITED", "Admission", "LimitBook", "Limits", "Subjects", "to_pico", "to_usd"]
