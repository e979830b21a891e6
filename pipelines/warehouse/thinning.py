"""Bounds the history of scores, whatever the pace of refreshes, and the ledger of loads."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse

KEPT_WHOLE = timedelta(minutes=5)
"""Older history keeps the last snapshot of each five minutes."""
KEPT_OFTEN = timedelta(hours=1)
"""Older history keeps the last snapshot of each hour."""
LEDGER_KEPT = timedelta(days=30)
"""Lines of segments that are gone stay for so long in the ledger."""


def thinned(warehouse: Warehouse, now: datetime) -> list[str]:
    """The snapshots that the history does not need as of `now`."""
    found = warehouse.run(
        "retention/thinned_snapshots",
        often_before=now - KEPT_WHOLE,
        hourly_before=now - max(KEPT_OFTEN, KEPT_WHOLE),
    )
    return [snapshot_id for (snapshot_id,) in found.fetchall()]


def thin(warehouse: Warehouse, now: datetime) -> None:
    """Drop the snapshots that the history does not need, with their score files.

    Each refresh would otherwise leave a file for the whole catalog.
    """
    gone = thinned(warehouse, now)
    if not gone:
        return
    warehouse.run("retention/thin_history", thinned=gone)
    for snapshot_id in gone:
        warehouse.settings.scores_file.with_name(f"{snapshot_id}.json").unlink(missing_ok=True)


def thin_ledger(warehouse: Warehouse, now: datetime) -> int:
    """Drop the ledger's lines of segments that are gone from the lake. Return their number.

    Retention or a merge of segments removed them LEDGER_KEPT ago or earlier. A rebuild does not have these
    lines either: a file that comes back from a backup is of a closed day, or its rows have known ids.
    """
    found = warehouse.run("load/forgettable_segments", before=now - LEDGER_KEPT).fetchall()
    gone: dict[str, list[str]] = defaultdict(list)
    for dataset, name, path in found:
        if not (warehouse.settings.lake / path).exists():
            gone[dataset].append(name)
    for dataset, names in gone.items():
        warehouse.run("load/forget_segments", dataset=dataset, names=names)
    return sum(len(names) for names in gone.values())
