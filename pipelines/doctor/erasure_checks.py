"""The doctor's checks of erasures: shares of removed rows, tombstones, certificates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipelines.doctor.findings import error, warning
from pipelines.erasure.certificates import Certificate
from pipelines.erasure.config_mentions import advice
from pipelines.erasure.tombstones import SUFFIX, Tombstone
from pipelines.errors import WarehouseError
from pipelines.lake import reading
from pipelines.rollups import removed_rollups
from pipelines.rollups.tables import HOURLY
from pipelines.warehouse import archive
from router.journal.places import REMOVALS, dated_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pipelines.doctor.findings import Finding
    from router.config import Settings

EARLIEST = HOURLY.keys() - {"billing_usage", "propensity_hourly"}
"""The tables of a share that an earlier release kept."""
_RESTORE = "restore it from a backup: a rebuild would change the rollups of its hour"


def removals(
    settings: Settings, known: Iterable[tuple[str, datetime]], expired_before: Callable[[], datetime | None]
) -> Iterator[Finding]:
    """Find shares of removed rows that are damaged or missing.

    `known` are name and hour of the shares that were loaded. `expired_before` returns retention's cutoff.
    """
    standing: set[str] = set()
    for day, folder in dated_folders(settings.lake / REMOVALS):
        records = {path.stem for path in folder.glob("*.json")}
        standing |= records
        for path in sorted(folder.glob("*.json")):
            if problem := _problem(path, day.isoformat()):
                yield error("the rollup share of removed rows is damaged", problem, _RESTORE)
        for path in sorted(folder.glob("*.parquet")):
            if path.name.partition(".")[0] not in records:
                yield warning(
                    "a stopped erasure or retention left a file",
                    path.relative_to(settings.lake),
                    "it is not read: the next run writes it again, or retention removes it with its day",
                )
    for name, hour in known:
        if name in standing:
            continue
        cutoff = expired_before()
        if cutoff is None or hour >= cutoff:  # else retention removed it
            yield error("the rollup share of removed rows is missing", name, _RESTORE)


def erasures(settings: Settings) -> Iterator[Finding]:
    """Find erasures that were stopped, or that left the person's id in a file."""
    certificates: dict[tuple[str, str | None], tuple[Path, Certificate]] = {}
    for path in sorted(settings.erasures.glob("*.json")):
        try:
            if path.name.endswith(SUFFIX):
                tombstone = Tombstone.model_validate_json(path.read_bytes())
                if tombstone.moments:
                    yield warning("an erasure was stopped", path, "run `intellirouter refresh` to finish it")
                continue
            found = Certificate.model_validate_json(path.read_bytes())
        except (ValidationError, OSError) as problem:
            yield error(
                "a file of an erasure cannot be read",
                f"{path} {str(problem).splitlines()[0]}",
                "restore it from a backup: without its tombstone, late records of the person are kept",
            )
            continue
        if found.cause == "request":
            earlier = certificates.get((found.person, found.organization))
            if earlier is None or earlier[1].erased_at < found.erased_at:
                certificates[found.person, found.organization] = path, found
    for path, found in certificates.values():
        for name in found.remaining:
            yield error(
                "an erasure is unfinished: a file still holds the id, or could not be read",
                f"{name}, says {path.name}",
                f"{advice(name)}, and erase the person again",
            )


def _problem(path: Path, day: str) -> str | None:
    try:
        record = removed_rollups.read_share(path)
        hour = datetime.fromisoformat(record["hour"])
        expected = removed_rollups.name_of(hour, record["sources"])
        if f"{hour.astimezone(UTC):%Y-%m-%d}" != day or path.stem != expected:
            return f"{path} belongs to other segments or another hour than its name says"
        held = {archive.EARLIER.get(name, name) for name in record["sha256"]}
        usage = "usage_hourly" if "usage_hourly" in record["sha256"] else "usage_quarter_hourly"
        if not EARLIEST <= held <= set(HOURLY):
            return f"{path} does not hold the digests of its tables"
        requests = reading.read_rows(removed_rollups.part(path, usage)).column("requests").to_pylist()
        if sum(requests) != record["rows"]:
            return f"{path} says {record['rows']} rows, its rollup counts {sum(requests)}"
    except (WarehouseError, ValueError, KeyError, TypeError, OSError) as problem:
        return str(problem)
    return None
