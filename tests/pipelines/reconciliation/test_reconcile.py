"""Reconciliation: each planted fault of a bill gets its cause, and a clean bill gets none."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from pipelines.errors import ReconciliationError
from pipelines.reconciliation.reconcile import Reconciliation, reconcile
from pipelines.reconciliation.reconcile_commands import COMMANDS
from router.config import Settings
from tests import bills
from tests.bills import CAUSES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.reconciliation.exports.reading import Shape
    from router.catalog.catalog import Catalog
    from tests.bills import Charge, Fault

DAYS = 22
"""The planted faults are on days up to the 21st."""
SHAPES: dict[str, tuple[Shape, str, Callable[[list[Charge]], str]]] = {
    "focus by request": ("focus", ".csv", lambda charges: bills.focus(charges, with_ids=True)),
    "focus by group": ("focus", ".csv", lambda charges: bills.focus(charges, with_ids=False)),
    "openai costs": ("openai", ".csv", bills.openai_costs),
    "openai usage": ("openai", ".json", bills.openai_usage),
    "anthropic costs": ("anthropic", ".json", bills.anthropic_costs),
    "anthropic usage": ("anthropic", ".json", bills.anthropic_usage),
    "openrouter activity": ("openrouter", ".json", bills.openrouter_activity),
    "openrouter generations": ("openrouter", ".csv", bills.openrouter_generations),
}


class Month:
    """A published month and the bills of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalog: Catalog = bills.write_prices(settings.home)
        records, self.charges = bills.month(self.catalog, random.Random(1), a_day=20, days=DAYS)
        bills.publish(settings, records)

    def compare(self, name: str, *faults: Fault) -> tuple[Reconciliation, dict[str, Decimal], Decimal]:
        """The result, the planted dollars by cause, and the dollars of the bill."""
        charges, truth = bills.faulty(self.charges, faults, self.catalog, random.Random(2))
        return self.reconcile(name, charges), truth, sum((charge.total for charge in charges), Decimal(0))

    def reconcile(self, name: str, charges: list[Charge]) -> Reconciliation:
        """The result of a bill with these charges."""
        shape, suffix, render = SHAPES[name]
        path = self.settings.home / f"bill{suffix}"
        path.write_text(render(charges))
        return reconcile(self.settings, path, shape, catalog_providers=["openai"])


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    """One month for all tests: its folder takes seconds to make, and no test changes it."""
    home: Path = tmp_path_factory.mktemp("month")
    return Month(Settings.load({}, home=home))


@pytest.mark.parametrize("name", SHAPES)
def test_a_clean_bill_has_no_difference(month: Month, name: str) -> None:
    """Where both sides agree, no row has a cause, and the totals are those of the bill."""
    found, _, billed = month.compare(name)
    assert [row for row in found.rows if row.cause is not None] == []
    assert abs(found.theirs_usd - billed) < Decimal("1e-9")
    assert abs(found.ours_usd - billed) < Decimal("1e-9")


@pytest.mark.parametrize("fault", CAUSES)
@pytest.mark.parametrize("name", ["focus by request", "focus by group", "openai costs"])
def test_a_planted_fault_gets_its_cause_and_its_dollars(month: Month, name: str, fault: Fault) -> None:
    """With request ids and without, the cause is the planted one, and its dollars are the planted ones."""
    found, truth, billed = month.compare(name, fault)
    assert set(found.by_cause()) == {CAUSES[fault]}
    assert abs(found.by_cause()[CAUSES[fault]] - truth[CAUSES[fault]]) < Decimal("1e-6")  # type: ignore[index]
    assert abs(found.theirs_usd - billed) < Decimal("1e-9")


@pytest.mark.parametrize("name", SHAPES)
def test_faults_together_are_all_named(month: Month, name: str) -> None:
    """All faults in one bill: every cause that the file can show is found, no other is, all is explained."""
    found, truth, _ = month.compare(name, *CAUSES)
    planted = set(truth) - ({"price"} if name.endswith("usage") else set())  # usage names no amounts
    causes = [set(cause.split(" or ")) for cause in found.by_cause()]
    assert planted <= set().union(*causes)
    assert all(names & planted for names in causes)
    assert found.explained_share is not None
    assert found.explained_share >= 0.9999


@pytest.mark.parametrize("name", ["anthropic costs", "focus by group"])
def test_what_the_bill_lacks_of_a_group_that_moved_did_not_move(month: Month, name: str) -> None:
    """A day is billed on the next, where we have fewer tokens than the one request that is missing."""
    late = [charge for charge in month.charges if (charge.moment.day, charge.tier) == (20, "flex")]
    missing = max(late, key=lambda charge: charge.cached_input)
    others = [
        charge
        for charge in month.charges
        if (charge.model, charge.tier) == (missing.model, "flex") and charge.moment.day == 21
    ]
    assert sum(charge.cached_input for charge in others) < missing.cached_input
    moved = [replace(charge, moment=charge.moment + timedelta(days=1)) for charge in late]
    bill = [charge for charge in month.charges if charge not in late] + moved
    found = month.reconcile(name, [charge for charge in bill if charge.request_id != missing.request_id])
    assert set(found.by_cause()) == {"day_boundary", "missing_there"}
    assert found.by_cause()["missing_there"] == missing.total


@pytest.mark.parametrize("name", ["openrouter activity", "openrouter generations"])
def test_an_amount_at_the_price_of_another_tier_is_a_tier_where_the_file_names_none(
    month: Month, name: str
) -> None:
    """The catalog's price of each tier is tried before the price is said to be another."""
    assert set(month.compare(name, "tier")[0].by_cause()) == {"served_tier"}


def test_dollars_beyond_every_tier_are_a_price_and_others_have_two_names(month: Month) -> None:
    """A file that sums tiers cannot show which it is, unless no tier asks that much; the notes say so."""
    found, _, _ = month.compare("openrouter activity", "price")
    causes = found.by_cause()
    assert set(causes) <= {"price", "price or served_tier"}
    assert causes["price"] > causes.get("price or served_tier", Decimal(0))
    assert any("`price or served_tier`" in note for note in found.notes)


def test_a_price_on_a_file_without_tokens_is_told_from_cached_tokens_counted_twice(month: Month) -> None:
    """Both raise one kind on all days: the one follows the cached tokens of each day, the other does not."""
    assert set(month.compare("anthropic costs", "price")[0].by_cause()) == {"price"}
    assert set(month.compare("anthropic costs", "cached_twice")[0].by_cause()) == {"tokens"}


@pytest.mark.parametrize("name", ["openai usage", "anthropic costs", "openrouter activity"])
def test_the_rows_of_a_bill_add_up_to_it(month: Month, name: str) -> None:
    """Whatever the causes, the rows add up to what each side says."""
    found, _, billed = month.compare(name, *CAUSES)
    recorded = sum((charge.total for charge in month.charges), Decimal(0))
    assert abs(found.ours_usd - recorded) < Decimal("1e-9")
    if name != "openai usage":  # it names no amounts
        assert abs(found.theirs_usd - billed) < Decimal("1e-8")
    for row in found.rows:
        assert row.difference_usd == (
            None
            if row.ours_usd is None and row.theirs_usd is None
            else (row.theirs_usd or 0) - (row.ours_usd or 0)
        )


def test_the_command_prints_the_causes_and_exits_with_1_if_dollars_have_none(month: Month) -> None:
    """A total without models and tokens can only be compared by day: what differs has no cause."""
    (command,) = COMMANDS
    charges, _ = bills.faulty(month.charges, ["missing"], month.catalog, random.Random(2))
    path = month.settings.home / "costs.csv"
    path.write_text(bills.openai_costs(charges))
    options = ["--provider", "openai", "--home", str(month.settings.home), "--dry-run"]
    done = CliRunner().invoke(command, [str(path), *options])
    assert done.exit_code == 0, done.output
    assert "  missing_there: " in done.output
    assert "explained: 100.00% of the differing dollars" in done.output
    totals = [
        {
            "start_time": int(charge.moment.timestamp()) // 86_400 * 86_400,
            "amount": {"value": float(charge.total), "currency": "usd"},
        }
        for charge in charges
    ]
    path = month.settings.home / "totals.json"
    path.write_text(json.dumps(totals))
    assert CliRunner().invoke(command, [str(path), *options]).exit_code == 1
    assert CliRunner().invoke(command, [str(path), *options, "--max-unexplained-usd", "9"]).exit_code == 0


def test_a_bill_of_another_provider_is_refused_with_the_names_of_ours(month: Month) -> None:
    """Compared with the requests of no provider, all of the bill would be missing here."""
    path = month.settings.home / "usage.json"
    path.write_text(bills.anthropic_costs(month.charges))
    with pytest.raises(ReconciliationError, match="--catalog-provider, out of `openai`"):
        reconcile(month.settings, path, "anthropic")
