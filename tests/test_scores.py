"""Score snapshots and the tables made of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.catalog import Catalog
from router.errors import ScoresError
from router.policy import Policy
from router.ranking import probabilities_of_best
from router.scores import ScoreBoard, ScoreFile, ScoreRow, ScoreSnapshot
from tests.factories import write_catalog

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def row(task_type: str, model: str, quality: float | None, cost_usd: float | None = 0.001) -> ScoreRow:
    """A score row with 100 outcomes."""
    return ScoreRow(
        task_type=task_type,
        model=model,
        requests=100,
        requests_with_quality=100,
        requests_with_cost=100,
        effective_sample_size=100.0,
        quality_mean=quality,
        quality_variance=None if quality is None else 0.002,
        quality_low=quality,
        quality_high=quality,
        cost_usd_mean=cost_usd,
        cost_usd_per_input_token=None,
        cost_usd_per_output_token=None,
        tokens_input_mean=None,
        tokens_output_mean=None,
        success_rate=1.0,
        latency_ms_p50=100.0,
        latency_ms_p95=None,
        latency_ms_p99=None,
        ttft_ms_p50=None,
        ttft_ms_p95=None,
        ttft_ms_p99=None,
    )


def snapshot(*rows: ScoreRow) -> ScoreSnapshot:
    """A snapshot published now."""
    return ScoreSnapshot.of(rows, as_of=NOW, published_at=NOW)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Two models without prices."""
    return Catalog.load(write_catalog(tmp_path))


def test_a_snapshot_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Publishing and loading are exact inverses."""
    path = tmp_path / "current.json"
    written = snapshot(row("math", "small", 0.8), row("*", "small", None, None))
    path.write_bytes(written.to_json())
    assert ScoreFile(path).load() == written


def test_equal_knowledge_has_one_name() -> None:
    """The id depends on the rows and the moment they are of, not on their order or publication."""
    first = ScoreSnapshot.of([row("a", "m", 0.5), row("b", "m", 0.5)], as_of=NOW, published_at=NOW)
    later = datetime(2026, 12, 1, tzinfo=UTC)
    second = ScoreSnapshot.of([row("b", "m", 0.5), row("a", "m", 0.5)], as_of=NOW, published_at=later)
    assert first.snapshot_id == second.snapshot_id


@pytest.mark.parametrize("damage", ["empty", "junk", "truncated", "changed", "version"])
def test_a_corrupt_score_file_is_refused_with_its_path_and_a_remedy(tmp_path: Path, damage: str) -> None:
    """No damage is read as scores."""
    content = snapshot(row("math", "small", 0.8)).to_json()
    path = tmp_path / "current.json"
    path.write_bytes(
        {
            "empty": b"",
            "junk": b"\x00\x01",
            "truncated": content[:-20],
            "changed": content.replace(b"0.8", b"0.9"),
            "version": content.replace(b'"schema_version": 1', b'"schema_version": 99'),
        }[damage]
    )
    with pytest.raises(ScoresError, match=r"current\.json"):
        ScoreFile(path).load()


def test_no_file_is_no_snapshot(tmp_path: Path) -> None:
    """Before the first refresh there are no scores, and that is no error."""
    source = ScoreFile(tmp_path / "current.json")
    assert source.load() is None
    assert source.version() is None


def test_choice_probabilities_are_those_of_drawing() -> None:
    """The quadrature agrees with 200,000 Thompson draws to half a point."""
    means, variances = [0.80, 0.78, 0.60, 0.75], [0.001, 0.004, 0.03, 0.0001]
    generator = random.Random(7)
    wins = [0] * len(means)
    draws = 200_000
    for _ in range(draws):
        drawn = [generator.gauss(m, v**0.5) for m, v in zip(means, variances, strict=True)]
        wins[drawn.index(max(drawn))] += 1
    expected = [count / draws for count in wins]
    assert probabilities_of_best(means, variances) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_equals_share_equally(count: int) -> None:
    """Nothing known means nobody is favoured, and the shares sum to 1."""
    shares = probabilities_of_best([0.5] * count, [0.08] * count)
    assert shares == pytest.approx([1 / count] * count)


def test_a_certain_winner_takes_all() -> None:
    """With no variance left the best is chosen for sure."""
    assert probabilities_of_best([0.9, 0.8], [0.0, 0.0]) == pytest.approx([1.0, 0.0])


def test_an_unseen_task_leans_on_the_overall_mean(catalog: Catalog) -> None:
    """A model unknown on a task is as good as it is overall, and less sure."""
    board = ScoreBoard(snapshot(row("*", "small", 0.7), row("math", "small", 0.9)), catalog)
    small = catalog.models["small"]
    assert board.quality("math", small) == (0.9, 0.002)
    mean, variance = board.quality("code", small)
    assert mean == 0.7
    assert variance > 0.002


def test_a_cheaper_equal_is_preferred(catalog: Catalog) -> None:
    """At the same quality the cost weight decides."""
    rows = [
        row(task, model, 0.8, cost)
        for task in ("*", "math")
        for model, cost in (("small", 0.001), ("large", 0.01))
    ]
    board = ScoreBoard(snapshot(*rows), catalog)
    assert board.table(Policy(id="p", cost_weight=0.1), "math").best == "small"


def test_without_a_cost_weight_quality_alone_decides(catalog: Catalog) -> None:
    """Cost does not count when its weight is 0."""
    rows = [row("math", "small", 0.8, 0.001), row("math", "large", 0.9, 1.0)]
    board = ScoreBoard(snapshot(*rows), catalog)
    assert board.table(Policy(id="p", cost_weight=0.0), "math").best == "large"


def test_an_unknown_cost_is_shown_as_unknown(catalog: Catalog) -> None:
    """A model nobody has paid for has cost None in the candidates, not 0."""
    board = ScoreBoard(snapshot(row("math", "small", 0.8)), catalog)
    table = board.table(Policy(id="p"), "math")
    assert {item.model: item.cost_usd for item in table.candidates} == {"small": 0.001, "large": None}
