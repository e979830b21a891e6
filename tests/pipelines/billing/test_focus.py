"""The export is what the FinOps Open Cost and Usage Specification says, and equals the bill."""

from __future__ import annotations

import csv
import itertools
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from click.testing import CliRunner

from pipelines.billing.bill_commands import focus_command
from pipelines.flow import close_month
from pipelines.warehouse.warehouse import Warehouse
from tests.pipelines.billing.test_bills import ZONES, raw_sums, refresh, traffic
from tests.pipelines.billing.test_closing import AFTER, OCTOBER, load
from tests.pipelines.helpers import make_record, seal_records

if TYPE_CHECKING:
    from pathlib import Path

    from router.config import Settings

MANDATORY = {
    "BilledCost": "decimal",
    "BillingAccountId": "string",
    "BillingAccountName": "string",
    "BillingCurrency": "string",
    "BillingPeriodEnd": "timestamp",
    "BillingPeriodStart": "timestamp",
    "ChargeCategory": "string",
    "ChargeClass": "string",
    "ChargeDescription": "string",
    "ChargePeriodEnd": "timestamp",
    "ChargePeriodStart": "timestamp",
    "ContractedCost": "decimal",
    "EffectiveCost": "decimal",
    "InvoiceIssuerName": "string",
    "ListCost": "decimal",
    "PricingQuantity": "decimal",
    "PricingUnit": "string",
    "ProviderName": "string",
    "PublisherName": "string",
    "ServiceCategory": "string",
    "ServiceName": "string",
}
"""Columns of level Mandatory in FOCUS 1.2, and their types."""
OPTIONAL = {
    "ChargeFrequency": "string",  # recommended
    "InvoiceId": "string",  # recommended
    "ServiceSubcategory": "string",  # recommended
    "CommitmentDiscountStatus": "string",  # conditional
    "ConsumedQuantity": "decimal",  # conditional
    "ConsumedUnit": "string",  # conditional
}
"""The columns of other levels that the export has."""
NULLABLE = {"ChargeClass", "CommitmentDiscountStatus"}
NULL_IN_CORRECTIONS = {"PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit"}
ALLOWED: dict[str, set[str | None]] = {
    "BillingCurrency": {"USD"},
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {None, "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "CommitmentDiscountStatus": {None, "Used", "Unused"},
    "ServiceCategory": {"AI and Machine Learning"},
    "ServiceSubcategory": {"Generative AI"},
    "ConsumedUnit": {None, "Tokens", "Requests"},
    "PricingUnit": {None, "Tokens", "Requests"},
}
MONEY = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost")


def export(settings: Settings, file: Path, *options: str) -> str:
    """Run the command as a person would. Return its notes."""
    arguments = ["--home", str(settings.home), "--output", str(file), *options]
    answer = CliRunner().invoke(focus_command, arguments, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stderr


def prepare(settings: Settings) -> None:
    """A closed month with a known cost, an unknown one, no provider, and a correction."""
    none: dict[str, Any] = {"cost_usd": None, "success": False, "model_selected": None, "provider": None}
    load(
        settings,
        make_record(OCTOBER, model_answered="large-1", price_id="a@1", service_tier="flex"),
        make_record(OCTOBER, organization_id=None, tokens_input=None, tokens_output=None, **none),
    )
    close_month(settings, "2026-10", now=AFTER)
    load(settings, make_record(OCTOBER, model_answered="large-1", price_id="a@1", service_tier="flex"))


def test_columns_values_and_nulls_are_those_of_the_specification(settings: Settings, tmp_path: Path) -> None:
    """Names, types, nullability, allowed values, and the rules between columns."""
    prepare(settings)
    export(settings, tmp_path / "focus.parquet", "--month", "2026-10")
    table = pq.ParquetFile(tmp_path / "focus.parquet").read()
    kinds = {field.name: re.sub(r"[\d\[(].*", "", str(field.type)) for field in table.schema}
    assert {name: kind for name, kind in kinds.items() if not name.startswith("x_")} == MANDATORY | OPTIONAL
    rows = table.to_pylist()
    assert sorted(row["ChargeClass"] or "" for row in rows) == ["", "", "Correction"]
    for row in rows:
        nullable = NULLABLE | (NULL_IN_CORRECTIONS if row["ChargeClass"] else set())
        assert {name for name in MANDATORY | OPTIONAL if row[name] is None} <= nullable
        assert all(row[name] in allowed for name, allowed in ALLOWED.items())
        assert (row["ConsumedQuantity"] is None) == (row["ConsumedUnit"] is None)
        assert (row["PricingQuantity"] is None) == (row["PricingUnit"] is None)
        assert row["ProviderName"] == row["InvoiceIssuerName"]  # else BilledCost must be 0
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"]


def test_an_unknown_cost_is_named_and_a_correction_is_a_row(settings: Settings, tmp_path: Path) -> None:
    """FOCUS has no NULL for a cost: the command says what is missing."""
    prepare(settings)
    notes = export(settings, tmp_path / "focus.csv", "--month", "2026-10")
    assert notes == "the cost of 1 requests is not known: it is 0 in this format\n"
    with (tmp_path / "focus.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("BillingAccountId", "ChargeClass", "BilledCost", "ListCost", "ConsumedQuantity", "ConsumedUnit")
    cost, tokens = "0.001500000000", ("150.000000000000", "Tokens")
    assert sorted(tuple(row[name] for name in names) for row in rows) == [
        ("acme", "", cost, cost, *tokens),
        ("acme", "Correction", cost, cost, "", ""),
        ("unassigned", "", "0.000000000000", "0.000000000000", "1.000000000000", "Requests"),
    ]
    assert {row["BillingPeriodEnd"] for row in rows} == {"2026-11-01T00:00:00Z"}


def test_raw_rollup_bill_and_export_are_equal(settings: Settings, tmp_path: Path) -> None:
    """To the last decimal, in every zone, for the months around a change of time."""
    records = traffic(400, seed=2)
    seal_records(settings, records)
    refresh(settings)
    for zone, month in itertools.product(ZONES, ("2026-10", "2026-11")):
        file = tmp_path / f"{month}.parquet"
        export(settings, file, "--month", month, "--timezone", zone)
        rows = pq.ParquetFile(file).read().to_pylist()
        sums: dict[Any, tuple[int, Decimal]] = {}
        for row in rows:
            assert row["BilledCost"] == row["ContractedCost"] == row["EffectiveCost"] == row["ListCost"]
            key = None if row["BillingAccountId"] == "unassigned" else row["BillingAccountId"]
            count, cost = sums.get(key, (0, Decimal(0)))
            sums[key] = count + row["x_Requests"], cost + row["BilledCost"]
        assert sums == raw_sums(records, zone, month)
        with Warehouse(settings) as warehouse:
            since, until = rows[0]["BillingPeriodStart"], rows[0]["BillingPeriodEnd"]
            assert warehouse.rows(
                "select sum(requests), sum(cost_usd) from billing_usage"
                " where quarter >= $since and quarter < $until",
                since=since,
                until=until,
            ) == [tuple(map(sum, zip(*sums.values(), strict=True)))]


def test_a_later_version_adds_its_columns(settings: Settings, tmp_path: Path) -> None:
    """1.3 names the provider that serves and the one that hosts; all columns of 1.2 stay."""
    load(settings, make_record(OCTOBER))
    columns = {}
    for version in ("1.2", "1.3"):
        export(settings, tmp_path / "focus.parquet", "--month", "2026-10", "--version", version)
        columns[version] = set(pq.ParquetFile(tmp_path / "focus.parquet").schema_arrow.names)
    assert columns["1.3"] - columns["1.2"] == {"HostProviderName", "ServiceProviderName"}
    assert columns["1.2"] < columns["1.3"]


def test_a_format_that_is_not_focus_is_refused(settings: Settings, tmp_path: Path) -> None:
    """Nothing is written."""
    load(settings, make_record(datetime(2026, 10, 1, tzinfo=UTC) + timedelta(days=1)))
    arguments = ["--home", str(settings.home), "--month", "2026-10", "--output", str(tmp_path / "focus.json")]
    answer = CliRunner().invoke(focus_command, arguments)
    assert "FOCUS files are CSV or Parquet, not `json`" in str(answer.exception)
    assert not (tmp_path / "focus.json").exists()
