"""Restating prices: the past at another price is a restatement, and the records stay."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from pipelines.billing.restatements import read_all
from pipelines.errors import ReconciliationError
from pipelines.flow import run_refresh
from pipelines.reconciliation.restate_commands import COMMANDS
from pipelines.reports.reports import query
from pipelines.warehouse.warehouse import Warehouse
from tests import bills
from tests.pipelines.helpers import NOW, make_record

if TYPE_CHECKING:
    from click.testing import Result

    from router.config import Settings


@pytest.fixture
def published(settings: Settings) -> Settings:
    """One request of 1,000 fresh, 1,000 cached and 100 output tokens, with a web search for a cent."""
    catalog = bills.write_prices(settings.home)
    price = catalog.models["gpt-5"].price_at(NOW)
    assert price is not None
    record = make_record(
        NOW,
        model_selected="gpt-5",
        provider="openai",
        price_id=price.price_id,
        tokens_input=2000,
        tokens_cached_input=1000,
        tokens_output=100,
        cost_usd=Decimal("0.012375"),  # 0.00125 + 0.000125 + 0.001, and 0.01 for the search
    )
    bills.publish(settings, [record])
    return settings


def run(settings: Settings, *options: str) -> Result:
    """`intellirouter prices restate` from the middle of June."""
    (command,) = COMMANDS
    whole = ["--from", "2026-06-15", "--to", "2026-06-30", "--home", str(settings.home)]
    return CliRunner().invoke(command, ["gpt-5", *whole, *options])


def test_the_past_at_another_price_is_a_restatement(published: Settings) -> None:
    """Tokens are priced anew, the search stays, and `cost_usd` of the request does not change."""
    done = run(published, "--price", "input=2.5,output=20,cached_input=0.25", "--format", "csv")
    assert done.exit_code == 0, done.output
    (row,) = read_all(published)
    assert (row["month"], row["organization_id"], row["model"]) == ("2026-06", "acme", "gpt-5")
    assert (row["old_usd"], row["new_usd"]) == (Decimal("0.012375"), Decimal("0.01475"))
    with Warehouse(published) as warehouse:
        run_refresh(warehouse)
    found = query(published, "select difference_usd, source from billing_restatements")
    assert list(found.rows()) == [(Decimal("0.002375"), "prices restate")]
    assert list(query(published, "select cost_usd from request_analytics").rows()) == [(Decimal("0.012375"),)]


def test_a_second_restatement_of_the_same_requests_is_refused(published: Settings) -> None:
    """Both differences would count; a dry run keeps nothing and may be repeated."""
    assert run(published, "--price", "input=2.5,output=20", "--dry-run").exit_code == 0
    assert run(published, "--price", "input=2.5,output=20").exit_code == 0
    again = run(published, "--price", "input=3,output=20")
    assert isinstance(again.exception, ReconciliationError)
    assert "are restated already" in str(again.exception)
    assert len(read_all(published)) == 1


@pytest.mark.parametrize(
    ("price", "words"),
    [
        ("output=1", "needs `input`"),
        ("inputs=1", "knows no `inputs`"),
        ("gpt-5@2020", "no price row `gpt-5@2020`"),
        ("input=x", "`x` for `input`"),
    ],
)
def test_a_price_that_cannot_be_used_is_named(published: Settings, price: str, words: str) -> None:
    """The message shows a price that can."""
    assert words in str(run(published, "--price", price).exception)


def test_a_model_without_requests_is_named(published: Settings) -> None:
    """An empty restatement would look like a price that changes nothing."""
    (command,) = COMMANDS
    done = CliRunner().invoke(
        command,
        ["gpt5", "--from", "2026-06-15", "--price", "input=1,output=1", "--home", str(published.home)],
    )
    assert "no request of `gpt5`" in str(done.exception)
