"""Publishes the files of `GET /v1/usage`: one for each organisation, replaced whole where it changed.

A router reads its caller's file and never the warehouse. An erased person leaves the files with the next
catch-up, as they leave the tables.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

import orjson

from pipelines.warehouse import sqlfiles
from router.files import make_folder, sync_folder, write_atomically
from router.request.usage import USAGE_DAYS, usage_file

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.warehouse.warehouse import Warehouse

COLUMNS = (
    "day",
    "model",
    "task",
    "user",
    "requests",
    "successes",
    "tokens_input",
    "tokens_output",
    "requests_with_cost",
    "cost_usd",
)
OWNER_ONLY = 0o600


def publish_usage(warehouse: Warehouse) -> int:
    """Write the files that changed, and remove those of organisations without rows. Return how many."""
    latest = warehouse.value(sqlfiles.load("rollups/latest_record"), now=datetime.now(UTC))
    as_of = latest.astimezone(UTC) if isinstance(latest, datetime) else None
    since = (as_of or datetime.now(UTC)) - timedelta(days=USAGE_DAYS)
    since = since.replace(hour=0, minute=0, second=0, microsecond=0)
    found = warehouse.run("marts/published_usage", since=since).fetchall()
    savings = _savings(warehouse)
    home, kept, changed = warehouse.settings.home, set[str](), 0
    for organization, rows in groupby(found, key=lambda row: row[0]):
        path = usage_file(home, organization)
        kept.add(path.name)
        facts = {
            "since": since.date().isoformat(),
            "as_of": None if as_of is None else as_of.isoformat(),
            "savings": savings.get(organization),
            "rows": [_row(row[1:]) for row in rows],
        }
        changed += _publish(path, facts)
    folder = usage_file(home, None).parent
    gone = [path for path in folder.glob("*.json") if path.name not in kept] if folder.exists() else []
    for path in gone:
        path.unlink()
    if gone:
        sync_folder(folder)
    return changed + len(gone)


def _savings(warehouse: Warehouse) -> dict[str | None, dict[str, Any]]:
    """Each organisation's saving, its moments as text."""
    found = warehouse.run("marts/published_savings")
    names = [name for name, *_ in found.description]
    rows = (dict(zip(names, row, strict=True)) for row in found.fetchall())
    return {
        row.pop("organization_id"): {
            name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
            for name, value in row.items()
        }
        for row in rows
    }


def _row(values: tuple[Any, ...]) -> dict[str, Any]:
    row = dict(zip(COLUMNS, values, strict=True))
    cost = row["cost_usd"]
    return {**row, "day": row["day"].isoformat(), "cost_usd": None if cost is None else f"{cost:f}"}


def _publish(path: Path, facts: dict[str, Any]) -> bool:
    """Replace the file unless it holds the same rows. Return whether it did."""
    try:
        published = orjson.loads(path.read_bytes())
        if {name: published.get(name) for name in facts} == facts:
            return False
    except (FileNotFoundError, ValueError, AttributeError):
        pass  # absent or damaged: either way it is written
    make_folder(path.parent)
    content = {"published_at": datetime.now(UTC).isoformat(), **facts}
    write_atomically(path, orjson.dumps(content), mode=OWNER_ONLY)
    return True
