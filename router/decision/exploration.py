"""Limits the cost of exploration in a day: the budget of a policy, counted in expectation."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime

    from router.decision.plan import Plan
    from router.policies.policy import Policy


class ExplorationBudgets:
    """Expected extra dollars of exploration in the present day (UTC), by policy.

    A decision counts the expected extra cost of its plan, not of its draw, so that chance neither ends
    nor prolongs exploration. Each process counts its own decisions, from its start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _day and _spent: requests may be decided in threads
        self._day: date | None = None
        self._spent: dict[str, float] = {}

    def within(self, policy: Policy, plan: Plan, at: datetime) -> Plan:
        """The plan, or its frugal variant if the policy's budget has no room for the exploration."""
        if policy.exploration_usd_per_day is None or plan.exploration_usd <= 0:
            return plan
        with self._lock:
            if at.date() != self._day:
                self._day = at.date()
                self._spent.clear()
            spent = self._spent.get(policy.id, 0.0) + plan.exploration_usd
            if spent > policy.exploration_usd_per_day:
                return plan.frugal
            self._spent[policy.id] = spent
        return plan

    def spent_usd(self, at: datetime) -> dict[str, float]:
        """Expected extra cost so far in the day of `at`, by each policy with a budget that explored."""
        with self._lock:
            return dict(self._spent) if at.date() == self._day else {}
