"""The mart `anomalies`: series that left their usual course, from the hours that are new.

A series is one metric of all traffic, of an organisation, a task, a model or a key, in one environment.
`pipeline.watched_hours` holds their hours, `pipeline.watch_states` the memory of the watch at the end of
the last hour and of the last days. A refresh reads the hours that are new or changed, and goes on from the
newest memory before them. A hour is read once it is over, and HISTORY goes back as far as the watch does.

Judged quality comes from `score_changes`, whose detector has a rate of false alarms of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.anomalies.detector import Watch, threshold_of
from pipelines.anomalies.incidents import Anomaly, assign
from pipelines.anomalies.metrics import BY_NAME, METRICS, QUALITY
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.ranges import runs
from pipelines.warehouse.sqlfiles import delete_before, delete_between

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.warehouse.warehouse import Warehouse

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HISTORY = timedelta(days=56)
"""Hours that are read at most, after a rebuild too. Older incidents leave the mart."""
RUN_OF_HOURS = 168
DAYS_REMEMBERED = 3
"""Midnights whose memory is kept. A change of an hour before them is read again from the beginning."""
MOST_SUBJECTS = 200
"""Subjects of a scope that are watched, those with the most requests."""
LATE = timedelta(minutes=5)
"""Time after its end at which an hour counts as complete."""
DEAR_SHARE = 0.25
"""The share of the priced models that are dear: the dearest quarter."""
CONTRIBUTORS = 5
LEAST_CONTRIBUTION = 0.1
QUALITY_DAYS = timedelta(days=7)
"""A drop of the judged quality is an open incident for this long."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Key = tuple[Any, ...]
"""environment, scope, subject, metric"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchResult:
    """The result of bringing the mart up to date."""

    hours: int = 0
    """Hours that were new or changed."""
    watched: int = 0
    """Series that are watched, by metric."""
    too_young: int = 0
    """Series without enough hours to be watched."""
    rows: int = 0
    """Rows of the mart."""
    open_now: int = 0


def compute_anomalies(
    warehouse: Warehouse,
    *,
    now: datetime | None = None,
    before: Callable[[Sequence[Anomaly]], None] | None = None,
) -> WatchResult:
    """Bring the mart up to date with the hours that are over at `now`.

    `before` gets the anomalies, in order, before the mart has them.
    """
    moment = now or datetime.now(UTC)
    last = warehouse.value(sqlfiles.load("rollups/last_hour"), now=moment)
    if not isinstance(last, datetime) or last > moment:  # no traffic, or only from clocks that are ahead
        return WatchResult()
    end = last.astimezone(UTC).replace(minute=0, second=0)
    end += HOUR if moment >= end + HOUR + LATE else timedelta(0)
    horizon = (end - HISTORY).replace(hour=0)
    found = warehouse.run("marts/hours_to_watch", start=horizon, end=end).fetchall()
    changed = [hour.astimezone(UTC) for (hour,) in found]
    if changed:
        with warehouse.transaction():  # the memory and the incidents that it has seen, or neither
            _read_hours(warehouse, changed, horizon)
            watching = _Watching.recall(warehouse, changed[0], horizon)
            watching.go_on(warehouse, horizon, end)
            watching.remember(warehouse, end)
            anomalies = _with_quality(warehouse, watching.anomalies, end)
            if before is not None:
                before(anomalies)
            warehouse.run(sqlfiles.load("tables/clear", table="anomalies"))
            warehouse.insert("anomalies", [item.row() for item in anomalies])
    else:
        watching = _Watching.recall(warehouse, end, horizon)
        anomalies = _with_quality(warehouse, watching.anomalies, end)
        if before is not None:
            before(anomalies)
        warehouse.replace_rows("anomalies", [item.row() for item in anomalies])
    ripe = int(watching.watch.is_ripe.sum())
    return WatchResult(
        hours=len(changed),
        watched=ripe,
        too_young=len(watching.keys) - ripe,
        rows=len(anomalies),
        open_now=sum(item.ended_at is None for item in anomalies),
    )


def _read_hours(warehouse: Warehouse, hours: Sequence[datetime], horizon: datetime) -> None:
    """Compute the series of these hours, and note how the rollup was then."""
    priced, dear = priced_models(warehouse)
    for start, end in runs(hours, HOUR, longest=RUN_OF_HOURS):
        for table in ("pipeline.watched_hours", "pipeline.watched"):
            warehouse.run(delete_between(table, "hour"), start=start, end=end)
        warehouse.run("marts/watched_hours", start=start, end=end, priced=priced, dear=dear)
        warehouse.run("marts/watched", start=start, end=end)
    for table in ("pipeline.watched_hours", "pipeline.watched"):
        warehouse.run(delete_before(table, "hour"), cutoff=horizon)


def priced_models(warehouse: Warehouse) -> tuple[list[str], list[str]]:
    """The models of the catalog with a price, and those of them that are dear."""
    models = [name for (name,) in warehouse.run("marts/priced_models").fetchall()]
    return models, models[: int(len(models) * DEAR_SHARE)]


class _Watching:
    """The watch with the names of its rows, and the anomalies it has found."""

    def __init__(self, start: datetime, anomalies: list[Anomaly]) -> None:
        self.start = start
        """The end of the last hour that was taken in."""
        self.watch = Watch()
        self.keys: dict[_Key, int] = {}
        self.anomalies = anomalies
        self._columns: dict[str, int] = {}
        self._kept: list[tuple[datetime, Any, int]] = []

    @classmethod
    def recall(cls, warehouse: Warehouse, changed: datetime, horizon: datetime) -> _Watching:
        """The memory before the first changed hour. A new one begins at the horizon."""
        rows = warehouse.run("marts/watch_states", changed=changed).fetchall()
        if not rows:
            return cls(horizon, [])
        start = rows[0][0].astimezone(UTC)
        self = cls(start, _until(warehouse, start))
        self._add([tuple(row[1:5]) for row in rows], np.array([row[5] for row in rows]))
        return self

    def go_on(self, warehouse: Warehouse, horizon: datetime, end: datetime) -> None:
        """Take in the hours up to `end`."""
        found = warehouse.run(
            "marts/watch_values", since=horizon, start=self.start, end=end, most=MOST_SUBJECTS
        ).fetchnumpy()
        moments = (
            found["hour"].astype("datetime64[h]").astype(np.int64) if len(found["hour"]) else np.zeros(0)
        )
        counts = {
            name: np.ma.filled(np.ma.asarray(values).astype(float), np.nan)
            for name, values in found.items()
            if name not in ("hour", "environment", "scope", "subject")
        }
        counts["successes"] = counts["requests"] - counts["errors"]
        counts["requests_without_cost"] = counts["successes"] - counts["requests_with_cost"]
        names = [found[name].tolist() for name in ("environment", "scope", "subject")]  # NULL is None
        subjects = list(zip(*names, strict=True))
        measured = {metric.name: metric.of_hours(counts) for metric in METRICS}
        ends = set(_ends(end))
        bounds = np.searchsorted(moments, np.arange(*_numbers(self.start, end + HOUR)))
        first, _ = _numbers(self.start, end)
        for offset, (low, high) in enumerate(pairwise(bounds)):
            if high > low:
                self._take(warehouse, first + offset, subjects[low:high], measured, slice(low, high))
            after = _moment(first + offset + 1)
            if after in ends:
                self._kept.append((after, self.watch.memory.copy(), len(self.keys)))
        self.start = end
        for item in self.anomalies:
            key = (item.environment, item.scope, item.subject, item.metric)
            if item.ended_at is None and key in self.keys:
                self._measure(item, self.keys[key])

    def remember(self, warehouse: Warehouse, end: datetime) -> None:
        """Keep the memory of the last midnights and of the last hour."""
        names = list(self.keys)
        for after, memory, count in self._kept:
            warehouse.run(delete_between("pipeline.watch_states", "next_hour"), start=after, end=after + HOUR)
            columns = ("next_hour", "environment", "scope", "subject", "metric", "memory")
            rows = [
                dict(zip(columns, (after, *key, values.tolist()), strict=True))
                for key, values in zip(names[:count], memory, strict=True)
            ]
            warehouse.insert("pipeline.watch_states", rows)
        warehouse.run("marts/watch_states_kept", ends=_ends(end))

    def _add(self, keys: Sequence[_Key], memory: Any = None) -> None:
        metrics = [BY_NAME[key[3]] for key in keys]
        self.watch.add(
            kinds=[metric.kind for metric in metrics],
            floor=[metric.floor for metric in metrics],
            memory=memory,
        )
        for key in keys:
            self.keys[key] = len(self.keys)

    def _take(
        self,
        warehouse: Warehouse,
        hour: int,
        subjects: Sequence[tuple[Any, ...]],
        measured: dict[str, tuple[Any, Any]],
        rows: slice,
    ) -> None:
        """Take in one hour of all series."""
        wanted = [(*subject, metric.name) for metric in METRICS for subject in subjects]
        seen = np.concatenate([measured[metric.name][0][rows] for metric in METRICS])
        noise = np.concatenate([measured[metric.name][1][rows] for metric in METRICS])
        new = [
            key
            for key, value in zip(wanted, seen, strict=True)
            if key not in self.keys and not np.isnan(value)
        ]
        self._add(new)
        values, variances = np.full(len(self.keys), np.nan), np.ones(len(self.keys))
        known = [(self.keys[key], place) for place, key in enumerate(wanted) if key in self.keys]
        places, sources = (list(part) for part in zip(*known, strict=True)) if known else ([], [])
        values[places], variances[places] = seen[sources], noise[sources]
        threshold = threshold_of(int(self.watch.is_ripe.sum()), warehouse.settings.anomaly_alarms_per_week)
        openings, ended = self.watch.step(hour, values, variances, threshold)
        names = list(self.keys) if openings or ended else []
        for row in ended:
            for item in self.anomalies:
                if (item.environment, item.scope, item.subject, item.metric) == names[
                    row
                ] and not item.ended_at:
                    self._measure(item, row)
                    item.ended_at = _moment(hour + 1)
        for opening in sorted(openings, key=lambda item: names[item.row][1] != "all"):
            self._open(warehouse, names[opening.row], opening.row, hour, opening.since)

    def _open(self, warehouse: Warehouse, key: _Key, row: int, hour: int, since: int) -> None:
        environment, scope, subject, metric = key
        item = Anomaly(
            environment=environment,
            scope=scope,
            subject=subject,
            metric=metric,
            since=_moment(since),
            detected_at=_moment(hour + 1),
        )
        self._measure(item, row)
        item.contributors = _contributors(warehouse, item)
        assign(item, self.anomalies)
        self.anomalies.append(item)

    def _measure(self, item: Anomaly, row: int) -> None:
        plain = BY_NAME[item.metric].plain
        item.expected, item.expected_low, item.expected_high, item.seen = (
            plain(value) for value in self.watch.figures(row)
        )


def _until(warehouse: Warehouse, start: datetime) -> list[Anomaly]:
    """The anomalies as they were known at `start`."""
    found = warehouse.run(sqlfiles.load("tables/rows", table="anomalies"))
    names = [name for name, *_ in found.description or []]
    anomalies = []
    for values in found.fetchall():
        row = dict(zip(names, values, strict=True))
        if row["metric"] == QUALITY or row["detected_at"] > start or row["since"] < start - HISTORY:
            continue
        row.pop("anomaly_id")
        if row["ended_at"] is not None and row["ended_at"] > start:
            row["ended_at"] = None
        anomalies.append(Anomaly(**row))
    return sorted(anomalies, key=lambda item: (item.detected_at, item.anomaly_id))


def _contributors(warehouse: Warehouse, item: Anomaly) -> str:
    """The organisations, tasks, models and keys that the change comes from, as JSON."""
    _, dear = priced_models(warehouse)
    rows = warehouse.run(
        "marts/contributors",
        before=item.since - DAY,
        start=item.since,
        end=item.detected_at,
        scale=(item.detected_at - item.since) / DAY,
        environment=item.environment,
        scope=item.scope,
        subject=item.subject,
        metric=item.metric,
        dear=dear,
    ).fetchall()
    parts = [
        {"scope": scope, "subject": subject, "share": round(share, 3)}
        for scope, subject, share in rows
        if share is not None and share >= LEAST_CONTRIBUTION
    ]
    return json.dumps(parts[:CONTRIBUTORS], ensure_ascii=False)


def _with_quality(warehouse: Warehouse, anomalies: list[Anomaly], end: datetime) -> list[Anomaly]:
    """The anomalies and the drops of the judged quality, in order."""
    found = [*anomalies, *_quality(warehouse, end, end - HISTORY)]
    return sorted(found, key=lambda item: (item.detected_at, item.anomaly_id))


def _quality(warehouse: Warehouse, end: datetime, since: datetime) -> list[Anomaly]:
    """The drops that the detector of scores noted."""
    found: list[Anomaly] = []
    for task, model, changed_at, before, after, outcomes in warehouse.run(
        "marts/quality_incidents", since=since
    ).fetchall():
        half = 1.96 * sqrt(max(before * (1 - before), 0.0) / max(outcomes, 1))
        is_over = changed_at + QUALITY_DAYS <= end
        item = Anomaly(
            environment=None,
            scope="model",
            subject=model,
            metric=QUALITY,
            since=changed_at,
            detected_at=changed_at,
            ended_at=changed_at + QUALITY_DAYS if is_over else None,
            expected=before,
            expected_low=max(before - half, 0.0),
            expected_high=min(before + half, 1.0),
            seen=after,
            contributors=json.dumps([{"scope": "task", "subject": task, "share": 1.0}]),
        )
        assign(item, found)
        found.append(item)
    return found


def _ends(end: datetime) -> list[datetime]:
    midnight = end.replace(hour=0)
    return sorted({*(midnight - day * DAY for day in range(DAYS_REMEMBERED)), end})


def _numbers(start: datetime, end: datetime) -> tuple[int, int]:
    """Hours since 1970."""
    return int((start - EPOCH) / HOUR), int((end - EPOCH) / HOUR)


def _moment(hour: int) -> datetime:
    return EPOCH + hour * HOUR
