"""Keeps reconciliations in the lake, and loads them into the warehouse.

    lake/reconciliations/<id>/differences.parquet     the parts of one bill
                              reconciliation.json     its facts and the digest of the parts, written last

A folder without its JSON is left of a stopped run: it counts as not kept, and the next run replaces it.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.errors import ReconciliationError
from pipelines.reconciliation.result_tables import answer
from pipelines.warehouse import sqlfiles
from router.files import make_folder, sha256_of, write_atomically
from router.journal.places import RECONCILIATIONS, entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipelines.reconciliation.reconcile import Reconciliation
    from pipelines.warehouse.warehouse import Warehouse

FACTS = "reconciliation.json"
PARTS = "differences.parquet"
DIFFERENCES_SHA256 = "differences_sha256"
_DAYS = ("first_day", "last_day")
_MONEY = ("ours_usd", "theirs_usd", "difference_usd", "differing_usd", "unexplained_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedReconciliations:
    """The result of loading the tables."""

    bills: int
    problem: str | None = None
    """Bills that were left out because their files are damaged. None: there are none."""


def keep(warehouse: Warehouse, found: Reconciliation) -> list[str]:
    """Store a reconciliation in the lake and the tables; return notes on bills of the same days.

    ReconciliationError if the same file is stored already. Nothing was changed then.
    """
    lake = warehouse.settings.lake
    known = dict(_kept(lake))
    if found.id in known:
        moment = known[found.id]["reconciled_at"]
        raise ReconciliationError(
            f"`{found.file_name}` was reconciled at {moment:%Y-%m-%d %H:%M} UTC already (the same SHA-256)."
            " Its result is in the table `reconciliations`; add --dry-run to compare it again"
        )
    notes = [
        f"overlaps with `{facts['file_name']}` ({facts['first_day']} to {facts['last_day']}):"
        " a sum of both counts days twice"
        for facts in known.values()
        if facts["catalog_providers"] == ",".join(found.catalog_providers)
        and facts["first_day"] <= found.until
        and facts["last_day"] >= found.since
    ]
    folder = lake / RECONCILIATIONS / found.id
    make_folder(folder)
    write_atomically(folder / PARTS, _parquet(found))
    facts = {**_facts(found), DIFFERENCES_SHA256: sha256_of(folder / PARTS)}
    write_atomically(folder / FACTS, json.dumps(facts, default=_text, indent=1).encode())
    load_reconciliations(warehouse)
    return notes


def load_reconciliations(warehouse: Warehouse) -> LoadedReconciliations:
    """Bring the tables up to the lake. A bill whose files are damaged is left out and named."""
    lake = warehouse.settings.lake
    problems: list[str] = []
    kept = dict(_kept(lake, problems))
    stored = {row[0] for row in warehouse.run("reconciliation/stored").fetchall()}
    with warehouse.transaction():
        for gone in sorted(stored - kept.keys()):
            _remove(warehouse, gone)
        for name in sorted(kept.keys() - stored):
            _insert(warehouse, lake / RECONCILIATIONS / name / PARTS, kept[name])
    return LoadedReconciliations(bills=len(kept), problem="; ".join(problems) or None)


def _remove(warehouse: Warehouse, name: str) -> None:
    warehouse.run(sqlfiles.delete_equal("reconciliations", "id"), value=name)
    warehouse.run(sqlfiles.delete_equal("reconciliation_differences", "reconciliation_id"), value=name)


def _insert(warehouse: Warehouse, parts: Path, facts: dict[str, Any]) -> None:
    row = {name: value for name, value in facts.items() if name != DIFFERENCES_SHA256}
    warehouse.insert("reconciliations", [row])
    warehouse.run(sqlfiles.load("tables/restore", table="reconciliation_differences"), path=str(parts))


def _kept(lake: Path, problems: list[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The facts of every bill in the lake whose files are whole."""
    for entry in entries(lake / RECONCILIATIONS):
        folder = lake / RECONCILIATIONS / entry.name
        if not (folder / FACTS).exists():
            continue
        try:
            facts = json.loads((folder / FACTS).read_bytes())
            if facts["id"] != entry.name or facts[DIFFERENCES_SHA256] != sha256_of(folder / PARTS):
                raise ValueError("does not match its SHA-256")
            for name in _DAYS:
                facts[name] = date.fromisoformat(facts[name])
            for name in _MONEY:
                facts[name] = Decimal(facts[name])
            facts["reconciled_at"] = datetime.fromisoformat(facts["reconciled_at"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if problems is not None:
                problems.append(
                    f"reconciliation `{folder}` cannot be read: {error}. Restore it from a backup, or remove"
                    " the folder and reconcile the file again"
                )
            continue
        yield entry.name, facts


def _facts(found: Reconciliation) -> dict[str, Any]:
    return {
        "id": found.id,
        "file_name": found.file_name,
        "provider": found.provider,
        "catalog_providers": ",".join(found.catalog_providers),
        "first_day": found.since,
        "last_day": found.until,
        "timezone": found.timezone,
        "matched_by": found.matched_by,
        "ours_usd": found.ours_usd,
        "theirs_usd": found.theirs_usd,
        "difference_usd": found.theirs_usd - found.ours_usd,
        "differing_usd": found.differing_usd,
        "unexplained_usd": found.unexplained_usd,
        "explained_share": found.explained_share,
        "reconciled_at": found.created_at,
    }


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(f"`{type(value).__name__}` has no text")


def _parquet(found: Reconciliation) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = answer(found.rows).table
    ids = pa.array([found.id] * table.num_rows, pa.string())
    buffer = io.BytesIO()
    pq.write_table(table.add_column(0, "reconciliation_id", ids), buffer, compression="zstd")
    return buffer.getvalue()
