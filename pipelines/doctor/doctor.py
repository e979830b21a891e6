"""`intellirouter doctor` checks that the files of the data folder agree, and advises what to do if not.

It changes nothing and never waits for the pipelines. It reads the published copy of the warehouse, and
the build database only to see how far retention has come.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.doctor import (
    archive_checks,
    bill_checks,
    config_checks,
    erasure_checks,
    mirror_checks,
    store_checks,
)
from pipelines.doctor.findings import Finding, bounded, error, warning
from pipelines.lake import audit, reading
from pipelines.retention import progress
from pipelines.retention.progress import Progress
from pipelines.warehouse import checks, sqlfiles
from pipelines.warehouse.differences import first_difference
from pipelines.warehouse.run_history import REMEDY, damaged
from pipelines.warehouse.warehouse import configuration, in_utc
from router.errors import ScoresError, SegmentError
from router.journal.places import manifest_path
from router.journal.reading import replaced_names
from router.records import DATASETS, RequestRecord
from router.scores.snapshot import ScoreSnapshot
from router.tasks.classifier import ClassifierFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipelines.lake.audit import KeptHead
    from pipelines.lake.reading import Segment
    from router.config import Settings

STALE_AFTER = timedelta(minutes=15)
"""A warning appears if the published copy is behind for longer than this."""
_RESTORE = "restore the file from a backup, or accept the loss: move it away and run `intellirouter rebuild`"
_START = "start a router on this folder: it seals the journals that others left"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """The result of an examination."""

    findings: list[Finding]
    """Errors first."""
    heads: list[KeptHead] = field(default_factory=list)
    """The heads of all chains, if the chains were walked."""


def inspect(
    settings: Settings, *, with_audit: bool = False, expected: Iterable[KeptHead] = ()
) -> DoctorReport:
    """Run the whole examination. `expected` are heads of earlier audits."""
    doctor = _Doctor(settings)
    findings = [*doctor.files(), *doctor.tables(), *_build(settings), *_journals(settings)]
    findings += [*_scores(settings), *_classifier(settings), *erasure_checks.erasures(settings)]
    findings += bill_checks.bills(settings)
    findings += config_checks.configurations(settings)
    findings += mirror_checks.mirror(settings, doctor.wanted)
    findings += store_checks.store(settings)
    findings += _run_history(settings)
    heads: list[KeptHead] = []
    if with_audit:
        broken, heads = doctor.chains(expected)
        findings += broken
    return DoctorReport(
        findings=sorted(bounded(findings), key=lambda finding: finding.severity),
        heads=heads,
    )


def rows_of(report: DoctorReport) -> list[dict[str, str]]:
    """The findings, and the heads of the chains as notes, for a program."""
    kept = "keep it elsewhere, and give it to a later audit with `--expect-head`"
    heads = [
        {"severity": "note", "what": "the head of a chain", "value": str(head), "advice": kept}
        for head in report.heads
    ]
    return [*map(asdict, report.findings), *heads]


def lines_of(report: DoctorReport) -> list[str]:
    """The report for a person."""
    lines = [f"{item.severity:8}{item.what}: {item.value}\n        {item.advice}" for item in report.findings]
    errors = sum(item.severity == "error" for item in report.findings)
    lines += [f"head    {head}" for head in report.heads]
    verdict = f"{errors} errors, {len(report.findings) - errors} warnings"
    return [*lines, verdict if report.findings else "everything is in order"]


class _Doctor:
    """One examination. It lists the lake once and compares everything else with that."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listings = {dataset: reading.scan(settings.lake, dataset) for dataset in DATASETS}
        self._segments = {
            dataset: {segment.manifest.name: segment for segment in listing.segments}
            for dataset, listing in self._listings.items()
        }
        self._published = Progress()
        self.wanted = {dataset: set(segments) for dataset, segments in self._segments.items()}
        """By dataset, the segments whose rows a copy of the tables should hold."""

    @cached_property
    def _build(self) -> Progress:
        """Read only if the published copy does not explain something."""
        return progress.of_build(self._settings)

    def files(self) -> Iterator[Finding]:
        """Compare the files with their manifests."""
        for dataset, listing in self._listings.items():
            yield from self._suspects(listing.suspects)
            yield from self._digests(dataset, listing.segments)
            for path in listing.leftovers:
                yield warning(
                    "a stopped compaction or erasure left a file",
                    path.relative_to(self._settings.lake),
                    "it is not read: the hourly housekeeping job or `intellirouter compact` removes it",
                )
        yield from self._suspects(reading.strays(self._settings.lake))

    def tables(self) -> Iterator[Finding]:
        """Compare the published copy with the lake, and check it for itself."""
        known: list[tuple[str, datetime]] = []
        if self._settings.warehouse_file.exists():
            try:
                with _published(self._settings) as connection:
                    self._published = Progress.read(connection)
                    for dataset in DATASETS:
                        yield from self._dataset(connection, dataset)
                    yield from _sql_checks(connection, self._published)
                    yield from archive_checks.closed_days(connection)
                    known = connection.execute("select name, hour from pipeline.removals").fetchall()
            except duckdb.Error as problem:
                yield error(
                    "the published warehouse cannot be read",
                    problem,
                    "run `intellirouter refresh`: it publishes it again."
                    " Programs that query it must open it read-only (`duckdb -readonly`)",
                )
        elif any(self._segments.values()):
            yield warning(
                "there is no warehouse yet", self._settings.warehouse_file, "run `intellirouter refresh`"
            )
        yield from erasure_checks.removals(
            self._settings, known, lambda: self._reached(RequestRecord.DATASET)
        )

    def chains(self, expected: Iterable[KeptHead]) -> tuple[list[Finding], list[KeptHead]]:
        """Find the breaks of the chains, and their heads."""
        days = self._published.days | self._build.days  # the build database is never behind
        breaks, found = audit.audit(self._settings.home, expired_before=days, expected=expected)
        findings = [
            error(
                f"the chain of `{item.dataset}` writer `{item.writer_id}` breaks at {item.position}",
                f"{item.path} {item.reason}{self._record(item.dataset, item.path)}",
                "everything before and after was checked: " + _RESTORE,
            )
            for item in breaks
        ]
        findings += [
            error("a drop note is younger than retention's cutoff", path, "retention wrote no such note")
            for path in found.too_young
        ]
        findings += [error("a drop note cannot be read", note, _RESTORE) for note in found.damaged]
        return findings, found.kept_heads()

    def _reached(self, dataset: str) -> datetime | None:
        """Retention's cutoff, from the build database or the published copy."""
        return self._build.cutoffs.get(dataset) or self._published.cutoffs.get(dataset)

    def _record(self, dataset: str, path: str) -> str:
        """The first record of a segment that differs from the loaded one, as a suffix to the file's name."""
        segment = (self._settings.lake / path).with_suffix(".parquet")
        found = first_difference(self._settings, dataset, segment)
        return "" if found is None else f"; {found}"

    def _suspects(self, suspects: Iterable[reading.Suspect]) -> Iterator[Finding]:
        for suspect in suspects:
            value = f"{suspect.path} {suspect.reason}"
            if manifest_path(self._settings.lake / suspect.path).exists():
                yield error("a segment cannot be read", value, _RESTORE)
            elif self._is_being_sealed(suspect.path):
                yield warning("a stopped sealing left a file", value, _START)
            else:
                yield warning("a file of the lake is not a segment", value, "move it out of the lake")

    def _is_being_sealed(self, path: str) -> bool:
        """Whether a segment without a manifest still has the journal that it comes from."""
        name = PurePath(path)
        journal = f"{name.stem.partition('-')[2]}.jsonl"
        return (
            not manifest_path(self._settings.lake / path).exists()
            and (self._settings.home / "journal" / name.parts[0] / journal).exists()
        )

    def _digests(self, dataset: str, segments: Iterable[Segment]) -> Iterator[Finding]:
        for segment in segments:
            try:
                reading.verify(segment)
            except SegmentError as problem:
                if segment.path.exists():  # else compacted meanwhile
                    yield error(
                        "a segment is not what its manifest says",
                        f"{segment.manifest.path} {problem}{self._record(dataset, segment.manifest.path)}",
                        _RESTORE,
                    )

    def _dataset(self, connection: duckdb.DuckDBPyConnection, dataset: str) -> Iterator[Finding]:
        """Compare a dataset's ledger with the lake and the table."""
        standing = self._segments[dataset]
        ledger = connection.execute(
            sqlfiles.load("load/standing_ledger").text, {"dataset": dataset}
        ).fetchall()
        held = connection.execute(
            "select path, reason from pipeline.quarantine where dataset = $dataset", {"dataset": dataset}
        ).fetchall()
        for path, reason in held:
            if self._is_being_sealed(path):
                yield warning("a file is in quarantine whose sealing was stopped", path, _START)
            else:
                yield error("a file is in quarantine", f"{path} {reason}", _RESTORE)
        replaced = replaced_names(segment.manifest for segment in standing.values())
        known = {name for name, *_ in ledger} | {path.rpartition("/")[2][:-8] for path, _ in held}
        for name, path, digest, _, is_expired in ledger:
            if is_expired or name in replaced:
                continue
            if name not in standing and (dataset, name) in self._build.expired:
                yield warning(
                    "a stopped retention removed a segment that the published warehouse still shows",
                    f"{dataset}/{name}",
                    "run `intellirouter retention`: it finishes the removal, and publishes",
                )
            elif name not in standing:
                yield error(
                    "a loaded segment is missing from the lake",
                    f"{dataset}/{name}{self._record(dataset, path)}",
                    "restore it from a backup: a rebuild would lose its rows",
                )
            elif standing[name].manifest.sha256 != digest:
                yield error(
                    "a segment is not the one that was loaded",
                    f"{dataset}/{name}{self._record(dataset, path)}",
                    _RESTORE,
                )
        loaded = {name for name, _, _, rows, is_expired in ledger if rows and not is_expired}
        self.wanted[dataset] = loaded - replaced | (standing.keys() - known)
        for name in standing.keys() - known:
            yield warning("a segment is not loaded yet", f"{dataset}/{name}", "run `intellirouter refresh`")
        rows = {name: (count, is_expired) for name, _, _, count, is_expired in ledger}
        yield from _rows(connection, dataset, rows)


def _rows(
    connection: duckdb.DuckDBPyConnection, dataset: str, ledger: dict[str, tuple[int, bool]]
) -> Iterator[Finding]:
    """Compare a table's rows with the ledger: rows loaded by segment, and whether it has expired."""
    found: dict[str, int] = dict(
        connection.execute(sqlfiles.load("load/rows_by_segment", table=dataset).text).fetchall()
    )
    for name in ledger.keys() | found.keys():
        loaded, is_expired = ledger.get(name, (0, False))
        count = found.get(name, 0)
        value = f"{dataset}/{name}: {count} of {loaded}"
        if is_expired and 0 < count <= loaded:
            yield warning(
                "a stopped retention left rows that have expired", value, "run `intellirouter retention`"
            )
        elif count != (0 if is_expired else loaded):
            yield error(
                "the warehouse holds other rows than were loaded", value, "run `intellirouter rebuild`"
            )


def _published(settings: Settings) -> Any:
    return in_utc(
        duckdb.connect(str(settings.warehouse_file), read_only=True, config=configuration(settings))
    )


def _sql_checks(connection: duckdb.DuckDBPyConnection, known: Progress) -> Iterator[Finding]:
    start, end = checks.from_ahead()
    ahead = sqlfiles.load("checks/records_are_not_ahead").text
    for dataset, name, rows, last_at in connection.execute(ahead, {"start": start, "end": end}).fetchall():
        yield warning(
            "a segment holds records from the future",
            f"{dataset}/{name}: {rows} rows, the last is of {last_at:%Y-%m-%d %H:%M} UTC",
            "The clock of the machine that wrote them is ahead: set it. The records count, and neither"
            " scores nor retention go by their moment",
        )
    start = known.cutoffs.get(RequestRecord.DATASET, datetime(1970, 1, 1, tzinfo=UTC))
    bounds = {"start": start, "end": checks.END}
    for name in ("ids_are_unique", *checks.ROLLUP_CHECKS, *checks.DAILY_CHECKS):
        failing = connection.execute(sqlfiles.load(f"checks/{name}").text, bounds).fetchall()
        if failing:
            yield error(
                f"check `{name}` fails",
                f"{len(failing)} rows, the first is {failing[0]}",
                "run `intellirouter rebuild`",
            )


def _build(settings: Settings) -> Iterator[Finding]:
    build, published = settings.build_file, settings.warehouse_file
    if build.exists() and published.exists():
        behind = timedelta(seconds=build.stat().st_mtime - published.stat().st_mtime)
        if behind > STALE_AFTER:
            yield warning(
                "the published warehouse is behind the build database", behind, "run `intellirouter refresh`"
            )
    for path in sorted(build.parent.glob(f"{build.name}*.broken-*")):
        yield warning(
            "a build database was set aside",
            path,
            "it was rebuilt from the lake: examine or remove the old one. Retention removes it after a week",
        )


def _journals(settings: Settings) -> Iterator[Finding]:
    for dataset in DATASETS:
        folder = settings.home / "journal" / dataset
        for path in sorted(folder.glob("*.bad")):
            yield error(
                "a journal cannot be sealed",
                path,
                "repair or remove the line that is not a record, and rename it to `.jsonl`",
            )
        for path in sorted(folder.glob("*.jsonl")):
            if (size := _size_if_left_behind(path)) > 0:
                yield warning(
                    "a dead process left a journal",
                    f"{path}, {size} bytes",
                    _START,
                )


def _size_if_left_behind(path: os.PathLike[str]) -> int:
    """Bytes of a journal without a running owner. 0 if the owner runs."""
    with contextlib.suppress(OSError), open(path, "rb") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # BlockingIOError: its owner runs
        return os.fstat(file.fileno()).st_size
    return 0


def _scores(settings: Settings) -> Iterator[Finding]:
    try:
        ScoreSnapshot.read(settings.scores_file)
    except FileNotFoundError:
        if settings.warehouse_file.exists():
            yield warning(
                "there are no scores",
                settings.scores_file,
                "run `intellirouter refresh` once there is traffic",
            )
    except (ScoresError, OSError) as problem:
        yield error("the score file cannot be used", problem, "run `intellirouter refresh`")
    for path in sorted(settings.scores_file.parent.glob("*.json")):
        if path != settings.scores_file:
            try:
                ScoreSnapshot.read(path)
            except (ScoresError, OSError) as problem:
                yield warning(
                    "an earlier score file cannot be used",
                    problem,
                    "restore it from a backup: a rebuild leaves it out of model_performance_history",
                )


def _run_history(settings: Settings) -> Iterator[Finding]:
    home = Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home)
    for path, problem in damaged(home):
        yield error("Dagster's database is damaged", f"{path}: {problem}", REMEDY)


def _classifier(settings: Settings) -> Iterator[Finding]:
    try:
        ClassifierFile.read(settings.classifier_file)
    except FileNotFoundError:
        pass  # there is no classifier until enough requests are labelled
    except (ScoresError, OSError) as problem:
        yield error("the task classifier cannot be used", problem, "run `intellirouter refresh`")
