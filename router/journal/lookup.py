"""Finds a request's record in the lake, or in a journal of this or another process."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from router.journal.places import hour_folder
from router.journal.reading import read_folders, unsealed_records
from router.records import Attempt, Candidate, RequestRecord, Tag, moment_of

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_AMOUNTS = ("cost_usd", "provider_cost_usd", "baseline_cost_usd", "budget_reserved_usd")
_NAMES = tuple(item.name for item in fields(RequestRecord))


def find_record(home: Path, request_id: str) -> RequestRecord | None:
    """The record of an answered request; None if it is not stored (any more).

    Journals come first, so that a record that is sealed meanwhile is found in the lake.
    """
    try:
        moment = moment_of(request_id)
    except ValueError:
        return None
    row = _in_journals(home, request_id) or _in_lake(home, request_id, moment)
    return None if row is None else _record(row, moment)


def _in_journals(home: Path, request_id: str) -> dict[str, Any] | None:
    found = unsealed_records(home, RequestRecord.DATASET, naming=request_id)
    return next((row for row in found if row["id"] == request_id), None)


def _in_lake(home: Path, request_id: str, moment: datetime) -> dict[str, Any] | None:
    import pyarrow.compute as pc

    folder = hour_folder(home / "lake", RequestRecord.DATASET, moment)
    if not folder.exists():
        return None
    # Ids are in order of time, so the statistics of most files show that they do not hold it.
    table = read_folders([folder], list(_NAMES), where=pc.field("id") == request_id).table
    return table.to_pylist()[0] if table.num_rows else None


def _record(row: dict[str, Any], moment: datetime) -> RequestRecord:
    values = {name: row[name] for name in _NAMES if name in row}
    for name in _AMOUNTS:
        if values.get(name) is not None:
            values[name] = Decimal(values[name])
    return RequestRecord(
        **{
            **values,
            "timestamp": moment,
            "tags": [Tag(**item) for item in row["tags"] or ()],
            "candidates": [Candidate(**item) for item in row["candidates"] or ()],
            "attempts": [Attempt(**item) for item in row["attempts"] or ()],
        }
    )
