"""The shares of removed rows in the rollups, kept so that bills do not change.

    lake/removals/date=2026-11-20/<hour>-<id>.json       which segments were rewritten, how many rows went
                                  <hour>-<id>.<table>.parquet     the rows' share in <table>

Before an hour's segments are rewritten, the fold is run over the rows to remove, and its result, which
names no user, is kept here. An hour's rollup is the fold of the rows that are left plus its shares.
Late records are folded as ever, and a rebuild gives the same figures.

Only the derived segment's manifest makes a share count: without the rewriting, a share is never taken
in. Hours before retention's cutoff need none, since their rollups are sealed (`archive`).
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.errors import WarehouseError
from pipelines.rollups.tables import HOURLY, MOMENTS
from pipelines.warehouse import archive, sqlfiles
from pipelines.warehouse.linked_views import rows_table
from pipelines.warehouse.loading import known_names
from pipelines.warehouse.sqlfiles import delete_before
from pipelines.warehouse.warehouse import in_memory
from router.files import make_folder, sha256_of, write_atomically
from router.journal.manifests import REMOVING
from router.journal.places import REMOVALS, date_folder, dated_folders, hour_folder
from router.journal.reading import read_manifests
from router.journal.segments import parquet_bytes
from router.records import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pipelines.lake.reading import Segment
    from pipelines.warehouse.warehouse import Warehouse
    from router.journal.manifests import Operation

FORMAT = "intellirouter.removal/1"


def take_in(warehouse: Warehouse) -> list[datetime]:
    """Add the shares of finished removals that the warehouse does not know. Their hours become stale."""
    known = {name for (name,) in warehouse.rows("select name from pipeline.removals")}
    hours = []
    for _, folder in dated_folders(warehouse.settings.lake / REMOVALS):
        for path in sorted(folder.glob("*.json")):
            if path.stem in known:
                continue
            record = read_share(path)
            hour = datetime.fromisoformat(record["hour"])
            if not _has_happened(warehouse, hour, record["sources"]):
                continue
            with warehouse.transaction():
                for table in record["sha256"]:  # a removal of an earlier release has fewer
                    restore = archive.restoring(table, "pipeline.removed_")
                    warehouse.run(restore, path=str(part(path, table)))
                if "billing_usage" not in record["sha256"]:
                    warehouse.run("rollups/removed_bills", path=str(part(path, "usage_hourly")))
                removal = {
                    "name": path.stem,
                    "hour": hour,
                    "operation": record["operation"],
                    "rows_removed": record["rows"],
                    "removed_at": datetime.fromisoformat(record["removed_at"]),
                }
                warehouse.insert("pipeline.removals", [removal])
                warehouse.run("load/stale_hour", hour=hour)
            hours.append(hour)
    return hours


def forget_shares(warehouse: Warehouse, cutoff: datetime) -> None:
    """Drop the shares of hours before the cutoff: the rollups that hold them are sealed."""
    with warehouse.transaction():
        warehouse.run(delete_before("pipeline.removals", "hour"), cutoff=cutoff)
        for table, moment in MOMENTS.items():
            warehouse.run(delete_before(f"pipeline.removed_{table}", moment), cutoff=cutoff)


def is_sealed(warehouse: Warehouse, moment: datetime) -> bool:
    """Whether the moment is before retention's cutoff, so that its rollups never change again."""
    cutoff = warehouse.value(sqlfiles.load("retention/expired_before"))
    return cutoff is not None and moment < cutoff


def keep_share(
    warehouse: Warehouse, sources: Sequence[Segment], ids: Any, operation: Operation, now: datetime
) -> Path:
    """Write down the share of the rows with these ids in the rollups. Return the record's path.

    Only rows that the table holds count: a second copy of a row never did.
    """
    hour = sources[0].manifest.hour
    names = sorted(segment.manifest.name for segment in sources)
    folder = date_folder(warehouse.settings.lake / REMOVALS, hour)
    path = folder / f"{name_of(hour, names)}.json"
    make_folder(folder)
    parts = _fold(warehouse, hour, ids)
    for table, rows in parts.items():
        write_atomically(part(path, table), parquet_bytes(rows))
    record = {
        "format": FORMAT,
        "hour": hour.isoformat(),
        "operation": operation,
        "sources": names,
        "rows": sum(parts["usage_quarter_hourly"].column("requests").to_pylist()),
        "removed_at": now.astimezone(UTC).isoformat(),
        "sha256": {table: sha256_of(part(path, table)) for table in parts},
    }
    write_atomically(path, json.dumps(record, indent=1).encode())
    return path


def _fold(warehouse: Warehouse, hour: datetime, ids: Any) -> dict[str, Any]:
    """The rollups of only some rows, by the statements that fold an hour."""
    end = hour + timedelta(hours=1)
    wanted = {"start": hour, "end": end, "ids": ids.to_pylist()}
    places = {"request_analytics": ("timestamp", "id"), "feedback": ("request_hour", "request_id")}
    rows = {
        table: warehouse.arrow(
            sqlfiles.load("load/rows_of_ids", table=table, moment=moment, key=key), **wanted
        )
        for table, (moment, key) in places.items()
    }
    with in_memory(warehouse.settings) as scratch:
        for table, found in rows.items():
            scratch.register("found", found)
            scratch.execute(sqlfiles.load("tables/take_found", table=rows_table(table)).text)
            scratch.unregister("found")
        bounds = {"start": hour, "end": end}
        for table, parameters in HOURLY.items():
            scratch.execute(sqlfiles.load(f"rollups/{table}").text, {**bounds, **parameters})
        return {
            table: scratch.sql(sqlfiles.load("tables/rows", table=table).text).to_arrow_table()
            for table in HOURLY
        }


def _has_happened(warehouse: Warehouse, hour: datetime, sources: Iterable[str]) -> bool:
    """Whether the warehouse has loaded a segment that replaces exactly these sources after a removal."""
    wanted = set(sources)
    try:
        manifests, _ = read_manifests(hour_folder(warehouse.settings.lake, RequestRecord.DATASET, hour))
    except FileNotFoundError:
        return False  # a compaction is at work: the next fold takes it in
    for manifest in manifests:
        if any(
            item.operation in REMOVING and {source.name for source in item.direct_sources()} == wanted
            for item in manifest.tree()
        ):
            return bool(known_names(warehouse.connection, [manifest]))
    return False


def read_share(path: Path) -> dict[str, Any]:
    """A removal's record, its files' digests compared. WarehouseError when it is damaged."""
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        if record["format"] != FORMAT:
            raise ValueError(f"format is `{record['format']}`")
        for table, digest in record["sha256"].items():
            if sha256_of(part(path, table)) != digest:
                raise ValueError(f"`{part(path, table).name}` does not match its SHA-256")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WarehouseError(
            f"removal `{path}` cannot be used: {error}. Restore it from a backup,"
            " or move it away to leave the removed rows out of their hour's rollup"
        ) from error
    return record


def drop_share(path: Path) -> None:
    """Remove a share that was never taken in, since no segment was rewritten."""
    path.unlink(missing_ok=True)
    for table in (*HOURLY, *archive.EARLIER):
        part(path, table).unlink(missing_ok=True)


def name_of(hour: datetime, sources: Sequence[str]) -> str:
    """The stem of a removal's files."""
    identity = hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]
    return f"{hour:%Y%m%dT%H}-{identity}"


def part(path: Path, table: str) -> Path:
    """The file of a removal with its rows' share in a table."""
    return path.with_name(f"{path.stem}.{table}.parquet")
