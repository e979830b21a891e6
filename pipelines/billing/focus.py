"""Bills in the FinOps Open Cost and Usage Specification (FOCUS), which billing tools read.

A row is a line of a bill: its charge period is the bill's period. The change of a closed line is a row of
its own with the charge class `Correction`. Columns of ours start with `x_`. FOCUS has no unknown
amounts: an unknown cost is 0 there, and `x_RequestsWithUnknownCost` counts its requests; an unknown list
cost is the contracted one, and `x_ListCostIsKnown` is false.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from pipelines.billing.accounts import CURRENCY
from pipelines.reports.reports import Answer
from router.catalog.prices import ZERO_USD
from router.settings.printing import csv_value, written_csv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from pipelines.billing.bill import MonthlyBill, Row

Version = Literal["1.2", "1.3"]
NOBODY = "unassigned"
"""The billing account of requests without an organisation."""
ISSUER = "IntelliRouter"
_MOMENTS = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
_MONEY = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost")
_QUANTITIES = ("ConsumedQuantity", "PricingQuantity")
_TEXTS = (
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "CommitmentDiscountStatus",
    "ConsumedUnit",
    "InvoiceId",
    "InvoiceIssuerName",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
)
LATER: Mapping[Version, tuple[str, ...]] = {"1.2": (), "1.3": ("HostProviderName", "ServiceProviderName")}
"""Columns that a later version adds. 1.3 deprecates `ProviderName` and `PublisherName`, and keeps them."""
_COUNTS = (
    "x_Requests",
    "x_RequestsWithUnknownCost",
    "x_TokensInput",
    "x_TokensCachedInput",
    "x_TokensCacheWrite",
    "x_TokensOutput",
    "x_TokensReasoning",
)
_OWN = ("x_Model", "x_PriceId", "x_ServiceTier", "x_Status", "x_TimeZone")


def focus(
    bill: MonthlyBill,
    names: Mapping[str | None, str | None],
    *,
    version: Version = "1.2",
    issuer: str = ISSUER,
) -> Answer:
    """The rows of a bill, one for each line and one for each line's correction.

    `names` are the organisations' names.
    """
    import pyarrow as pa

    rows = [row for line in bill.rows for row in _rows(line, names, issuer)]
    return Answer(table=pa.Table.from_pylist(rows, schema=_schema(version)))


def as_csv(answer: Answer) -> str:
    """The rows as FOCUS writes them in files without types: moments end in Z, amounts show all decimals."""
    return written_csv(answer.columns, ([_cell(value) for value in row] for row in answer.rows()))


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"{value:f}" if isinstance(value, Decimal) else csv_value(value)


def _schema(version: Version) -> pa.Schema:
    """The columns in order of name, ours last."""
    import pyarrow as pa

    kinds: dict[str, pa.DataType] = dict.fromkeys((*_TEXTS, *LATER[version]), pa.string())
    kinds |= dict.fromkeys(_MOMENTS, pa.timestamp("us", "UTC"))
    kinds |= dict.fromkeys(_MONEY, pa.decimal128(38, 12))
    kinds |= dict.fromkeys(_QUANTITIES, pa.decimal128(38, 12))
    own = dict.fromkeys(_OWN, pa.string()) | dict.fromkeys(_COUNTS, pa.int64())
    own["x_ListCostIsKnown"] = pa.bool_()
    return pa.schema([*sorted(kinds.items()), *own.items()])


def _rows(line: Row, names: Mapping[str | None, str | None], issuer: str) -> Iterable[dict[str, Any]]:
    organization = line["organization_id"]
    provider = line["provider"] or issuer
    common = {
        "BillingAccountId": organization or NOBODY,
        "BillingAccountName": names.get(organization) or organization or NOBODY,
        "BillingCurrency": CURRENCY,
        "BillingPeriodStart": line["since"],
        "BillingPeriodEnd": line["until"],
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": line["since"],
        "ChargePeriodEnd": line["until"],
        "HostProviderName": provider,
        "InvoiceId": f"{line['month']}/{organization or NOBODY}",
        "InvoiceIssuerName": issuer,
        "ProviderName": issuer,  # whoever sends the bill: another provider's charges would be billed as 0
        "PublisherName": provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": line["model"] or NOBODY,
        "ServiceProviderName": issuer,
        "ServiceSubcategory": "Generative AI",
        "x_Model": line["model"],
        "x_PriceId": line["price_id"],
        "x_ServiceTier": line["service_tier"],
        "x_Status": line["status"],
        "x_TimeZone": line["time_zone"],
    }
    if line["requests"] or line["billed_cost_usd"] is not None:
        yield {**common, **_usage(line)}
    if line["restated_usd"]:
        yield {**common, **_correction(line), "InvoiceId": f"{common['InvoiceId']}/restated"}


def _usage(line: Row) -> dict[str, Any]:
    contracted = ZERO_USD if line["contracted_cost_usd"] is None else line["contracted_cost_usd"]
    billed = ZERO_USD if line["billed_cost_usd"] is None else line["billed_cost_usd"]
    is_listed = line["list_cost_usd"] is not None
    tokens = [line[name] for name in ("tokens_input", "tokens_output") if line[name] is not None]
    requests = Decimal(line["requests"])
    return {
        "BilledCost": billed,
        "ChargeDescription": _description(line),
        "ConsumedQuantity": Decimal(sum(tokens)) if tokens else requests,
        "ConsumedUnit": "Tokens" if tokens else "Requests",
        "ContractedCost": contracted,
        "EffectiveCost": billed,
        "ListCost": line["list_cost_usd"] if is_listed else contracted,
        "PricingQuantity": requests,
        "PricingUnit": "Requests",
        "x_Requests": line["requests"],
        "x_RequestsWithUnknownCost": line["requests_unknown_cost"],
        "x_TokensInput": line["tokens_input"],
        "x_TokensCachedInput": line["tokens_cached_input"],
        "x_TokensCacheWrite": line["tokens_cache_write"],
        "x_TokensOutput": line["tokens_output"],
        "x_TokensReasoning": line["tokens_reasoning"],
        "x_ListCostIsKnown": is_listed and line["requests_with_list_cost"] == line["requests_with_cost"],
    }


def _correction(line: Row) -> dict[str, Any]:
    restated = line["restated_usd"]
    return {
        **dict.fromkeys(_MONEY, restated),
        "ChargeClass": "Correction",
        "ChargeDescription": f"Correction after closing: {_description(line)}",
        "x_ListCostIsKnown": False,
    }


def _description(line: Row) -> str:
    tier = "" if line["service_tier"] is None else f", tier {line['service_tier']}"
    return f"Requests to {line['model'] or 'no model'}{tier}"


def unknown_requests(bill: MonthlyBill) -> int:
    """How many requests have an unknown cost, which is 0 in the file."""
    return sum(int(row["requests_unknown_cost"]) for row in bill.rows)
