"""Ten versions of a public price registry, replayed into the book: its real faults are held back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from pipelines.prices.book import Comparison, compare
from router.catalog.price_book import ALWAYS
from router.catalog.prices import Price
from tests.places import SHARED

if TYPE_CHECKING:
    from collections.abc import Mapping

HISTORY = SHARED / "data" / "prices_litellm_history.parquet"
VERSIONS = [
    "1.14.4", "1.55.10", "1.63.14", "1.67.4", "1.72.0", "1.75.8", "1.77.7", "1.80.8", "1.83.10", "1.109.1",
]  # fmt: skip
TEXT_MODES = {"chat", "completion", "responses"}
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not HISTORY.exists(), reason="the price history is not on this machine")


def per_mtok(value: float | None) -> Decimal | None:
    """Dollars per million of a price per token, as it prints."""
    return None if value is None else Decimal(repr(value)) * 1_000_000


def row(entry: Mapping[str, Any]) -> Price | None:
    """The registry's entry as a row; None without a price of input and output."""
    given, written = per_mtok(entry["input_cost_per_token"]), per_mtok(entry["output_cost_per_token"])
    if given is None or written is None:
        return None
    return Price(
        price_id=entry["model_key"],
        start=ALWAYS,
        input_usd_per_mtok=given,
        output_usd_per_mtok=written,
        cached_input_usd_per_mtok=per_mtok(entry["cache_read_input_token_cost"]),
        cache_write_usd_per_mtok=per_mtok(entry["cache_creation_input_token_cost"]),
        reasoning_usd_per_mtok=per_mtok(entry["output_cost_per_reasoning_token"]),
    )


def listings() -> dict[str, dict[str, tuple[Price, ...]]]:
    """Version to the rows of the models that ever were for text."""
    entries = pq.read_table(HISTORY).to_pylist()
    texts = {entry["model_key"] for entry in entries if entry["mode"] in TEXT_MODES}
    found: dict[str, dict[str, tuple[Price, ...]]] = {version: {} for version in VERSIONS}
    for entry in entries:
        price = row(entry)
        if price is not None and entry["model_key"] in texts:
            found[entry["registry_version"]][entry["model_key"]] = (price,)
    return found


@pytest.fixture(scope="module")
def history() -> dict[str, Comparison]:
    """Version to what the book made of it, each a day after the one before; nobody accepts anything."""
    rows: Mapping[str, tuple[Price, ...]] = {}
    results = {}
    for day, (version, listed) in enumerate(listings().items()):
        results[version] = compare(rows, listed, now=FIRST_DAY + timedelta(days=day), max_factor=3.0)
        rows = results[version].rows
    return results


def kinds(comparison: Comparison, ref: str) -> set[str]:
    """Why the model's price waits."""
    return {finding.kind for change in comparison.held if change.ref == ref for finding in change.findings}


@pytest.mark.parametrize(
    ("version", "ref", "kind"),
    [
        ("1.77.7", "wandb/meta-llama/Llama-3.1-8B-Instruct", "absurd"),  # 22,000 $ a million
        ("1.55.10", "gemini-1.5-pro-preview-0514", "unlike_its_model"),  # 0.078 $, its model 1.25 $
        ("1.83.10", "gemini/gemini-1.5-flash", "zero"),  # output 0
        ("1.63.14", "command-r7b-12-2024", "swapped"),  # input 0.15 $, output 0.0375 $
    ],
)
def test_a_real_fault_waits_for_a_person(
    history: dict[str, Comparison], version: str, ref: str, kind: str
) -> None:
    """The fault is named when it first appears, and no row of it comes into force."""
    assert kind in kinds(history[version], ref)
    assert not [change for change in history[version].applied if change.ref == ref]


def test_no_zero_comes_into_force(history: dict[str, Comparison]) -> None:
    """Every model that a version prices at 0 waits, and is billed by no row of 0."""
    zeros = 0
    for version, listed in listings().items():
        for ref, (price,) in listed.items():
            if 0 in (price.input_usd_per_mtok, price.output_usd_per_mtok) and not ref.endswith(":free"):
                zeros += 1
                assert "zero" in kinds(history[version], ref)
    assert zeros > 82
    for ref, rows in history[VERSIONS[-1]].rows.items():
        for price in rows:
            is_zero = 0 in (price.input_usd_per_mtok, price.output_usd_per_mtok)
            assert not is_zero or ref.endswith(":free")


def test_what_vanishes_keeps_its_price(history: dict[str, Comparison]) -> None:
    """A model the registry drops stays in the book, row for row, and is named."""
    last = history[VERSIONS[-1]]
    assert len(last.unlisted) > 100
    for before, after in pairwise(VERSIONS):
        for ref, rows in history[before].rows.items():
            assert history[after].rows[ref][: len(rows)] == rows


def test_a_repaired_price_comes_into_force(history: dict[str, Comparison]) -> None:
    """Once the registry swaps the columns back nobody is asked any more."""
    (price,) = history["1.109.1"].rows["command-r7b-12-2024"]
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (Decimal("0.0375"), Decimal("0.15"))


def test_few_plausible_changes_are_held_back(
    history: dict[str, Comparison], capsys: pytest.CaptureFixture[str]
) -> None:
    """Most changes of a price in force pass by themselves; the figures are printed."""
    listed = listings()
    changes = held = new = new_held = 0
    by_kind: dict[str, int] = {}
    asked: set[str] = set()
    for before, version in zip([None, *VERSIONS], VERSIONS, strict=False):
        known = listed[before] if before else {}
        result = history[version]
        for change in result.held:
            for finding in change.findings if change.id not in asked else ():
                by_kind[finding.kind] = by_kind.get(finding.kind, 0) + 1
        held_refs = {change.ref for change in result.held}
        asked |= {change.id for change in result.held}
        for ref, (price,) in listed[version].items():
            if ref not in known:
                new += 1
                new_held += ref in held_refs
            elif (price.input_usd_per_mtok, price.output_usd_per_mtok) != (
                known[ref][0].input_usd_per_mtok,
                known[ref][0].output_usd_per_mtok,
            ):
                changes += 1
                held += ref in held_refs
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what the test is for
            f"\n{changes} changed prices, {held} held back; {new} new models, {new_held} held back;"
            f" {len(asked)} different prices asked for; findings {by_kind}"
        )
    assert held < changes / 3  # the registry's versions are weeks to months apart
    assert new_held < new / 20
