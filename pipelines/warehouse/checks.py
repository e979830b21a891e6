"""Runs the statements of `sql/checks`. Each returns the rows that break a rule.

A refresh checks only the hours it touched, so that the cost follows the new rows, and those in which the
check failed before. The daily retention run checks all rows that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.lake import reading
from pipelines.warehouse import linked, sqlfiles
from pipelines.warehouse.ranges import runs
from router.journal.places import manifest_path
from router.records import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipelines.lake.reading import Suspect
    from pipelines.warehouse.warehouse import Warehouse

RECORD_CHECKS = ("ids_are_unique", "ledger_matches_table", "amounts_are_not_negative")
PROVIDER_CHECKS = ("models_are_not_redirected", "provider_costs_match")
ROLLUP_CHECKS = ("rollup_counts_match", "rollup_cost_matches")
DAILY_CHECKS = ("daily_matches_hourly",)
SCORE_CHECKS = ("quality_has_not_dropped",)
TRAFFIC_CHECKS = ("traffic_is_usual",)
CLOCK_CHECKS = ("records_are_not_ahead",)
ARCHIVE_CHECKS = ("closed_days_are_counted",)
AHEAD = timedelta(minutes=15)
"""Clocks of two machines may differ by this much."""
RECENT = timedelta(days=1)
"""A drop in quality is shown for this long before the latest traffic."""
END = datetime(9999, 1, 1, tzinfo=UTC)
SHOWN = 10
"""The number of failing rows that a check's description names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of a check."""

    name: str
    failures: Sequence[str]
    """One line for each failing row, at most a few."""
    is_warning: bool = False
    """Whether a failure can wait, because none of our data is missing or wrong."""
    window: str | None = None
    """The hours that were checked, in words. None if the check has no window."""
    columns: Sequence[str] = ()
    """Names of the values in `rows`."""
    rows: Sequence[Sequence[Any]] = ()
    """The failing rows of a statement."""
    failing_ranges: Sequence[tuple[datetime, datetime]] = ()
    """The ranges of hours that have them."""

    @property
    def passed(self) -> bool:
        """Whether no row failed."""
        return not self.failures

    @property
    def description(self) -> str:
        """The failures in one line."""
        if self.passed:
            return "ok"
        more = f"; and {len(self.failures) - SHOWN} more" if len(self.failures) > SHOWN else ""
        return "; ".join(self.failures[:SHOWN]) + more


def check_hours(warehouse: Warehouse, names: Iterable[str], hours: Iterable[datetime]) -> list[CheckResult]:
    """Run the named checks over the given hours, and over those in which they failed last."""
    hours = set(hours)
    return [_check_again(warehouse, name, hours, timedelta(hours=1)) for name in names]


def check_days(warehouse: Warehouse, names: Iterable[str], hours: Iterable[datetime]) -> list[CheckResult]:
    """Run the named checks over the whole days that the given hours fall in."""
    days = {hour.astimezone(UTC).replace(hour=0) for hour in hours}
    return [_check_again(warehouse, name, days, timedelta(days=1)) for name in names]


def check_everything(warehouse: Warehouse) -> list[CheckResult]:
    """Run every check over all raw rows that are kept."""
    start = warehouse.value(sqlfiles.load("retention/expired_before")) or EPOCH
    return [
        _check(warehouse, name, [(start, END)]) for name in (*RECORD_CHECKS, *ROLLUP_CHECKS, *DAILY_CHECKS)
    ]


def check_providers(warehouse: Warehouse, hours: Iterable[datetime]) -> list[CheckResult]:
    """Check that providers answered with the models they were asked for. This only warns: rows are right."""
    ranges = _ranges(hours, timedelta(hours=1))
    return [replace(_check(warehouse, name, ranges), is_warning=True) for name in PROVIDER_CHECKS]


def check_scores(warehouse: Warehouse) -> list[CheckResult]:
    """Check whether a model's quality dropped lately. This only warns: the scores follow the drop."""
    last_hour = warehouse.value(sqlfiles.load("rollups/last_hour"), now=datetime.now(UTC))
    if last_hour is None:
        return [CheckResult(name=name, failures=[]) for name in SCORE_CHECKS]
    ranges = [(last_hour - RECENT, last_hour + timedelta(hours=1))]
    return [replace(_check(warehouse, name, ranges), is_warning=True) for name in SCORE_CHECKS]


def check_traffic(warehouse: Warehouse) -> list[CheckResult]:
    """Name the incidents that go on. This only warns: the rows are right, and unusual."""
    ranges = [(EPOCH, END)]
    return [replace(_check(warehouse, name, ranges), is_warning=True) for name in TRAFFIC_CHECKS]


def check_clock(warehouse: Warehouse) -> list[CheckResult]:
    """Name the segments with records from the future: the clock of their router is ahead, or ours is late."""
    return [replace(_check(warehouse, name, [from_ahead()]), is_warning=True) for name in CLOCK_CHECKS]


def check_archive(warehouse: Warehouse) -> list[CheckResult]:
    """Name the segments that came after retention had closed their day: no figure counts them."""
    return [_check(warehouse, name, [(EPOCH, END)]) for name in ARCHIVE_CHECKS]


def from_ahead() -> tuple[datetime, datetime]:
    """The range of moments that lie in the future."""
    return datetime.now(UTC) + AHEAD, END


def check_lake(warehouse: Warehouse) -> CheckResult:
    """Check that every file of the lake is a segment that was read, and name the others."""
    root = warehouse.settings.lake
    suspects = [
        reading.Suspect(path=path, reason=reason, fingerprint="")
        for path, reason in warehouse.run("checks/unread_files").fetchall()
    ] + reading.strays(root)
    return CheckResult(
        name="lake_is_clean",
        failures=[f"`{suspect.path}` {suspect.reason}" for suspect in suspects],
        # A stray file does no harm, but a segment that was not read is missing from every figure.
        is_warning=not any(_was_sealed(warehouse, suspect) for suspect in suspects),
    )


def _was_sealed(warehouse: Warehouse, suspect: Suspect) -> bool:
    return manifest_path(warehouse.settings.lake / suspect.path).exists()


def _ranges(moments: Iterable[datetime], step: timedelta) -> list[tuple[datetime, datetime]]:
    """Hours or days as ranges of at most a week."""
    return list(runs(sorted(moments), step, longest=timedelta(days=7) // step))


def _check_again(warehouse: Warehouse, name: str, moments: set[datetime], step: timedelta) -> CheckResult:
    """Check hours or days, and those in which the check failed last: a failure ends with its rows."""
    failed = {hour for (hour,) in warehouse.run("checks/failing_hours", check_name=name).fetchall()}
    moments = moments | failed
    result = _check(warehouse, name, _ranges(moments, step))
    if failed or not result.passed:
        ranges = result.failing_ranges
        failing = sorted(moment for moment in moments if any(start <= moment < end for start, end in ranges))
        with warehouse.transaction():
            warehouse.run("checks/forget_failing_hours", check_name=name)
            warehouse.insert(
                "pipeline.failing_hours", [{"check_name": name, "hour": moment} for moment in failing]
            )
    return result


def _check(warehouse: Warehouse, name: str, ranges: Sequence[tuple[datetime, datetime]]) -> CheckResult:
    columns: list[str] = []
    rows: list[tuple[Any, ...]] = []
    failing: list[tuple[datetime, datetime]] = []
    file = sqlfiles.load(f"checks/{name}")
    for start, end in ranges:
        with linked.narrowed(warehouse, start, end, datasets=file.reads):
            found = warehouse.run(file, start=start, end=end)
            columns = [item[0] for item in found.description or []]
            of_range = found.fetchall()
        rows += of_range
        if of_range:
            failing.append((start, end))
    return CheckResult(
        name=name,
        failures=[_line(columns, row) for row in rows],
        window=in_words(ranges),
        columns=columns,
        rows=rows,
        failing_ranges=failing,
    )


def in_words(ranges: Sequence[tuple[datetime, datetime]]) -> str:
    """Ranges of moments as a person writes them: `from 2026-11-26 14:00 to 2026-11-26 16:00 UTC`."""
    if not ranges:
        return "in no hour, since no new record came"
    first, last = min(start for start, _ in ranges), max(end for _, end in ranges)
    if first == EPOCH and last == END:
        return "at any time"
    form = "%Y-%m-%d %H:%M"
    start = "" if first == EPOCH else f"from {first.astimezone(UTC):{form}} "
    others = "" if len(ranges) == 1 else f", in {len(ranges)} ranges"
    return f"{start}UTC on{others}" if last == END else f"{start}to {last.astimezone(UTC):{form}} UTC{others}"


def _line(columns: Sequence[str], row: Sequence[Any]) -> str:
    return ", ".join(f"{column}=`{value}`" for column, value in zip(columns, row, strict=True))
