"""Kept reconciliations: once a file, named overlaps, and the same after a rebuild."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from pipelines.flow import run_refresh
from pipelines.reconciliation.reconcile_commands import COMMANDS
from pipelines.reconciliation.store import load_reconciliations
from pipelines.reports.reports import query
from pipelines.warehouse.checks import PROVIDER_CHECKS, check_hours
from pipelines.warehouse.warehouse import Warehouse
from router.journal.places import RECONCILIATIONS
from tests import bills
from tests.pipelines.helpers import NOW, make_record

if TYPE_CHECKING:
    from click.testing import Result

    from router.config import Settings
    from tests.bills import Charge


@pytest.fixture
def charges(settings: Settings) -> list[Charge]:
    """Three published days, and a bill of them."""
    records, charges = bills.month(bills.write_prices(settings.home), random.Random(3), a_day=6, days=3)
    bills.publish(settings, records)
    return charges


def run(settings: Settings, charges: list[Charge], name: str, *options: str) -> Result:
    """Reconcile a cost file with these charges."""
    path = Path(settings.home / name)
    path.write_text(bills.openai_costs(charges))
    (command,) = COMMANDS
    return CliRunner().invoke(
        command, [str(path), "--provider", "openai", "--home", str(settings.home), *options]
    )


def rows(settings: Settings) -> list[tuple[object, ...]]:
    """Everything that both tables hold, as people query it."""
    found: list[tuple[object, ...]] = []
    for table in ("from reconciliations", "from reconciliation_differences"):
        found += query(settings, f"{table} order by all").rows()
    return found


def test_a_result_is_published_and_outlives_a_rebuild(settings: Settings, charges: list[Charge]) -> None:
    """Both tables hold it after the command, and again when the warehouse is built from the lake."""
    assert run(settings, charges[:-2], "costs.csv").exit_code == 0
    kept = rows(settings)
    ((name, differing),) = query(settings, "select file_name, differing_usd from reconciliations").rows()
    assert name == "costs.csv"
    assert differing == sum(charge.total for charge in charges[-2:])
    settings.build_file.unlink()
    with Warehouse(settings) as warehouse:
        run_refresh(warehouse)
    assert rows(settings) == kept


def test_the_same_file_is_refused(settings: Settings, charges: list[Charge]) -> None:
    """A second run names the first, under any name of the file, and changes nothing. A dry run may look."""
    run(settings, charges, "costs.csv")
    kept = rows(settings)
    again = run(settings, charges, "copy.csv")
    assert "was reconciled at" in str(again.exception)
    assert run(settings, charges, "copy.csv", "--dry-run").exit_code == 0
    assert rows(settings) == kept


def test_bills_of_the_same_days_are_named(settings: Settings, charges: list[Charge]) -> None:
    """Two files of one provider whose days overlap would count twice in a sum."""
    run(settings, charges, "costs.csv")
    other = run(settings, charges[:-1], "corrected.csv")
    assert "overlaps with `costs.csv` (2026-11-01 to 2026-11-03)" in other.output


def test_a_stopped_or_damaged_result_is_left_out(settings: Settings, charges: list[Charge]) -> None:
    """Parts without facts count as not kept; a changed file is named, and the others load."""
    run(settings, charges, "costs.csv")
    run(settings, charges[:-1], "other.csv")
    first, second = sorted((settings.lake / RECONCILIATIONS).iterdir())
    (first / "reconciliation.json").unlink()
    with Warehouse(settings) as warehouse:
        assert load_reconciliations(warehouse).bills == 1
        (second / "differences.parquet").write_bytes(b"changed")
        loaded = load_reconciliations(warehouse)
        assert (loaded.bills, warehouse.count("reconciliations")) == (0, 0)
    assert loaded.problem is not None
    assert "does not match its SHA-256" in loaded.problem


def test_without_a_file_the_providers_own_figures_are_compared(settings: Settings) -> None:
    """By model, of the requests that have both costs; a model over 1% off fails the check."""
    bills.write_prices(settings.home)
    paid = {"cost_usd": Decimal("0.10"), "model_selected": "gpt-5"}
    records = [
        make_record(NOW, **paid, provider_cost_usd=Decimal("0.12")),
        make_record(NOW, **paid),
        make_record(NOW, model_selected="gpt-5-mini", provider_cost_usd=Decimal("0.0015")),
    ]
    bills.publish(settings, records)
    (command,) = COMMANDS
    done = CliRunner().invoke(
        command, ["--home", str(settings.home), "--since", "2026-06-19", "--format", "csv"]
    )
    assert done.output.splitlines()[1:] == [
        "fake,gpt-5,2,1,0.1,0.12,0.02",
        "fake,gpt-5-mini,1,1,0.0015,0.0015,0",
    ]
    with Warehouse(settings) as warehouse:
        checks = check_hours(warehouse, PROVIDER_CHECKS, [NOW])
        failed = {check.name: check.description for check in checks if not check.passed}
    assert "model=`gpt-5`" in failed["provider_costs_match"]
    assert "gpt-5-mini" not in failed["provider_costs_match"]
