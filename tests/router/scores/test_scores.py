"""Score snapshots and the tables made of them."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from router.catalog.catalog import Catalog
from router.catalog.prices import Price
from router.errors import ScoresError
from router.policies.policy import Policy
from router.scores.board import ScoreBoard, ScoreFile, ScoreRow, ScoreSnapshot, tokens_bucket
from router.scores.ranking import probabilities_of_best
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


@pytest.mark.smoke
def test_a_snapshot_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Publishing and loading are exact inverses."""
    path = tmp_path / "current.json"
    written = snapshot(row("math", "small", 0.8), row("*", "small", None, None))
    path.write_bytes(written.to_json())
    assert ScoreFile(path).load() == written


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    """A release that adds a field serves by the scores of the earlier one, under their own id."""
    written = snapshot(row("math", "small", 0.8))
    raw = json.loads(written.to_json()) | {"schema_version": 1}
    for item in raw["rows"]:
        del item["quality_observed"]
    path = tmp_path / "current.json"
    path.write_text(json.dumps(raw))
    read = ScoreFile(path).load()
    assert read is not None
    assert (read.rows, read.snapshot_id) == (written.rows, "aae93ce19ca4e63b32fb4d5771291f9b")


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
            "version": content.replace(b'"schema_version": 2', b'"schema_version": 99'),
        }[damage]
    )
    with pytest.raises(ScoresError, match=r"current\.json"):
        ScoreFile(path).load()


@pytest.mark.smoke
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


@pytest.mark.smoke
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


def test_an_unseen_cell_is_the_task_and_what_sets_the_model_apart(catalog: Catalog) -> None:
    """The task's mean over models, plus how much better the model is elsewhere."""
    rows = [row("*", "*", 0.6), row("code", "*", 0.5), row("*", "small", 0.7)]
    mean, variance = ScoreBoard(snapshot(*rows), catalog).quality("code", catalog.models["small"])
    assert mean == pytest.approx(0.5 + 0.7 - 0.6)
    assert variance == pytest.approx(0.002)


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


def _priced(tmp_path: Path) -> Catalog:
    catalog = Catalog.load(write_catalog(tmp_path))
    price = Price(
        price_id="p",
        start=datetime(2020, 1, 1, tzinfo=UTC),
        input_usd_per_mtok=Decimal(2),
        output_usd_per_mtok=Decimal(10),
    )
    models = {
        name: replace(model, prices=(price,), cost_source="prices") for name, model in catalog.models.items()
    }
    return replace(catalog, models=models)


def test_expected_cost_is_of_this_request(tmp_path: Path) -> None:
    """Known input tokens at today's price, plus the output tokens the traffic leads to expect."""
    catalog = _priced(tmp_path)
    seen = replace(row("math", "*", 0.5), tokens_input_mean=100.0, tokens_output_mean=50.0)
    board = ScoreBoard(snapshot(seen), catalog)
    small = catalog.models["small"]
    assert board.cost_usd("math", small) == pytest.approx((100 * 2 + 50 * 10) / 1e6)
    assert board.cost_usd("math", small, 4000) == pytest.approx((4000 * 2 + 50 * 10) / 1e6)


def test_a_models_own_output_is_expected_of_it(tmp_path: Path) -> None:
    """A model that answers at length is expected to do so again, the surer the more requests say so."""
    catalog = _priced(tmp_path)
    here = replace(row("math", "*", 0.5), tokens_input_mean=100.0, tokens_output_mean=50.0)
    own = replace(row("math", "small", 0.5), tokens_input_mean=100.0, tokens_output_mean=1000.0)
    board = ScoreBoard(snapshot(here, own), catalog)
    short = board.cost_usd("math", catalog.models["large"])
    long = board.cost_usd("math", catalog.models["small"])
    assert short is not None
    assert long == pytest.approx((100 * 2 + (50 + 950 * 100 / 105) * 10) / 1e6, rel=0.01)


def test_sizes_have_tables_of_their_own(tmp_path: Path) -> None:
    """A request's size class decides its costs; the same class shares one table."""
    catalog = _priced(tmp_path)
    seen = replace(row("math", "*", 0.5), tokens_input_mean=100.0, tokens_output_mean=50.0)
    board = ScoreBoard(snapshot(seen), catalog)
    policy = Policy(id="p")
    small, large = tokens_bucket(130), tokens_bucket(9000)
    assert tokens_bucket(200) == small != large
    first, second = board.table(policy, "math", small), board.table(policy, "math", large)
    assert board.table(policy, "math", small) is first
    assert (first.candidates[0].cost_usd or 0) < (second.candidates[0].cost_usd or 0)


def test_dollars_per_point_decide_in_absolute_terms(catalog: Catalog) -> None:
    """A point of quality is worth what the policy says, whatever the reference cost."""
    rows = [row("math", "small", 0.80, 0.001), row("math", "large", 0.85, 0.011)]
    board = ScoreBoard(snapshot(*rows), catalog)
    for usd, best in ((Decimal("0.001"), "small"), (Decimal("0.003"), "large")):
        policy = Policy(id=f"p{usd}", strategy="greedy", usd_per_quality_point=usd)
        assert board.table(policy, "math").best == best


def test_latency_weight_prefers_the_fast(catalog: Catalog) -> None:
    """At equal quality and cost the faster model is best; without a weight latency does not count."""
    slow = replace(row("math", "large", 0.81), latency_ms_p50=900.0)
    rows = [row("math", "small", 0.8), slow, row("*", "small", 0.8), replace(slow, task_type="*")]
    board = ScoreBoard(snapshot(*rows), catalog)
    fastest = Policy(id="f", strategy="greedy", cost_weight=0, latency_weight=0.3)
    quality = Policy(id="q", strategy="greedy", cost_weight=0)
    assert board.table(fastest, "math").best == "small"
    assert board.table(quality, "math").best == "large"


def test_a_new_model_is_bounded_beside_established_ones(catalog: Catalog) -> None:
    """A model the snapshot does not know gets at most the policy's share, and something."""
    rows = [row(task, model, 0.6) for task in ("*", "math") for model in ("*", "small")]
    rows = [replace(item, quality_variance=0.04) if item.model == "*" else item for item in rows]
    board = ScoreBoard(snapshot(*rows), catalog)
    table = board.table(Policy(id="p", cold_start_share=0.1), "math")
    shares = {item.model: item.probability for item in table.candidates}
    assert 0 < (shares["large"] or 0) <= 0.1
    assert sum(share or 0 for share in shares.values()) == pytest.approx(1.0)


def test_who_is_new_follows_what_the_others_have(catalog: Catalog) -> None:
    """While no model has many outcomes, one with a few is not bounded; beside one with many it is."""
    for everyone, other, is_bounded in ((60.0, 50.0, False), (5000.0, 4990.0, True)):
        sizes = {("*", "*"): everyone, ("*", "small"): other, ("*", "large"): 10.0}
        rows = [
            replace(row(task, model, 0.9 if model == "large" else 0.6), effective_sample_size=size)
            for (_, model), size in sizes.items()
            for task in ("*", "math")
        ]
        table = ScoreBoard(snapshot(*rows), catalog).table(Policy(id="p", cold_start_share=0.1), "math")
        share = {item.model: item.probability or 0.0 for item in table.candidates}["large"]
        assert (share <= 0.1) == is_bounded


def test_a_new_board_has_the_tables_that_the_earlier_one_was_asked_for(catalog: Catalog) -> None:
    """Decisions after a refresh find what they looked up before it, and nothing that nobody asked."""
    earlier = ScoreBoard(snapshot(row("math", "small", 0.8)), catalog)
    policy, gone = Policy(id="p"), Policy(id="gone")
    earlier.table(policy, "math", 9)
    earlier.table(gone, "math", 9)
    board = ScoreBoard(snapshot(row("math", "large", 0.9)), catalog)
    board.warm({"p": policy}, earlier)
    assert set(board._tables) == {("p", 1, "math", 9)}
    assert board.table(policy, "math", 9).best == "large"
    assert board.asked == {("p", 1, "math", 9)}
