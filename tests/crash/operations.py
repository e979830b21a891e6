"""What is interrupted: each operation with the data folder it starts from.

`prepare` and `run` are given a `Stage`; `run` calls `stage.begin()` where the counted calls start.
Everything is the same from run to run (names, moments, one DuckDB thread), so that the n-th call
of one run is the n-th call of the next.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from unittest import mock

from pipelines import flow
from pipelines.errors import BillError
from pipelines.lake import compaction
from pipelines.rollups import rollups
from pipelines.scores import scoring
from pipelines.scores.publishing import publish_scores
from pipelines.warehouse import linked, loading, publishing
from pipelines.warehouse.warehouse import Warehouse, set_aside
from router.config import Settings
from router.journal.journal import Journal
from router.records import Record, RequestLog, RequestRecord, SecurityEvent
from tests.pipelines.helpers import NOW, id_at, make_feedback, make_record, run_steps, seal_records

if TYPE_CHECKING:
    from datetime import datetime

OLD = NOW - timedelta(days=100)
"""Older than the raw records' retention."""
LATER = NOW + timedelta(days=1)
MERGED_FIRST = 3
"""The load of a backlog merges so many segments of an hour first."""
READ_IN_FILES = 2
"""A refresh reads the rows of a segment with so many in its file, as it reads large ones."""
ERASED = "u1"
"""The person whom `erase` removes."""


@dataclass(kw_only=True)
class Stage:
    """One run of one operation."""

    home: Path
    acknowledged: Path
    """Where the ids are written that a caller was told are safe; outside of the data folder."""
    begin: Callable[[], None] = lambda: None
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    users: dict[str, str] = field(default_factory=dict)
    """Whose request each id is."""

    @property
    def settings(self) -> Settings:
        """Of the data folder; one thread, for the same calls in each run."""
        return settings_of(self.home)

    def acknowledge(self, *records: Record) -> None:
        """Note that the caller holds the promise, and whose record it is."""
        lines = "".join(
            f"{record.DATASET}\t{key_of(record)}\t{self.users[request_id_of(record)]}\n" for record in records
        )
        descriptor = os.open(self.acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, lines.encode())
        os.close(descriptor)

    def traffic(self, count: int, at: datetime = NOW) -> list[tuple[Record, ...]]:
        """Requests over two hours, each with its audit trail and some with a judgement."""
        made: list[tuple[Record, ...]] = []
        for _ in range(count):
            moment = at + timedelta(milliseconds=self.rng.randrange(7_200_000))
            record = make_record(
                moment,
                id=id_at(moment, self.rng),
                model_selected=self.rng.choice(["small", "large"]),
                user_id=self.rng.choice([ERASED, "u2"]),
                cost_usd=Decimal(self.rng.randrange(10**9)).scaleb(-12),
                latency_ms=self.rng.lognormvariate(6, 1),
            )
            self.users[record.id] = str(record.user_id)
            made.append((record, log_of(record)))
            if self.rng.random() < 0.5:
                judged_at = moment + timedelta(seconds=30)
                feedback_id = id_at(judged_at, self.rng)
                value = self.rng.random()
                made.append((make_feedback(record, value, at=judged_at, feedback_id=feedback_id),))
        return made

    def seal(self, count: int, files: int = 2, at: datetime = NOW) -> None:
        """Traffic in the lake, in several segments."""
        for number in range(files):
            records = [record for together in self.traffic(count, at) for record in together]
            seal_records(self.settings, records, writer_id=f"writer{number % 2}")
            self.acknowledge(*records)

    def refresh(self) -> None:
        """What the refresh job does, without Dagster around it."""
        refresh(self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be interrupted."""

    name: str
    prepare: Callable[[Stage], None]
    run: Callable[[Stage], None]
    is_repeated: bool = False
    """Whether the product runs it again after a refresh: its end is then judged too."""


class QuietJournal(Journal):
    """Seals only when told to, under a name that does not change."""

    def __init__(self, home: Path, *, sync: Literal["os", "group"] = "os", writer_id: str = "0a" * 6) -> None:
        with mock.patch("secrets.token_hex", return_value=writer_id):
            super().__init__(home, seal_interval_s=3600, max_bytes=1 << 30, sync=sync)

    def _seal_forever(self) -> None:
        pass


def settings_of(home: Path) -> Settings:
    """Settings of a data folder, untouched by the environment."""
    return Settings.load({}, home=home, duckdb_threads=1)


def refresh(settings: Settings, begin: Callable[[], None] = lambda: None) -> None:
    """Every step of the refresh, after the database is open and `begin` was called."""
    with Warehouse(settings) as warehouse, mock.patch.object(linked, "FEWEST_ROWS", READ_IN_FILES):
        begin()
        flow.run_refresh(warehouse)


def key_of(record: Record) -> str:
    """The id that is unique in the record's dataset."""
    return str(getattr(record, fields(record)[0].name))


def request_id_of(record: Record) -> str:
    """The request that a record is about."""
    return record.id if isinstance(record, RequestRecord | SecurityEvent) else record.request_id


def log_of(record: RequestRecord) -> RequestLog:
    """The audit trail of a request."""
    return RequestLog(
        request_id=record.id,
        timestamp=record.timestamp,
        organization_id=record.organization_id,
        user_id=record.user_id,
        body_mode="redacted",
    )


def _nothing(stage: Stage) -> None:
    stage.home.mkdir(parents=True, exist_ok=True)


def _append(stage: Stage, sync: Literal["os", "group"]) -> None:
    stage.begin()
    journal = QuietJournal(stage.home, sync=sync)
    for together in stage.traffic(5):
        journal.append(*together)
        stage.acknowledge(*together)


def _seal(stage: Stage) -> None:
    journal = QuietJournal(stage.home, sync="group")
    for together in stage.traffic(5):
        journal.append(*together)
        stage.acknowledge(*together)
    stage.begin()
    journal.seal_now()
    journal.close()


def _leave_journals(stage: Stage) -> None:
    """What a killed router leaves: whole records, and half of one that nobody was told of."""
    journal = QuietJournal(stage.home)
    for together in stage.traffic(5):
        journal.append(*together)
        stage.acknowledge(*together)
    (path,) = (stage.home / "journal" / "request_analytics").glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: whole.find(b"\n") // 2])


def _adopt(stage: Stage) -> None:
    stage.begin()
    journal = QuietJournal(stage.home, writer_id="0b" * 6)
    journal.seal_now()
    journal.close()


def _loaded_and_more(stage: Stage) -> None:
    stage.seal(6)
    stage.refresh()
    stage.seal(6)


def _load(stage: Stage) -> None:
    with Warehouse(stage.settings) as warehouse:
        stage.begin()
        loading.load_all(warehouse)
        rollups.fold_stale_hours(warehouse)
        rollups.build_daily_marts(warehouse)
        scoring.score(warehouse)


def _refresh(stage: Stage) -> None:
    refresh(stage.settings, stage.begin)


def _backlog(stage: Stage) -> None:
    stage.seal(2, files=5)


def _load_backlog(stage: Stage) -> None:
    with mock.patch.object(compaction, "BACKLOG_FILES", MERGED_FIRST):
        _load(stage)


def _scored(stage: Stage) -> None:
    _loaded_and_more(stage)
    _load(stage)


def _publish_scores(stage: Stage) -> None:
    with Warehouse(stage.settings) as warehouse:
        stage.begin()
        publish_scores(warehouse)


def _publish_warehouse(stage: Stage) -> None:
    with Warehouse(stage.settings) as warehouse:
        stage.begin()
        publishing.publish_warehouse(warehouse)


def _rebuild(stage: Stage) -> None:
    stage.begin()
    with Warehouse(stage.settings) as warehouse:
        set_aside(stage.settings.build_file)
        run_steps(warehouse)
        publishing.publish_warehouse(warehouse)


def _many_segments(stage: Stage) -> None:
    stage.seal(3, files=3)
    stage.refresh()
    stage.seal(3, files=1)


def _compact(stage: Stage) -> None:
    stage.begin()
    compaction.compact(stage.settings.lake, now=LATER)


def _with_old_days(stage: Stage) -> None:
    stage.seal(4, files=1, at=OLD)
    stage.seal(4, files=1, at=OLD + timedelta(days=1))
    stage.seal(4)
    stage.refresh()
    stage.seal(3, files=1, at=OLD)  # sealed late: aggregated by the retention itself


def _retain(stage: Stage) -> None:
    with Warehouse(stage.settings) as warehouse:
        stage.begin()
        flow.retain(warehouse, now=LATER)
        publishing.publish_warehouse(warehouse)


def _erase(stage: Stage) -> None:
    stage.begin()
    flow.erase(stage.settings, ERASED)


def _close(stage: Stage) -> None:
    stage.begin()
    with contextlib.suppress(BillError):  # the run that was killed had closed the month
        flow.close_month(stage.settings, f"{NOW:%Y-%m}", now=NOW + timedelta(days=31))


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation(name="append", prepare=_nothing, run=lambda stage: _append(stage, "os")),
        Operation(name="append-group", prepare=_nothing, run=lambda stage: _append(stage, "group")),
        Operation(name="seal", prepare=_nothing, run=_seal),
        Operation(name="adopt-and-seal", prepare=_leave_journals, run=_adopt),
        Operation(name="load", prepare=_loaded_and_more, run=_load),
        Operation(name="load-backlog", prepare=_backlog, run=_load_backlog),
        Operation(name="publish-scores", prepare=_scored, run=_publish_scores),
        Operation(name="publish-warehouse", prepare=_scored, run=_publish_warehouse),
        Operation(name="refresh", prepare=_loaded_and_more, run=_refresh),
        Operation(name="rebuild", prepare=_loaded_and_more, run=_rebuild),
        Operation(name="compact", prepare=_many_segments, run=_compact, is_repeated=True),
        Operation(name="retain", prepare=_with_old_days, run=_retain, is_repeated=True),
        Operation(name="close", prepare=_loaded_and_more, run=_close, is_repeated=True),
        Operation(name="erase", prepare=_many_segments, run=_erase, is_repeated=True),
    )
}


def prepare(name: str, home: Path, acknowledged: Path) -> None:
    """Make the folder that the operation starts from."""
    acknowledged.touch()
    OPERATIONS[name].prepare(Stage(home=home, acknowledged=acknowledged))


def run(name: str, home: Path, acknowledged: Path, begin: Callable[[], None]) -> None:
    """Do the operation."""
    OPERATIONS[name].run(
        Stage(home=home, acknowledged=acknowledged, begin=begin, rng=random.Random(f"run {name}"))
    )
