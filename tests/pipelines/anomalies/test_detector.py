"""The watch: what opens an incident, what ends it, and how often it errs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.anomalies.detector import KINDS, LONGEST_HOURS, MIN_HOURS, Watch, threshold_of

HOURS = 336
NOISE = 0.01
"""Sampling variance of each value."""


def watched(
    values: Any, *, kind: str = "mean", series: int = 100
) -> tuple[list[tuple[int, int, int]], Watch]:
    """Row, hour and `since` of each incident in values by hour and row."""
    watch = Watch()
    watch.add(kinds=[kind] * values.shape[1], floor=[0.0025] * values.shape[1])
    found = []
    for hour, row in enumerate(values):
        openings, _ = watch.step(hour, row, np.full(len(row), NOISE), threshold_of(series, 1.0))
        found += [(item.row, hour, item.since) for item in openings]
    return found, watch


def noise(rows: int, seed: int = 0) -> Any:
    """Values that only their sampling moves."""
    return np.random.default_rng(seed).normal(0, np.sqrt(NOISE), (HOURS, rows))


@pytest.mark.smoke
@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_of_false_alarms_is_kept(kind: str) -> None:
    """400 steady series, watched for one alarm a week in all of them, raise at most two in two weeks."""
    found, _ = watched(noise(400), kind=kind, series=400)
    assert len(found) <= 2


@pytest.mark.smoke
def test_a_lasting_shift_is_found_and_dated() -> None:
    """Five deviations up from hour 200 on are an incident within twelve hours, which began about then."""
    values = noise(20)
    values[200:, ::2] += 5 * np.sqrt(NOISE)
    found, _ = watched(values)
    rows = {row for row, _, _ in found}
    assert rows == set(range(0, 20, 2))
    assert all(200 <= hour < 212 and 195 <= since <= 203 for _, hour, since in found)


def test_a_daily_habit_is_no_incident() -> None:
    """Nights are quieter than days by twenty deviations, every day: nothing opens."""
    values = noise(20) + 2 * np.sin(np.arange(HOURS) * 2 * np.pi / 24)[:, None]
    assert watched(values)[0] == []


def test_a_weekend_is_known_after_two() -> None:
    """Ten deviations down at each weekend: nearly all series are surprised by the first, few by the third."""
    hours = np.arange(4 * 168)
    weekend = np.where(hours % 168 >= 120, -1.0, 0.0)
    values = np.random.default_rng(1).normal(0, 0.1, (len(hours), 20)) + weekend[:, None]
    found, _ = watched(values)
    surprised = [{row for row, hour, _ in found if hour // 168 == week} for week in range(4)]
    assert len(surprised[0]) >= 18
    assert len(surprised[2]) <= 5
    assert len(surprised[3]) <= 5


def test_one_odd_hour_teaches_little() -> None:
    """An outlier of fifty deviations moves the expected value by less than one."""
    values = noise(2)
    values[250, 0] += 50 * np.sqrt(NOISE)
    _, watch = watched(values[:251])
    level = watch.part("level")[:, 0] + watch.part("daily")[:, 250 % 24]
    assert abs(level[0] - level[1]) < np.sqrt(NOISE)


def test_an_incident_ends_where_its_series_is_usual_again() -> None:
    """After ten hours of departure the series is back: open before, not after."""
    values = noise(5)
    values[200:210] += 8 * np.sqrt(NOISE)
    _, during = watched(values[:209])
    _, afterwards = watched(values[:216])
    assert during.is_open.all()
    assert not afterwards.is_open.any()


def test_a_level_that_lasts_becomes_the_usual_one() -> None:
    """An incident ends after LONGEST_HOURS, and the new level opens no other one."""
    values = noise(5)
    values[200:] += 8 * np.sqrt(NOISE)
    found, watch = watched(values)
    assert HOURS - 200 > LONGEST_HOURS + 24
    assert not watch.is_open.any()
    assert sorted(row for row, _, _ in found) == list(range(5))


def test_more_series_need_more_evidence() -> None:
    """The threshold is the hours of a week, times the series, over the accepted false alarms."""
    assert threshold_of(100, 1.0) == 16_800
    assert threshold_of(200, 4.0) == 8_400


def test_a_young_series_is_not_watched() -> None:
    """A shift before MIN_HOURS opens nothing, however large."""
    values = noise(3)[:MIN_HOURS]
    values[MIN_HOURS // 2 :] += 100
    assert watched(values)[0] == []


def test_missing_hours_change_nothing() -> None:
    """An hour without a value leaves the whole memory as it was."""
    _, watch = watched(noise(3)[:100])
    before = watch.memory.copy()
    watch.step(100, np.full(3, np.nan), np.ones(3), threshold_of(3, 1.0))
    assert np.array_equal(watch.memory, before)


def test_the_memory_goes_on_to_the_bit() -> None:
    """A watch that is read back from its memory finds what one that never stopped finds."""
    values = noise(6)
    values[250:, 0] += 1
    whole, watch = watched(values)
    first, half = watched(values[:200])
    again = Watch()
    again.add(kinds=["mean"] * 6, floor=[0.0025] * 6, memory=half.memory.tolist())
    for hour in range(200, HOURS):
        openings, _ = again.step(hour, values[hour], np.full(6, NOISE), threshold_of(100, 1.0))
        first += [(item.row, hour, item.since) for item in openings]
    assert first == whole
    assert np.array_equal(again.memory, watch.memory)
