"""Recent decisions: the latest records, and the rule which caller may see which."""

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
"""Fields of a record that are shown with its explanation. They do not include the request's owner."""


class RecentDecisions:
    """The latest requests by id, bounded in number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._records: OrderedDict[str, RequestRecord] = OrderedDict()

    def keep(self, record: RequestRecord) -> None:
        """Remember a record, and forget the oldest if there are too many."""
        self._records[record.id] = record
        while len(self._records) > self._most:
            self._records.popitem(last=False)

    def find(self, request_id: str, caller: Caller) -> RequestRecord | None:
        """The record, or None if it is not here or the caller may not see it."""
        record = self._records.get(request_id.lower())
        return record if record is not None and may_see(caller, record) else None


def described(record: RequestRecord) -> dict[str, Any]:
    """A record's decision, its reason, and the alternatives."""
    explanation = explain(record)
    return {
        **{name: getattr(record, name) for name in SHOWN},
        "reproduced": explanation.reproduced,
        "reasons": list(explanation.reasons),
        "excluded": dict(explanation.excluded),
        "what_if": list(explanation.what_if),
    }


def may_see(caller: Caller, record: RequestRecord) -> bool:
    """Whether it is the caller's own request, or `report` shows it within the key's organisation and user."""
    if caller.key_id is not None and caller.key_id == record.api_key_id:
        return True
    return (
        not caller.scopes.isdisjoint(("report", "admin"))
        and caller.organization_id in (None, record.organization_id)
        and caller.user_id in (None, record.user_id)
    )
