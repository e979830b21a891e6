"""`Shim`: the router and the other parts that the endpoints share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.records import RequestRecord
from router.server import health
from router.server.observe import may_see

if TYPE_CHECKING:
    from router.keys.keys import Caller
    from router.readiness.faults import Fault
    from router.records import Record
    from router.router import Router
    from router.server.auth import Keys
    from router.server.guard import InFlight
    from router.server.metrics import Metrics
    from router.server.observe import RecentDecisions
    from router.server.process.group import Group
    from router.server.refusals import Refusals
    from router.sessions.usage import SessionUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    """The parts that every endpoint works with."""

    router: Router
    keys: Keys
    in_flight: InFlight
    metrics: Metrics
    decisions: RecentDecisions
    refusals: Refusals
    session_usage: SessionUsage
    group: Group | None = None
    """The other processes that serve the port, or None if there are none."""

    def see(self, record: Record, *, is_written: bool) -> None:  # noqa: ARG002 - it happened all the same
        """Count a request, and keep its decision."""
        if isinstance(record, RequestRecord):
            self.metrics.observe(record)
            self.decisions.keep(record)

    async def decision(self, request_id: str, caller: Caller) -> RequestRecord | None:
        """The record of a recent request, or None if the caller may not see it.

        If another worker answered the request, the record is not in memory, so the disk is searched.
        """
        record = self.decisions.find(request_id, caller)
        if record is None and self.group is not None:
            stored = await self.group.find_record(self.router.settings.home, request_id.lower())
            record = stored if stored is not None and may_see(caller, stored) else None
        return record

    def own_health(self) -> dict[str, Any]:
        """The health of this process."""
        return health.report(self.router, keys=self.keys, in_flight=self.in_flight)

    def faults(self) -> tuple[Fault, ...]:
        """The faults of this process."""
        return tuple(health.faults(self.router, keys=self.keys, in_flight=self.in_flight))

    def health(self) -> dict[str, Any]:
        """The report behind `/health`."""
        return self.own_health() if self.group is None else self.group.health()

    def metrics_text(self) -> str:
        """The text behind `/metrics`."""
        return self.metrics.text(self.own_health()) if self.group is None else self.group.metrics_text()
