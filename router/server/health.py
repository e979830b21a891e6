"""The report behind `/health`: the router, the shim and the published warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.readiness.faults import Fault, status_of
from router.readiness.probes import warehouse_report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.router import Router
    from router.server.auth import Keys
    from router.server.guard import InFlight


def report(router: Router, *, keys: Keys, in_flight: InFlight) -> dict[str, Any]:
    """The health of the router and of the shim."""
    return {
        **router.health(),
        **status_of(faults(router, keys=keys, in_flight=in_flight)),
        "keys": keys.health(),
        "in_flight": in_flight.count,
        "workers": {"wanted": 1, "running": 1},
        **warehouse_report(router.settings),
    }


def faults(router: Router, *, keys: Keys, in_flight: InFlight) -> Iterator[Fault]:
    """The faults of the router, and of the shim: its keys and its load."""
    yield from router.faults()
    health = keys.health()
    if health["error"] is not None:
        yield Fault("keys", f"{health['error']}. The last usable keys stay in force")
    if not health["active"] and not health["is_loopback_open"]:
        reason = "no key is active, so no caller is let in: make one with `intellirouter keys create`"
        yield Fault("keys", reason, is_blocking=True)
    if in_flight.is_full:
        reason = f"`{in_flight.count}` requests are in flight: wait, or raise MAX_IN_FLIGHT"
        yield Fault("load", reason, is_blocking=True)
