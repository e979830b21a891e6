"""The change detector in much traffic: a stated rate of false alarms, small drops, a memory."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from pipelines.rollups.tables import BLOCK
from pipelines.scores.change_detection import ALPHA, Block, Series, threshold_at

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def _blocks(rng: random.Random, quality: float, count: int, first: int = 0) -> list[Block]:
    """Whole blocks of right or wrong outcomes, a minute apart."""
    blocks = []
    for place in range(first, first + count):
        right = float(sum(rng.random() < quality for _ in range(BLOCK)))
        blocks.append(Block(NOW + timedelta(minutes=place), BLOCK, right, right))
    return blocks


def test_false_alarms_do_not_grow_with_traffic() -> None:
    """40 series of 20,000 stationary outcomes each raise at most the stated rate of alarms."""
    rng = random.Random(1)
    alarms = 0
    for number in range(40):
        series = Series()
        for block in _blocks(rng, 0.3 + 0.017 * number, 1000):
            alarms += series.add(block) is not None
    assert alarms <= ALPHA * 40


def test_a_small_drop_is_found_in_much_traffic() -> None:
    """Five points after 10,000 outcomes are noted once, near their place."""
    rng = random.Random(2)
    series, found = Series(), []
    for block in [*_blocks(rng, 0.85, 500), *_blocks(rng, 0.80, 300, first=500)]:
        found += [item for item in [series.add(block)] if item is not None]
    ((change, before),) = found
    assert abs((change.changed_at - NOW) / timedelta(minutes=1) - 500) < 50
    assert change.z < 0
    assert before.count == change.outcomes_before


def test_the_memory_is_short_and_goes_on_to_the_last_bit() -> None:
    """A series written to text after each block, and read again, ends as the one that never was."""
    rng = random.Random(3)
    whole, parts = Series(), Series()
    for block in [*_blocks(rng, 0.9, 200), *_blocks(rng, 0.6, 100, first=200)]:
        noted = whole.add(block)
        parts = Series.from_json(parts.to_json())
        assert parts.add(block) == noted
        assert parts == whole
    assert len(whole.spans) < 40
    assert len(whole.to_json()) < 4000


def test_the_threshold_knows_how_often_it_has_looked() -> None:
    """Each look is stricter than the one before, by ever less."""
    thresholds = [threshold_at(looks) for looks in (1, 10, 100, 1000, 10_000, 100_000)]
    assert thresholds == sorted(thresholds)
    assert thresholds[-1] < 7
