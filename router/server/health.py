"""Whether the shim lives, may be sent requests, and how it is."""

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
    """The router's health and the shim's own."""
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
    """Age of the published warehouse, and what the pipelines measured when they published it.

    This process never opens the warehouse: `query_ms` is how long the last day's requests and cost by
    task took on this very file when it was published. None: there is none, or it is not known.
    `age_s` is since the content last changed.
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
