"""What must hold after a kill: the product starts again, and nothing is lost or counted twice."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.doctor import doctor
from pipelines.lake import reading
from pipelines.warehouse.warehouse import Warehouse
from router.errors import IntelliRouterError
from router.journal.journal import Journal
from router.journal.places import manifest_path
from router.records import DATASETS, moment_of
from router.scores.board import ScoreSnapshot
from tests.crash.operations import ERASED, OPERATIONS, Stage, refresh, settings_of
from tests.pipelines.helpers import NOW, run_steps

if TYPE_CHECKING:
    from pathlib import Path

    from router.config import Settings

AGGREGATES = (
    "usage_hourly",
    "latency_buckets_hourly",
    "task_cost_daily",
    "usage_by_org_daily",
    "task_model_scores",
)
Acknowledged = dict[str, dict[str, str]]
"""Ids and whose they are, by dataset."""


@dataclass(kw_only=True)
class Findings:
    """What is wrong after a recovery; nothing, if the promises hold."""

    lost: int = 0
    """Acknowledged ids that are not in the lake, or not in the published warehouse."""
    twice: int = 0
    """Ids that are there more than once."""
    unopenable: int = 0
    """Published files that do not open."""
    problems: list[str] = field(default_factory=list)
    records: int = 0
    """Distinct ids in the lake."""
    rebuilt: int = 0
    """Build databases that did not open, and were replaced without a hand."""
    lake_key: str = ""
    """Says which rebuild the aggregates are compared with."""
    aggregates: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.twice or self.unopenable or self.problems)


def acknowledged_in(path: Path) -> Acknowledged:
    """The ids that somebody was told are safe, by dataset."""
    found: Acknowledged = {dataset: {} for dataset in DATASETS}
    for line in path.read_text().split("\n")[:-1]:  # the last one may be cut short
        dataset, key, user = line.split("\t")
        found[dataset][key] = user
    return found


def recover(home: Path, acknowledged: Path, operation: str | None = None) -> Findings:
    """Start the product on what a kill left, and judge the result.

    `operation` is run once more where the product repeats it by itself.
    """
    reading.MANIFEST_GRACE_S = 0.0  # nobody is about to write one
    settings = settings_of(home)
    findings = Findings()
    _check_published(settings, findings)  # readers do not wait for a recovery
    findings.problems += [f"before the recovery, {problem}" for problem in errors(settings)]
    known = acknowledged_in(acknowledged)
    start(settings)
    judge(settings, known, findings, operation)
    if operation is not None and OPERATIONS[operation].is_repeated:
        OPERATIONS[operation].run(Stage(home=home, acknowledged=acknowledged))
        start(settings)
        judge(settings, known, findings, operation)
        findings.problems += [] if operation != "erase" else still_there(settings, known)
        findings.problems += [] if operation != "close" else badly_closed(settings)
    findings.rebuilt = len(list(settings.build_file.parent.glob("*.duckdb.broken-*")))
    return findings


def start(settings: Settings) -> None:
    """What the next router and the next refresh do."""
    Journal(settings.home, seal_interval_s=3600, max_bytes=1 << 30).close()
    refresh(settings)


def judge(
    settings: Settings,
    known: Acknowledged,
    findings: Findings,
    operation: str | None = None,
) -> None:
    """Compare lake and published warehouse with what was acknowledged."""
    problems = findings.problems
    journals = [path.name for path in (settings.home / "journal").rglob("*") if path.is_file()]
    problems += [f"journal `{name}` is left" for name in journals if not name.startswith(".tmp-")]
    in_lake = {dataset: ids_in_lake(settings.lake, dataset, problems) for dataset in DATASETS}
    with _open(settings.warehouse_file) as connection:
        in_warehouse = {dataset: _ids_in_table(connection, dataset) for dataset in DATASETS}
        findings.aggregates = aggregates(connection)
        requests = connection.execute("select coalesce(sum(requests), 0) from usage_hourly").fetchone()
        quarantined = connection.execute("select path, reason from pipeline.quarantine").fetchall()
    problems += [f"`{path}` is in quarantine: {reason}" for path, reason in quarantined]
    for dataset, ids in known.items():
        lost = {key for key in ids if in_warehouse[dataset][key] == 0 or in_lake[dataset][key] == 0}
        findings.lost += sum(not _may_be_gone(key, ids[key], operation) for key in lost)
        findings.twice += sum(
            count > 1 for where in (in_lake, in_warehouse) for count in where[dataset].values()
        )
        if operation != "retain" and in_lake[dataset].keys() != in_warehouse[dataset].keys():
            problems.append(f"lake and warehouse hold other ids of `{dataset}`")
    expected = len(known["request_analytics"].keys() | in_lake["request_analytics"].keys())
    if requests != (expected,):
        problems.append(f"the rollups count {requests} requests, {expected} were made")
    problems += errors(settings)
    findings.records = sum(len(ids) for ids in in_lake.values())
    findings.lake_key = _lake_key(settings.lake)


def badly_closed(settings: Settings) -> list[str]:
    """Whether the month is not closed exactly once, or its lines miss or repeat a request."""
    with _open(settings.warehouse_file) as connection:
        closed = connection.execute(
            "select count(distinct closed_at), count(*) filter (where status <> 'closed'), sum(requests),"
            " (select count(*) from request_analytics), (select count(*) from billing_restatements)"
            " from billing_records"
        ).fetchone()
    assert closed is not None
    closings, others, billed, requests, restated = closed
    is_good = (closings, others, restated) == (1, 0, 0) and billed == requests
    return [] if is_good else [f"the month is not closed once and whole: {closed}"]


def errors(settings: Settings) -> list[str]:
    """What `doctor` calls wrong; what is only unfinished is none of it."""
    return [
        f"doctor: {found.what}: {found.value}"
        for found in doctor.inspect(settings, with_audit=True).findings
        if found.severity == "error"
    ]


def _may_be_gone(key: str, user: str, operation: str | None) -> bool:
    """Whether the operation is there to remove the record."""
    is_old = operation == "retain" and (NOW - moment_of(key)).days > 80
    return is_old or (operation == "erase" and user == ERASED)


def still_there(settings: Settings, known: Acknowledged) -> list[str]:
    """Records of the erased person that the lake holds."""
    found = {dataset: ids_in_lake(settings.lake, dataset, []) for dataset in DATASETS}
    return [
        f"`{key}` of the erased person is still in the lake"
        for dataset, ids in known.items()
        for key, user in ids.items()
        if user == ERASED and key in found[dataset]
    ]


def ids_in_lake(root: Path, dataset: str, problems: list[str]) -> Counter[str]:
    """How often each id stands in the lake, by its manifests."""
    found: Counter[str] = Counter()
    key = fields(DATASETS[dataset])[0].name
    listing = reading.scan(root, dataset)
    problems += [f"`{suspect.path}` {suspect.reason}" for suspect in listing.suspects]
    for segment in listing.segments:
        try:
            reading.verify(segment)
        except IntelliRouterError as error:
            problems.append(f"`{segment.manifest.path}` {error}")
        found.update(reading.read_rows(segment.path).column(key).to_pylist())
    return found


def rebuilt_aggregates(home: Path, scratch: Path) -> str:
    """The aggregates of a warehouse that is built from the lake alone."""
    reading.MANIFEST_GRACE_S = 0.0
    settings = settings_of(scratch)
    if (home / "lake").exists():
        shutil.copytree(home / "lake", scratch / "lake")
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        return aggregates(warehouse.connection)


def aggregates(connection: duckdb.DuckDBPyConnection) -> str:
    """A digest of every aggregate table, exact to the last digit."""
    digest = hashlib.sha256()
    for table in AGGREGATES:
        rows = connection.execute(f"select * from {table} order by all").fetchall()  # noqa: S608 - names of our own
        digest.update(f"{table}{rows!r}".encode())
    return digest.hexdigest()


def _check_published(settings: Settings, findings: Findings) -> None:
    if settings.warehouse_file.exists():
        try:
            with _open(settings.warehouse_file) as connection:
                connection.execute("select count(*), sum(cost_usd) from request_analytics").fetchall()
        except duckdb.Error as error:
            findings.unopenable += 1
            findings.problems.append(f"the published warehouse does not open: {error}")
    if settings.scores_file.exists():
        try:
            ScoreSnapshot.read(settings.scores_file)
        except IntelliRouterError as error:
            findings.unopenable += 1
            findings.problems.append(f"the published scores cannot be read: {error}")


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(path), read_only=True, config={"threads": 1})
    connection.execute("set TimeZone = 'UTC'")
    return connection


def _ids_in_table(connection: duckdb.DuckDBPyConnection, dataset: str) -> Counter[str]:
    key = fields(DATASETS[dataset])[0].name
    rows: list[tuple[Any, ...]] = connection.execute(f"select {key} from {dataset}").fetchall()  # noqa: S608 - names of our own contracts
    return Counter(value for (value,) in rows)


def _lake_key(root: Path) -> str:
    """What a rebuild reads: everything in the lake but the chains' heads and temporary files."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.parquet")) if root.exists() else ():
        if not any(part.startswith(".tmp-") for part in path.parts):
            digest.update(f"{path.relative_to(root)} {path.stat().st_size} ".encode())
            digest.update(str(manifest_path(path).exists()).encode())
    return digest.hexdigest()
