"""The report behind `/health`: the router, the shim and the published warehouse."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from router.router import Router
    from router.server.auth import Keys
    from router.server.guard import InFlight


def report(router: Router, *, keys: Keys, in_flight: InFlight) -> dict[str, Any]:
    """The health of the router and of the shim."""
    health = router.health()
    key_health = keys.health()
    if key_health["error"] is not None:
        health["status"] = "degraded"
    return {
        **health,
        "keys": key_health,
        "in_flight": in_flight.count,
        "workers": {"wanted": 1, "running": 1},
        "warehouse": warehouse(router.settings.warehouse_file, router.settings.warehouse_facts_file),
    }


def warehouse(file: Path, facts_file: Path) -> dict[str, Any]:
    """Age of the published warehouse, and the measurements that the pipelines took when they published it.

    This process never opens the warehouse. `query_ms` is the time of one query on this very file at
    publishing: the last day's requests and cost by task. `age_s` counts from the content's last change.
    A value is None if there is no warehouse, or if the value is unknown.
    """
    try:
        age_s = max(time.time() - file.stat().st_mtime, 0.0)
    except OSError:
        return {"age_s": None, "published_at": None, "query_ms": None}
    try:
        facts = json.loads(facts_file.read_bytes())
        return {"age_s": age_s, "published_at": facts["published_at"], "query_ms": facts["query_ms"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {"age_s": age_s, "published_at": None, "query_ms": None}
