"""`Balance`: a budget as it binds one subject now, for `GET /v1/budgets`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.limits.periods import to_usd

if TYPE_CHECKING:
    from router.limits.counters import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One budget of one subject. Amounts are pico-dollars."""

    account: Account
    charged: int
    """Spent and reserved, by every process that counts together."""
    reserved: int
    """The part of it that this process holds for requests in flight."""

    def facts(self) -> dict[str, Any]:
        """For people. Amounts are dollars as text, so that they stay exact."""
        account = self.account
        is_total = account.period == "total"
        return {
            "id": account.budget_id,
            "scope": account.scope,
            "subject": account.subject,
            "period": account.period,
            "mode": "hard" if account.is_hard else "soft",
            "limit_usd": to_usd(account.limit),
            "spent_usd": to_usd(self.charged - self.reserved),
            "reserved_usd": to_usd(self.reserved),
            "remaining_usd": to_usd(max(account.limit - self.charged, 0)),
            "period_start": None if is_total else _moment(account.starts_s),
            "period_end": None if is_total else _moment(account.ends_s),
        }


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
