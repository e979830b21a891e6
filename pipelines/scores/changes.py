"""`score_changes`: the change detector over the blocks of every series.

A series is the outcomes of one environment, task, model and source, those that chance decided apart
from the rest. Its memory up to the last finished hour is kept in `pipeline.change_states`, and at the
end of each of the last days, so that a refresh reads only newer blocks, and a late judgement only
those since the day before it. All of it follows from the blocks: an hour that is folded again
drops the memories of later hours.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from pipelines.scores.change_detection import Block, Change, Series

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse

DAYS_REMEMBERED = 14
"""Ends of days with a memory that is kept. A judgement from before them is read with all blocks."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

_Key = tuple[Any, ...]
"""environment, task_type, model_selected, is_drawn, source"""
KEY = ("environment", "task_type", "model_selected", "is_drawn", "source")


@dataclass(slots=True)
class _Memory:
    """A series so far."""

    series: Series = field(default_factory=Series)
    changes: list[Change] = field(default_factory=list)


def find_changes(
    warehouse: Warehouse, *, environment: str, start: datetime, last_hour: datetime
) -> list[dict[str, Any]]:
    """The changes since `start`, as rows of `score_changes`, in order. The memory of the series is kept."""
    known = _recall(warehouse, environment, last_hour)
    since, memories = known or (BEGINNING, {})
    ends = [end for end in _ends(last_hour) if end > since]
    for end in (*ends, last_hour + HOUR):
        _read(warehouse, memories, environment=environment, start=since, end=end)
        if end <= last_hour:
            _remember(warehouse, memories, environment=environment, end=end)
        since = end
    if ends:
        _forget(warehouse, environment, last_hour)
    rows = [
        {"task_type": task, "model": model, **asdict(change), "is_drawn": is_drawn, "source": source}
        for (_, task, model, is_drawn, source), memory in memories.items()
        for change in memory.changes
        if change.changed_at >= start
    ]
    return sorted(rows, key=_place)


def _place(row: dict[str, Any]) -> _Key:
    return row["task_type"], row["model"], row["changed_at"], row["is_drawn"] is True, row["source"] or ""


def _ends(last_hour: datetime) -> list[datetime]:
    """The moments at which the memory is kept: ends of days, and the last finished hour."""
    midnight = last_hour.astimezone(UTC).replace(hour=0)
    days = [midnight - day * DAY for day in range(DAYS_REMEMBERED - 1, -1, -1)]
    return sorted({*days, last_hour})


def _read(
    warehouse: Warehouse, memories: dict[_Key, _Memory], *, environment: str, start: datetime, end: datetime
) -> None:
    """Go on through the blocks of the hours from `start` to `end`."""
    rows = warehouse.run("marts/quality_blocks", environment=environment, start=start, end=end).fetchall()
    for key, members in groupby(rows, key=itemgetter(slice(len(KEY)))):
        memory = memories.setdefault(key, _Memory())
        for row in members:
            found = memory.series.add(Block(*row[len(KEY) :]))
            if found is not None:
                memory.changes.append(found[0])


def _recall(
    warehouse: Warehouse, environment: str, last_hour: datetime
) -> tuple[datetime, dict[_Key, _Memory]] | None:
    """The newest memory that holds finished hours only."""
    rows = warehouse.run("marts/change_states", environment=environment, last_hour=last_hour).fetchall()
    if not rows:
        return None
    memories = {}
    for row in rows:
        *key, _, state, changes = row
        memories[tuple(key)] = _Memory(series=Series.from_json(state), changes=_changes_of(changes))
    return rows[0][-3], memories


def _remember(
    warehouse: Warehouse, memories: dict[_Key, _Memory], *, environment: str, end: datetime
) -> None:
    names = ("scored_environment", *KEY, "next_hour", "state", "changes")
    rows = [
        (environment, *key, end, memory.series.to_json(), _text_of(memory.changes))
        for key, memory in memories.items()
    ]
    warehouse.insert("pipeline.change_states", [dict(zip(names, row, strict=True)) for row in rows])


def _forget(warehouse: Warehouse, environment: str, last_hour: datetime) -> None:
    """Drop the memories that `_ends` no longer names."""
    warehouse.run("marts/change_states_kept", environment=environment, ends=_ends(last_hour))


def _text_of(changes: list[Change]) -> str:
    return json.dumps([{**asdict(item), "changed_at": item.changed_at.isoformat()} for item in changes])


def _changes_of(text: str) -> list[Change]:
    return [
        Change(**{**item, "changed_at": datetime.fromisoformat(item["changed_at"])})
        for item in json.loads(text)
    ]
