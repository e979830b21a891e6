"""The mirror: the tables of the published warehouse in PostgreSQL, kept equal part by part.

A step is one transaction: stage the rows of some parts, delete what the target holds of them, insert, note
the parts in the target's ledger. A killed run therefore leaves whole steps, and the next one goes on after
them. A row that moved to another segment (a merge) is deleted and inserted in the same step. Parts that
the warehouse has no more (erased, expired, merged) are deleted last, so that no reader misses a row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.copies import layout, published
from pipelines.copies.kinds import mend
from pipelines.copies.postgres import LOCK_WAIT_S, SHAPE, Target, checked_url, shown
from pipelines.errors import CopyError, RefusedRowsError
from pipelines.reports.reports import opened
from router.errors import ConfigError
from router.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from pipelines.copies.published import Part, PublishedTable
    from router.config import Settings

STEP_ROWS = 50_000
"""A step takes parts until it has so many rows. It bounds the work that a stopped run repeats."""
STEP_PARTS = 1000
BATCH_ROWS = 10_000
"""Rows in memory at once."""


@dataclass(slots=True, kw_only=True)
class MirrorResult:
    """The result of one run."""

    target: str
    tables: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """Rows written, by table."""
    parts_copied: int = 0
    parts_removed: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Parts whose rows PostgreSQL refuses, with the reason."""
    notes: list[str] = field(default_factory=list)
    """The steps that a person must still take."""


def is_current(settings: Settings) -> bool:
    """Whether the mirror's last run copied the warehouse that is published now, to this target."""
    if settings.mirror_url is None or not settings.warehouse_file.exists():
        return True
    try:
        facts = json.loads(settings.mirror_facts_file.read_bytes())
    except (OSError, ValueError):
        return False
    return bool(facts == {**facts, **_facts(settings, settings.mirror_url.get_secret_value())})


def mirror(settings: Settings, *, full: bool = False, lock_wait_s: float = LOCK_WAIT_S) -> MirrorResult:
    """Make the copies equal to the published warehouse. `full` copies every part again.

    CopyError if the target cannot be brought up to date. Steps that were committed stay.
    """
    if settings.mirror_url is None:
        raise ConfigError(f"no mirror is set: set MIRROR_URL to {SHAPE}")
    url = checked_url(settings.mirror_url.get_secret_value())
    with opened(settings) as connection:
        facts = _facts(settings, url)
        with Target(url, settings.mirror_schema, lock_wait_s=lock_wait_s) as target:
            result = MirrorResult(target=target.shown)
            standing = layout.prepare(target)
            tables = published.tables(connection)
            for name in sorted(standing.made.keys() - {table.name for table in tables}):
                layout.drop(target, name)
            for table in tables:
                layout.fit(target, table, standing)
                _follow(connection, target, table, result, full=full)
                result.tables += 1
            note = layout.open_to_readers(target, settings.mirror_reader)
            result.notes += [note] if note else []
    if not result.refused:
        written = {**facts, "mirrored_at": datetime.now(UTC).isoformat()}
        write_atomically(settings.mirror_facts_file, json.dumps(written).encode())
    return result


def checked(result: MirrorResult) -> MirrorResult:
    """The result, or a CopyError that names parts that were left out."""
    if result.refused:
        listed = "; ".join(f"`{part}`: {reason}" for part, reason in list(result.refused.items())[:8])
        raise CopyError(
            f"{len(result.refused)} parts were not copied to `{result.target}`, all others were: {listed}."
            " Look at these rows in the warehouse (`intellirouter sql`)"
        )
    return result


def _facts(settings: Settings, url: str) -> dict[str, str | int]:
    status = settings.warehouse_file.stat()
    return {
        "changed_ns": status.st_mtime_ns,
        "bytes": status.st_size,
        "target": shown(url),
        "schema": settings.mirror_schema,
    }


def _follow(
    connection: duckdb.DuckDBPyConnection,
    target: Target,
    table: PublishedTable,
    result: MirrorResult,
    *,
    full: bool,
) -> None:
    """Copy the parts that differ, then remove those that the warehouse has no more."""
    with target.transaction(f"read the ledger of `{table.name}`"):
        held = {part: (rows, digest) for part, rows, digest in target.run("known_parts", table.name)}
    wanted = published.parts(connection, table)
    changed = {part: item for part, item in wanted.items() if full or held.get(part) != tuple(item)}
    for names in _steps(changed):
        _copy(connection, target, table, {name: changed[name] for name in names}, result)
    gone = sorted(held.keys() - wanted.keys())
    if gone:
        with target.transaction(f"remove rows of `{table.name}`"):
            _delete(target, table, gone)
            target.run("forget_parts", table.name, json.dumps(gone))
        result.parts_removed += len(gone)


def _steps(changed: Mapping[str, Part]) -> Iterator[list[str]]:
    step: list[str] = []
    rows = 0
    for name, part in changed.items():
        if step and (rows + part.rows > STEP_ROWS or len(step) == STEP_PARTS):
            yield step
            step, rows = [], 0
        step.append(name)
        rows += part.rows
    if step:
        yield step


def _copy(
    connection: duckdb.DuckDBPyConnection,
    target: Target,
    table: PublishedTable,
    parts: Mapping[str, Part],
    result: MirrorResult,
) -> None:
    try:
        with target.transaction(f"write rows of `{table.name}`"):
            rows = _replace(connection, target, table, parts)
    except RefusedRowsError as error:
        if len(parts) == 1:
            result.refused.update({f"{table.name}/{name}": str(error) for name in parts})
            return
        for name, part in parts.items():
            _copy(connection, target, table, {name: part}, result)
        return
    result.rows[table.name] = result.rows.get(table.name, 0) + rows
    result.parts_copied += len(parts)


def _replace(
    connection: duckdb.DuckDBPyConnection,
    target: Target,
    table: PublishedTable,
    parts: Mapping[str, Part],
) -> int:
    """Replace the parts' rows in the open transaction. Returns the number of rows."""
    names = list(parts)
    staged = ",\n    ".join(f"{column.quoted} {column.staged}" for column in table.columns)
    target.run("create_staging", columns=staged)
    rows = target.stage(_staged_batches(connection, table, names))
    if rows != sum(part.rows for part in parts.values()):
        raise CopyError(
            f"the parts of `{table.name}` have {sum(part.rows for part in parts.values())} rows, and {rows}"
            " were read: run `intellirouter mirror` again"
        )
    _delete(target, table, names)
    copy = target.table(table.name)
    if table.is_raw:
        target.run("delete_staged", table=copy, key=table.key.quoted, value=_qualified(table.key.value))
    target.run(
        "insert_staged",
        table=copy,
        names=",\n    ".join(column.quoted for column in table.columns),
        values=",\n    ".join(column.value for column in table.columns),
    )
    noted = [[name, part.rows, part.digest] for name, part in parts.items()]
    target.run("note_parts", table.name, json.dumps(noted))
    return rows


def _qualified(value: str) -> str:
    """A staged value, where the copy has a column of the same name."""
    return value.replace('"', 'staging."', 1)


def _staged_batches(
    connection: duckdb.DuckDBPyConnection, table: PublishedTable, names: Sequence[str]
) -> pa.RecordBatchReader:
    reader = published.batches(connection, table, names, BATCH_ROWS)
    return pa.RecordBatchReader.from_batches(reader.schema, (mend(batch, table.columns) for batch in reader))


def _delete(target: Target, table: PublishedTable, names: Sequence[str]) -> None:
    copy, listed = target.table(table.name), json.dumps(list(names))
    if table.slicing == "segments":
        target.run("delete_segments", listed, table=copy)
    elif table.moment is not None:
        kind = next(column.kind for column in table.columns if column.name == table.moment)
        zone = "" if kind == "date" else " at time zone 'UTC'"
        start = "gone.day" if kind == "date" else f"cast(gone.day as timestamp){zone}"
        stop = "gone.day + 1" if kind == "date" else f"cast(gone.day + 1 as timestamp){zone}"
        moment = f'"{table.moment}"'
        target.run("delete_days", listed, table=copy, moment=moment, start=start, stop=stop)
    else:
        target.run("delete_all", table=copy)
