"""`intellirouter doctor`: whether the data folder says the same everywhere, and what to do if not.

Nothing is changed and nothing of the pipelines is locked: the published copy of the warehouse is
read, not the build database.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import duckdb

from pipelines import audit, checks, lake, sqlfiles
from pipelines.warehouse import configuration
from router.classifier import ClassifierFile
from router.errors import ScoresError, SegmentError
from router.records import DATASETS
from router.snapshot import ScoreSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipelines.lake import Segment
    from router.config import Settings

STALE_AFTER = timedelta(minutes=15)
"""How far the published copy may be behind before somebody should look."""
SHOWN = 20
"""Findings of one kind that are named; the rest are counted."""
_RESTORE = "restore the file from a backup, or accept the loss: move it away and run `intellirouter rebuild`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    severity: Literal["error", "warning"]
    what: str
    value: str
    """The file, segment or figure."""
    advice: str
    """What to do."""


def examine(settings: Settings, *, with_audit: bool = False) -> list[Finding]:
    """Every finding, errors first."""
    segments = {}
    findings: list[Finding] = []
    for dataset in DATASETS:
        listing = lake.scan(settings.lake, dataset)
        segments[dataset] = {segment.manifest.name: segment for segment in listing.segments}
        findings += _suspects(settings, listing.suspects)
        findings += _digests(listing.segments)
        findings += _leftovers(settings, listing)
    findings += _suspects(settings, lake.strays(settings.lake))
    expired_before = None
    if not settings.warehouse_file.exists():
        if any(segments.values()):
            findings.append(
                _warning("there is no warehouse yet", settings.warehouse_file, "run `intellirouter refresh`")
            )
    else:
        try:
            with _published(settings) as connection:
                findings += _warehouse(connection, segments)
                expired_before = _cutoff(connection).date()
        except duckdb.Error as error:
            findings.append(
                _error("the published warehouse cannot be read", error, "run `intellirouter rebuild`")
            )
    findings += [*_build(settings), *_journals(settings), *_scores(settings), *_classifier(settings)]
    if with_audit:
        breaks, chains = audit.audit(settings.home, expired_before=expired_before)
        findings += [
            _error(
                f"the chain of `{item.dataset}` writer `{item.writer_id}` breaks at {item.position}",
                f"{item.path} {item.reason}",
                "everything before and after was checked; " + _RESTORE,
            )
            for item in breaks
        ]
        findings += [
            _error("a drop note is younger than retention's cutoff", path, "retention wrote no such note")
            for path in chains.too_young
        ]
    return sorted(_bounded(findings), key=lambda finding: finding.severity)


def render(findings: list[Finding], *, as_json: bool) -> str:
    """The findings for a terminal or a program."""
    if as_json:
        return json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False)
    if not findings:
        return "everything is in order"
    lines = [f"{item.severity:8}{item.what}: {item.value}\n        {item.advice}" for item in findings]
    errors = sum(item.severity == "error" for item in findings)
    return "\n".join([*lines, f"{errors} errors, {len(findings) - errors} warnings"])


def _published(settings: Settings) -> Any:
    connection = duckdb.connect(str(settings.warehouse_file), read_only=True, config=configuration(settings))
    connection.execute("set TimeZone = 'UTC'")
    return connection


def _suspects(settings: Settings, suspects: Iterable[lake.Suspect]) -> Iterator[Finding]:
    for suspect in suspects:
        value = f"{suspect.path} {suspect.reason}"
        if (settings.lake / suspect.path).with_suffix(".json").exists():
            yield _error("a segment cannot be read", value, _RESTORE)
        else:
            yield _warning("a file of the lake is no segment", value, "move it out of the lake")


def _digests(segments: Iterable[Segment]) -> Iterator[Finding]:
    for segment in segments:
        try:
            lake.verify(segment)
        except SegmentError as error:
            if segment.path.exists():  # else compacted meanwhile
                yield _error(
                    "a segment is not what its manifest says", f"{segment.manifest.path} {error}", _RESTORE
                )


def _leftovers(settings: Settings, listing: lake.Listing) -> Iterator[Finding]:
    for path in listing.leftovers:
        yield _warning(
            "a stopped compaction or erasure left a file",
            path.relative_to(settings.lake),
            "nobody reads it; the hourly housekeeping job or `intellirouter compact` removes it",
        )


def _warehouse(
    connection: duckdb.DuckDBPyConnection, segments: dict[str, dict[str, Segment]]
) -> Iterator[Finding]:
    for dataset, standing in segments.items():
        ledger = connection.execute(
            "select name, sha256, rows_loaded, expired_at is not null from pipeline.load_ledger"
            " where dataset = $dataset and replaced_by is null",
            {"dataset": dataset},
        ).fetchall()
        held = connection.execute(
            "select path, reason from pipeline.quarantine where dataset = $dataset", {"dataset": dataset}
        ).fetchall()
        for path, reason in held:
            yield _error("a file is in quarantine", f"{path} {reason}", _RESTORE)
        replaced = {source.name for segment in standing.values() for source, _ in segment.manifest.replaced()}
        known = {name for name, *_ in ledger} | {path.rpartition("/")[2][:-8] for path, _ in held}
        for name, digest, _, is_expired in ledger:
            if is_expired or name in replaced:
                continue
            if name not in standing:
                yield _error(
                    "a loaded segment is missing from the lake",
                    f"{dataset}/{name}",
                    "restore it from a backup: a rebuild would lose its rows",
                )
            elif standing[name].manifest.sha256 != digest:
                yield _error("a segment is not the one that was loaded", f"{dataset}/{name}", _RESTORE)
        for name in standing.keys() - known:
            yield _warning("a segment is not loaded yet", f"{dataset}/{name}", "run `intellirouter refresh`")
        noted = {name: rows for name, _, rows, is_expired in ledger if rows and not is_expired}
        found = dict(
            connection.execute(f"select segment, count(*) from {dataset} group by segment").fetchall()  # noqa: S608
        )
        for name in noted.keys() | found.keys():
            if noted.get(name) != found.get(name):
                yield _error(
                    "the warehouse holds other rows than were loaded",
                    f"{dataset}/{name}: {found.get(name, 0)} of {noted.get(name, 0)}",
                    "run `intellirouter rebuild`",
                )
    yield from _sql_checks(connection)


def _sql_checks(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    bounds = {"start": _cutoff(connection), "end": datetime(9999, 1, 1, tzinfo=UTC)}
    for name in ("ids_are_unique", *checks.ROLLUP_CHECKS, *checks.DAILY_CHECKS):
        failing = connection.execute(sqlfiles.load(f"checks/{name}").text, bounds).fetchall()
        if failing:
            yield _error(
                f"check `{name}` fails",
                f"{len(failing)} rows, the first is {failing[0]}",
                "run `intellirouter rebuild`",
            )


def _cutoff(connection: duckdb.DuckDBPyConnection) -> datetime:
    """Retention's cutoff; a moment before every record when nothing has expired."""
    row = connection.execute("select max(expired_before) from pipeline.retention").fetchone()
    found = row[0] if row else None
    return found.astimezone(UTC) if isinstance(found, datetime) else datetime(1970, 1, 1, tzinfo=UTC)


def _build(settings: Settings) -> Iterator[Finding]:
    build, published = settings.build_file, settings.warehouse_file
    if build.exists() and published.exists():
        behind = timedelta(seconds=build.stat().st_mtime - published.stat().st_mtime)
        if behind > STALE_AFTER:
            yield _warning(
                "the published warehouse is behind the build database", behind, "run `intellirouter refresh`"
            )
    for path in sorted(build.parent.glob(f"{build.name}*.broken-*")):
        yield _warning(
            "a build database was set aside",
            path,
            "it was rebuilt from the lake; look at it or remove it, retention does after a week",
        )


def _journals(settings: Settings) -> Iterator[Finding]:
    for dataset in DATASETS:
        folder = settings.home / "journal" / dataset
        for path in sorted(folder.glob("*.bad")):
            yield _error(
                "a journal cannot be sealed",
                path,
                "repair or remove the line that is no record, and rename it to `.jsonl`",
            )
        for path in sorted(folder.glob("*.jsonl")):
            if (size := _size_if_left_behind(path)) > 0:
                yield _warning(
                    "a dead process left a journal",
                    f"{path}, {size} bytes",
                    "start a router on this folder: it seals what others left",
                )


def _size_if_left_behind(path: os.PathLike[str]) -> int:
    """Bytes of a journal that nobody holds; 0 of one whose owner lives."""
    with contextlib.suppress(OSError), open(path, "rb") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # BlockingIOError: its owner lives
        return os.fstat(file.fileno()).st_size
    return 0


def _scores(settings: Settings) -> Iterator[Finding]:
    try:
        ScoreSnapshot.read(settings.scores_file)
    except FileNotFoundError:
        if settings.warehouse_file.exists():
            yield _warning(
                "there are no scores",
                settings.scores_file,
                "run `intellirouter refresh` once there is traffic",
            )
    except (ScoresError, OSError) as error:
        yield _error("the score file cannot be used", error, "run `intellirouter refresh`")
    for path in sorted(settings.scores_file.parent.glob("*.json")):
        if path != settings.scores_file:
            try:
                ScoreSnapshot.read(path)
            except (ScoresError, OSError) as error:
                yield _warning(
                    "an earlier score file cannot be used",
                    error,
                    "a rebuild leaves it out of model_performance_history; restore it from a backup",
                )


def _classifier(settings: Settings) -> Iterator[Finding]:
    try:
        ClassifierFile.read(settings.classifier_file)
    except FileNotFoundError:
        pass  # until enough requests are labelled there is none
    except (ScoresError, OSError) as error:
        yield _error("the task classifier cannot be used", error, "run `intellirouter refresh`")


def _bounded(findings: Iterable[Finding]) -> Iterator[Finding]:
    counts: dict[tuple[str, str], int] = {}
    for finding in findings:
        key = finding.severity, finding.what
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= SHOWN:
            yield finding
    for (severity, what), count in counts.items():
        if count > SHOWN:
            more = f"and {count - SHOWN} more"
            yield Finding(
                severity="error" if severity == "error" else "warning", what=what, value=more, advice=""
            )


def _error(what: str, value: object, advice: str) -> Finding:
    return Finding(severity="error", what=what, value=str(value), advice=advice)


def _warning(what: str, value: object, advice: str) -> Finding:
    return Finding(severity="warning", what=what, value=str(value), advice=advice)
