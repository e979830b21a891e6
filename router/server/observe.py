"""Recent decisions: the latest records, and who may see which."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from router.decision.explanations import explain

if TYPE_CHECKING:
    from router.keys.keys import Caller
    from router.records import RequestRecord

SHOWN = (
    "id",
    "timestamp",
    "task_type",
    "task_type_source",
    "model_requested",
    "model_selected",
    "provider",
    "policy_id",
    "policy_version",
    "strategy",
    "propensity",
    "is_exploration",
    "experiment_id",
    "variant",
    "snapshot_id",
    "candidates",
    "attempts",
    "cost_usd",
    "success",
    "error_type",
)
"""What of a record is shown beside its explanation; whose request it was is not."""


class RecentDecisions:
    """The latest requests by id, bounded in number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._records: OrderedDict[str, RequestRecord] = OrderedDict()

    def keep(self, record: RequestRecord) -> None:
        """Remember a record, and forget the oldest when there are too many."""
        self._records[record.id] = record
        while len(self._records) > self._most:
            self._records.popitem(last=False)

    def find(self, request_id: str, caller: Caller) -> RequestRecord | None:
        """The record, when it is the caller's to see; None when it is not, or not here."""
        record = self._records.get(request_id.lower())
        return record if record is not None and may_see(caller, record) else None


def described(record: RequestRecord) -> dict[str, Any]:
    """A record's decision: why, and what else could have been."""
    explanation = explain(record)
    return {
        **{name: getattr(record, name) for name in SHOWN},
        "reproduced": explanation.reproduced,
        "reasons": list(explanation.reasons),
        "excluded": dict(explanation.excluded),
        "what_if": list(explanation.what_if),
    }


def may_see(caller: Caller, record: RequestRecord) -> bool:
    """One's own request; with `report` any of the key's organisation and user, where it is bound to one."""
    if caller.key_id is not None and caller.key_id == record.api_key_id:
        return True
    return (
        not caller.scopes.isdisjoint(("report", "admin"))
        and caller.organization_id in (None, record.organization_id)
        and caller.user_id in (None, record.user_id)
    )
