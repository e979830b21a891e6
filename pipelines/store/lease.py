"""The lease: one host at a time compacts, erases, applies retention and publishes.

    lease.json     {"holder", "host", "until"}

Two hosts that merge the same segments into two would count their rows twice.
"""

from __future__ import annotations

import json
import socket
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.errors import StoreError

if TYPE_CHECKING:
    from pipelines.store.objects import Objects

KEY = "lease.json"
TERM = timedelta(minutes=15)
SLACK = timedelta(minutes=5)
"""The clocks of two hosts may differ by so much."""


def take(objects: Objects, holder: str, *, now: datetime) -> None:
    """Take or renew the lease. StoreError if another host holds it."""
    found = objects.read(KEY)
    version = None
    if found is not None:
        content, version = found
        held = _parsed(content)
        until = held.get("until")
        if held.get("holder") != holder and (until is None or datetime.fromisoformat(until) + SLACK > now):
            raise StoreError(
                f"host `{held.get('host')}` derives for `{objects.url}` until {until}: stop its"
                " `intellirouter sync --derive`, or wait until then. One host compacts, erases and publishes"
            )
    content = json.dumps(
        {"holder": holder, "host": socket.gethostname(), "until": (now + TERM).isoformat()}
    ).encode()
    if not objects.swap(KEY, content, version):
        raise StoreError(f"another host took the lease of `{objects.url}` in this moment: try again")


def give_back(objects: Objects, holder: str) -> None:
    """End the lease, if this host holds it."""
    found = objects.read(KEY)
    if found is not None and _parsed(found[0]).get("holder") == holder:
        objects.remove([KEY])


def _parsed(content: bytes) -> dict[str, str]:
    try:
        held = json.loads(content)
        if held.get("until") is not None:
            datetime.fromisoformat(held["until"])
    except (ValueError, TypeError, AttributeError):
        return {"host": "unknown"}
    return dict(held)
