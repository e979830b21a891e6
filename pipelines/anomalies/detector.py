"""The watch: each hour of each series against its own past.

A value is expected to be its level plus the habit of its hour of the day and of the week. Level and
habits follow the values, but no hour moves them by more than a few deviations, so an outlier teaches
little. The level follows at the one of several speeds that has predicted the series best: a tenant whose
jobs start and stop is compared with its last hours, and a steady one with its last weeks. The deviation
is learned from the residuals, so a restless series needs a larger departure.

The test is sequential. Each hour gives likelihood ratios of a shifted value over an unshifted one, with
the long tails of Student's t. They are summed as Shiryaev and Roberts do: R = (1 + R) · ratio, for some
sizes of the shift in both directions. An incident opens when the mean of these passes

    hours of a week · watched series / ALARMS a week

If the ratios average at most 1 without a shift, the time to a false alarm of one series is on average at
least this many hours (Shin, Ramdas, Rinaldo 2022, "E-detectors", arXiv:2203.03532), so all series together
raise at most that many a week. Residuals are not exactly so: the deviation is widened (`Kind.wider`), and
`tests/benchmarks/anomalies.py` counts the false alarms on real traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

WEEK_HOURS = 168
DAY_HOURS = 24
MIN_HOURS = 72
"""Hours with traffic before a series is watched."""
SETTLING_HOURS = 24
"""Hours in which a new series learns its level and deviation without a bound."""
CLIP = 2.5
"""Deviations by which one hour may move level and habits at most."""
CALM = 2.5
"""Deviations within which an hour counts as usual again."""
CALM_HOURS = 3
"""Usual hours in a row that end an incident."""
LONGEST_HOURS = 72
"""An incident that lasts for so many hours ends too: its level is then the usual one."""
SCALE_SPEED = 0.02
INCIDENT_SPEED = 0.1
DAY_SPEED, WEEK_SPEED = 0.1, 0.15
QUIET = 2.0
"""Evidence below which a run of departures has not begun."""
MOST = 1e12
"""Bound of the sums, so that they stay finite."""


class Kind(NamedTuple):
    """Constants of a kind of metric."""

    tails: float
    """Degrees of freedom: how long the tails of its residuals are."""
    wider: float
    """The deviation is taken for this much larger."""
    shifts: tuple[float, float, float]
    """Sizes of the shifts looked for, in deviations."""
    speeds: tuple[float, float, float]
    """Shares of an hour's residual that the level takes on."""
    growth: float
    """The squared residual counts for this many variances at most."""
    quantile: float
    """97.5% quantile of Student's t with these tails."""
    least: float
    """Least variance, in units of the sampling's. A share varies at least as its sampling does."""


KINDS = {
    # Amounts of traffic jump as callers come and go. Means and shares are steady unless something changed.
    "volume": Kind(3.0, 1.3, (2.0, 4.0, 8.0), (0.02, 0.1, 0.4), 16.0, 3.182, 0.1),
    "mean": Kind(4.0, 1.65, (1.5, 3.0, 6.0), (0.01, 0.05, 0.05), 6.25, 2.776, 0.1),
    "share": Kind(4.0, 1.65, (1.5, 3.0, 6.0), (0.01, 0.05, 0.05), 6.25, 2.776, 1.0),
}
_NAMES = list(KINDS)
_PARTS = (
    ("hours", 1),
    ("variance", 1),
    ("level", 3),
    ("misses", 3),
    ("sums", 6),
    ("since", 1),
    ("opened", 1),
    ("calm", 1),
    ("run", 4),
    ("daily", DAY_HOURS),
    ("weekly", WEEK_HOURS),
    ("echo", WEEK_HOURS),
)
"""The parts of the memory of a series, and how many numbers each takes."""
_ENDS = list(accumulate(width for _, width in _PARTS))
_PLACES = {name: slice(end - width, end) for (name, width), end in zip(_PARTS, _ENDS, strict=True)}
WIDTH = _ENDS[-1]
NOT_OPEN = -1.0


class Opening(NamedTuple):
    """An incident that began to count as one in this hour."""

    row: int
    since: int
    """The first hour of the run of departures that led to it."""


@dataclass(slots=True)
class Watch:
    """The memory of all series, a row for each. Hours are counted since 1970."""

    memory: Any = field(default_factory=lambda: np.zeros((0, WIDTH)))
    kind: Any = field(default_factory=lambda: np.zeros(0, dtype=int))
    """Index of its kind in KINDS."""
    floor: Any = field(default_factory=lambda: np.zeros(0))
    """Variance of an hour with ever so many requests, below which no series is taken to be."""

    def add(self, *, kinds: Sequence[str], floor: Sequence[float], memory: Any = None) -> None:
        """Add rows: new series, or the memory of known ones."""
        rows = np.zeros((len(floor), WIDTH)) if memory is None else np.asarray(memory, dtype=float)
        if memory is None:
            for name, value in (("variance", 1.0), ("misses", 1.0), ("opened", NOT_OPEN)):
                rows[:, _PLACES[name]] = value
        self.memory = np.vstack([self.memory, rows])
        self.kind = np.concatenate([self.kind, np.array([_NAMES.index(name) for name in kinds], dtype=int)])
        self.floor = np.concatenate([self.floor, np.asarray(floor, dtype=float)])

    def part(self, name: str) -> Any:
        """One part of the memory. Writing to it changes the memory."""
        place = self.memory[:, _PLACES[name]]
        return place[:, 0] if place.shape[1] == 1 else place

    @property
    def is_ripe(self) -> Any:
        """Whether each series has enough history to be watched."""
        return self.part("hours") >= MIN_HOURS

    @property
    def is_open(self) -> Any:
        """Whether each series has an incident now."""
        return self.part("opened") != NOT_OPEN

    def step(
        self, hour: int, values: Any, variances: Any, threshold: float
    ) -> tuple[list[Opening], list[int]]:
        """Take in an hour. Return the incidents that open, and the rows whose incident ends.

        `values` are on a scale on which noise is even (see `metrics`), NaN where there is nothing to see.
        `variances` are those of the sampling. `threshold` is that of `threshold_of`.
        """
        seen = ~np.isnan(values)
        value = np.where(seen, values, 0.0)
        unit = np.where(seen, variances, 1.0) + self.floor
        expected, usual = self._expected(hour), np.sqrt(self.part("variance") * unit)
        z = np.where(seen, value - expected, 0.0) / usual
        openings = self._test(hour, seen, z, threshold)
        self._remember_run(seen, value, expected, usual)
        ended = self._end(hour, seen, z)
        self._learn(hour, seen, value, unit, z, usual)
        return openings, ended

    def figures(self, row: int) -> tuple[float, float, float, float]:
        """Means over the hours of an incident: expected, lower and upper end of an hour's range, seen."""
        _, seen, expected, usual = self.part("run")[row] / self.part("run")[row, 0]
        half = KINDS[_NAMES[self.kind[row]]].quantile * usual
        return expected, expected - half, expected + half, seen

    def _of_kind(self, name: str) -> Any:
        """A constant of each row's kind."""
        return np.array([getattr(kind, name) for kind in KINDS.values()])[self.kind]

    def _expected(self, hour: int) -> Any:
        best = np.argmin(self.part("misses"), axis=1)
        return self.part("level")[np.arange(len(best)), best] + self._habit(hour)

    def _habit(self, hour: int) -> Any:
        return self.part("daily")[:, hour % DAY_HOURS] + self.part("weekly")[:, hour % WEEK_HOURS]

    def _test(self, hour: int, seen: Any, z: Any, threshold: float) -> list[Opening]:
        """Add the hour's evidence to the sums, and open an incident where it suffices."""
        tested = seen & self.is_ripe & ~self.is_open
        tails, shifts = self._of_kind("tails")[:, None], self._of_kind("shifts")
        shifts = np.hstack([shifts, -shifts])
        scaled = (z / self._of_kind("wider"))[:, None]
        power = -(tails + 1) / 2
        ratio = np.exp(power * (np.log1p((scaled - shifts) ** 2 / tails) - np.log1p(scaled**2 / tails)))
        sums = self.part("sums")
        is_quiet = tested & (sums.max(axis=1) < QUIET)  # nothing led to this hour: a run would begin here
        self.part("since")[is_quiet] = hour
        self.part("run")[is_quiet] = 0.0
        sums[tested] = np.minimum((1 + sums[tested]) * ratio[tested], MOST)
        rows = np.flatnonzero(tested & (sums.mean(axis=1) >= threshold))
        self.part("opened")[rows] = hour
        self.part("calm")[rows] = 0
        sums[rows] = 0
        return [Opening(int(row), int(self.part("since")[row])) for row in rows]

    def _remember_run(self, seen: Any, value: Any, expected: Any, usual: Any) -> None:
        """Add the hour to the figures of the run of departures, until its incident ends."""
        run = self.part("run")
        run[seen] += np.stack([np.ones_like(value), value, expected, usual], axis=1)[seen]

    def _end(self, hour: int, seen: Any, z: Any) -> list[int]:
        calm = self.part("calm")
        calm[seen] = np.where(np.abs(z[seen]) < CALM, calm[seen] + 1, 0)
        is_calm, is_long = calm >= CALM_HOURS, hour - self.part("opened") >= LONGEST_HOURS
        ended = self.is_open & (is_calm | is_long)
        is_new_level = ended & ~is_calm
        level = self.part("level")
        level[is_new_level] = level[is_new_level, -1:]
        level[ended & is_calm, -1] = level[ended & is_calm, 0]
        self.part("opened")[ended] = NOT_OPEN
        return [int(row) for row in np.flatnonzero(ended)]

    def _learn(self, hour: int, seen: Any, value: Any, unit: Any, z: Any, usual: Any) -> None:
        """Move levels, habits and deviations towards the hour, none of them far.

        An incident teaches nothing at first. Its last level follows it, and is taken over if it lasts.
        A departure in the same hour of two weeks, such as a weekend, is a habit.
        """
        hours, level, misses = self.part("hours"), self.part("level"), self.part("misses")
        is_first, is_next = seen & (hours == 0), seen & (hours > 0) & ~self.is_open
        is_odd = seen & self.is_open
        young = 1 / (hours + 1)
        is_settling = (hours < SETTLING_HOURS)[:, None]
        bound = (CLIP * usual)[:, None]
        misfits = (value - self._habit(hour))[:, None] - level
        learned = misses + np.maximum(SCALE_SPEED, young)[:, None] * (
            np.minimum(np.abs(misfits), 4 * bound) - misses
        )
        moved = level + np.maximum(self._of_kind("speeds"), young[:, None]) * np.where(
            is_settling, misfits, np.clip(misfits, -bound, bound)
        )
        misses[is_next], level[is_next] = learned[is_next], moved[is_next]
        level[is_first] = value[is_first, None]
        level[is_odd, -1] += INCIDENT_SPEED * misfits[is_odd, -1]
        echo, how = self.part("echo"), hour % WEEK_HOURS
        departure, least = z * usual, CLIP * usual
        is_habit = seen & (np.minimum(departure, echo[:, how]) > least)
        is_habit |= seen & (np.maximum(departure, echo[:, how]) < -least)
        # Both weeks alike: their mean. Else the smaller one, since the larger may be a fault.
        sizes = np.sort(np.abs([departure, echo[:, how]]), axis=0)
        size = np.where(sizes[1] < 2 * sizes[0], sizes.mean(axis=0), sizes[0])
        self.part("weekly")[is_habit, how] += (np.sign(departure) * size)[is_habit]
        echo[seen, how] = departure[seen]
        step = np.clip(z, -CLIP, CLIP) * usual
        for name, length, speed, since in (
            ("daily", DAY_HOURS, DAY_SPEED, SETTLING_HOURS),
            ("weekly", WEEK_HOURS, WEEK_SPEED, WEEK_HOURS),
        ):
            rows = is_next & ~is_habit & (hours >= since)
            share = np.maximum(speed, 1 / (hours / length + 3))
            self.part(name)[rows, hour % length] += (share * step)[rows]
        variance = self.part("variance")
        most = np.where(hours < SETTLING_HOURS, np.inf, self._of_kind("growth") * variance)
        target = np.minimum((z * usual) ** 2 / unit, most)
        variance[is_next] += (np.maximum(SCALE_SPEED, young) * (target - variance))[is_next]
        np.maximum(variance, self._of_kind("least"), out=variance)
        hours[seen] += 1


def threshold_of(series: int, alarms_per_week: float) -> float:
    """The evidence that opens an incident, with so many series watched."""
    return WEEK_HOURS * max(series, 1) / alarms_per_week
