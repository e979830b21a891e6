"""A made month of traffic, and the bill of its provider in several shapes, with planted faults."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import yaml

from pipelines.warehouse.loading import load_all
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.warehouse import Warehouse
from router.catalog.catalog import Catalog
from router.catalog.prices import Usage, charges_of, tier_name
from tests.pipelines.helpers import id_at, make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from router.config import Settings
    from router.records import RequestRecord

START = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = 30
MODELS = {"gpt-5": (1.25, 10), "gpt-5-mini": (0.25, 2), "gpt-5-nano": (0.05, 0.4), "gpt-4.1": (2, 8)}
"""Dollars per million tokens of input and output. Cached input costs a tenth, and flex one half."""
Fault = Literal["missing", "price", "cached_twice", "tier", "redirect", "shifted_day"]
CAUSES: dict[Fault, str] = {
    "missing": "missing_there",
    "price": "price",
    "cached_twice": "tokens",
    "tier": "served_tier",
    "redirect": "served_model",
    "shifted_day": "day_boundary",
}
CHARGES = {"input": "input", "cached_input": "cached_input", "output": "output"}


@dataclass(frozen=True, slots=True)
class Charge:
    """One request, as a bill has it."""

    request_id: str
    moment: datetime
    model: str
    tier: str
    input: int
    """Fresh tokens."""
    cached_input: int
    output: int
    usd: dict[str, Decimal]
    """By kind."""

    @property
    def total(self) -> Decimal:
        """All of it."""
        return sum(self.usd.values(), Decimal(0))


def write_prices(home: Path, provider: str = "openai", host: str = "https://api.openai.com/v1") -> Catalog:
    """The catalog of the made models."""
    home.mkdir(parents=True, exist_ok=True)
    models = [
        {
            "id": name,
            "provider": provider,
            "prices": [
                {
                    "start": "2026-01-01",
                    "input_usd_per_mtok": given,
                    "cached_input_usd_per_mtok": given / 10,
                    "output_usd_per_mtok": out,
                    "service_tiers": {
                        "flex": {
                            "input_usd_per_mtok": given / 2,
                            "cached_input_usd_per_mtok": given / 20,
                            "output_usd_per_mtok": out / 2,
                        }
                    },
                }
            ],
        }
        for name, (given, out) in MODELS.items()
    ]
    content = {
        "providers": {provider: {"kind": "openai", "base_url": host}},
        "models": models,
        "tasks": ["math"],
    }
    (home / "catalog.yaml").write_text(yaml.safe_dump(content))
    return Catalog.load(home / "catalog.yaml")


def month(
    catalog: Catalog, rng: random.Random, *, a_day: int = 200, days: int = DAYS
) -> tuple[list[RequestRecord], list[Charge]]:
    """Our records, and a bill that agrees with each of them."""
    records, charges = [], []
    provider = next(iter(catalog.providers))
    for number in range(days):
        for _ in range(a_day):
            hour = rng.choice((3, 9, 14, 21))  # few hours, so that the lake has few files
            moment = START + timedelta(days=number, hours=hour, seconds=rng.uniform(0, 3599))
            model = rng.choices(list(MODELS), (3, 4, 2, 1))[0]
            tier = "flex" if rng.random() < 0.2 else "default"
            fresh, out = int(rng.lognormvariate(6.5, 1)), int(rng.lognormvariate(5.5, 1)) + 1
            cached = int(rng.lognormvariate(7, 1)) if rng.random() < 0.5 else 0
            usage = Usage(fresh + cached, out, cached, 0, tokens_reasoning=out // 3, service_tier=tier)
            price = catalog.models[model].price_at(moment)
            charge = charged(catalog, model, tier, fresh, cached, out, moment)
            assert price is not None
            request_id = f"req_{rng.getrandbits(64):016x}"
            records.append(
                make_record(
                    moment,
                    id=id_at(moment, rng),
                    model_selected=model,
                    model_answered=model,
                    provider=provider,
                    provider_request_id=request_id,
                    service_tier=tier,
                    tokens_input=usage.tokens_input,
                    tokens_output=out,
                    tokens_cached_input=cached,
                    tokens_cache_write=0,
                    tokens_reasoning=usage.tokens_reasoning,
                    cost_usd=sum(charge.values(), Decimal(0)),
                    price_id=price.price_id,
                )
            )
            charges.append(Charge(request_id, moment, model, tier, fresh, cached, out, charge))
    return records, charges


def charged(
    catalog: Catalog, model: str, tier: str, fresh: int, cached: int, out: int, moment: datetime
) -> dict[str, Decimal]:
    """Dollars by kind at the catalog's price."""
    usage = Usage(fresh + cached, out, cached, 0, service_tier=tier)
    found = charges_of(usage, catalog.models[model], moment)
    assert found is not None
    return {CHARGES[kind]: amount for kind, _, amount in found}


def publish(settings: Settings, records: Iterable[RequestRecord]) -> None:
    """Load the records and publish the warehouse."""
    seal_records(settings, list(records))
    with Warehouse(settings) as warehouse:
        load_all(warehouse)
        publish_warehouse(warehouse)


def faulty(
    charges: list[Charge], faults: Iterable[Fault], catalog: Catalog, rng: random.Random
) -> tuple[list[Charge], dict[str, Decimal]]:
    """The bill with faults, and the dollars that each cause should be found with."""
    truth: dict[str, Decimal] = defaultdict(Decimal)
    for fault in sorted(faults, key=list(CAUSES).index, reverse=True):
        charges = list(PLANT[fault](charges, catalog, rng, truth))
    return charges, dict(truth)


Truth = dict[str, Decimal]


def _missing(charges: list[Charge], _: Catalog, rng: random.Random, truth: Truth) -> Iterator[Charge]:
    for charge in charges:
        if rng.random() < 0.05:
            truth["missing_there"] += charge.total
        else:
            yield charge


def _price(charges: list[Charge], _: Catalog, __: random.Random, truth: Truth) -> Iterator[Charge]:
    for charge in charges:
        if charge.model != "gpt-5":
            yield charge
            continue
        more = charge.usd["output"] / 4
        truth["price"] += more
        yield replace(charge, usd={**charge.usd, "output": charge.usd["output"] + more})


def _cached_twice(
    charges: list[Charge], catalog: Catalog, __: random.Random, truth: Truth
) -> Iterator[Charge]:
    for charge in charges:
        usd = charged(
            catalog, charge.model, charge.tier, charge.input + charge.cached_input, 0, 0, charge.moment
        )
        more = usd.get("input", Decimal(0)) - charge.usd.get("input", Decimal(0))
        truth["tokens"] += more
        yield replace(
            charge,
            input=charge.input + charge.cached_input,
            usd={**charge.usd, "input": charge.usd.get("input", Decimal(0)) + more},
        )


def _tier(charges: list[Charge], catalog: Catalog, __: random.Random, truth: Truth) -> Iterator[Charge]:
    for charge in charges:
        if charge.moment.day not in (4, 5, 6) or charge.tier != "flex":
            yield charge
            continue
        usd = _charged_as(catalog, charge, charge.model, "default")
        truth["served_tier"] += charge.total + sum(usd.values())
        yield replace(charge, tier="default", usd=usd)


def _redirect(charges: list[Charge], catalog: Catalog, __: random.Random, truth: Truth) -> Iterator[Charge]:
    for charge in charges:
        if charge.moment.day not in (10, 11) or charge.model != "gpt-4.1":
            yield charge
            continue
        usd = _charged_as(catalog, charge, "gpt-5-mini", charge.tier)
        truth["served_model"] += charge.total + sum(usd.values())
        yield replace(charge, model="gpt-5-mini", usd=usd)


def _shifted_day(charges: list[Charge], _: Catalog, __: random.Random, truth: Truth) -> Iterator[Charge]:
    for charge in charges:
        if charge.moment.day == 20:
            truth["day_boundary"] += 2 * charge.total
            yield replace(charge, moment=charge.moment + timedelta(days=1))
        else:
            yield charge


def _charged_as(catalog: Catalog, charge: Charge, model: str, tier: str) -> dict[str, Decimal]:
    return charged(catalog, model, tier, charge.input, charge.cached_input, charge.output, charge.moment)


PLANT: dict[Fault, Callable[[list[Charge], Catalog, random.Random, Truth], Iterator[Charge]]] = {
    "missing": _missing,
    "price": _price,
    "cached_twice": _cached_twice,
    "tier": _tier,
    "redirect": _redirect,
    "shifted_day": _shifted_day,
}


# the shapes of a bill

KINDS = ("input", "cached_input", "output")
SKUS = {"input": "Input tokens", "cached_input": "Cached input tokens", "output": "Output tokens"}


def focus(charges: Iterable[Charge], *, with_ids: bool) -> str:
    """FOCUS as CSV: one row for each request and kind, or for each day, model, tier and kind."""
    if with_ids:
        rows = [
            [f"{item.moment:%Y-%m-%dT%H:%M:%SZ}", item.model, item.tier, kind, getattr(item, kind),
             item.usd.get(kind, Decimal(0)), item.request_id]
            for item in charges
            for kind in KINDS
        ]  # fmt: skip
    else:
        rows = [
            [f"{day}T00:00:00Z", model, tier, kind, tokens, usd, ""]
            for (day, model, tier, kind), (tokens, usd, _) in daily(charges).items()
        ]
    head = ["ChargePeriodStart", "BillingCurrency", "ChargeCategory", "x_Model", "x_ServiceTier", "SkuMeter",
            "ConsumedUnit", "ConsumedQuantity", "BilledCost", "x_ProviderRequestId"]  # fmt: skip
    return text_of(
        head,
        [[day, "USD", "Usage", model, tier, SKUS[kind], "Tokens", tokens, f"{usd:f}", request_id]
         for day, model, tier, kind, tokens, usd, request_id in rows],
    )  # fmt: skip


def openai_costs(charges: Iterable[Charge]) -> str:
    """The dashboard's CSV of costs, with tokens as quantities."""
    head = ["start_time", "end_time", "start_time_iso", "end_time_iso", "amount_value", "amount_currency",
            "quantity", "quantity_unit", "line_item", "project_id"]  # fmt: skip
    rows = []
    for (day, model, tier, kind), (tokens, usd, _) in daily(charges).items():
        start = datetime.fromisoformat(f"{day}T00:00:00+00:00")
        prefix = "" if tier_name(tier) == "" else f"{tier} | "
        item = f"{prefix}{model}, {kind.replace('_', ' ')}"
        moment = int(start.timestamp())
        rows.append(
            [moment, moment + 86_400, f"{day}T00:00:00", "", f"{usd:f}", "usd", tokens, "tokens", item, "p"]
        )
    return text_of(head, rows)


def openai_usage(charges: Iterable[Charge]) -> str:
    """A page of the admin API's usage of completions."""
    days: dict[str, list[dict[str, object]]] = defaultdict(list)
    grouped: dict[tuple[str, str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (day, model, tier, kind), (tokens, _, requests) in daily(charges).items():
        group = grouped[day, model, tier]
        group[kind] += tokens
        group["requests"] = requests
    for (day, model, tier), group in grouped.items():
        days[day].append(
            {
                "object": "organization.usage.completions.result",
                "input_tokens": group["input"] + group["cached_input"],
                "output_tokens": group["output"],
                "input_cached_tokens": group["cached_input"],
                "num_model_requests": group["requests"],
                "model": model,
                "batch": False,
                "service_tier": tier,
            }
        )
    return json.dumps({"object": "page", "data": _buckets(days), "has_more": False, "next_page": None})


def anthropic_costs(charges: Iterable[Charge]) -> str:
    """A cost report: cents by kind of token, without the number of tokens."""
    kinds = {
        "input": "uncached_input_tokens",
        "cached_input": "cache_read_input_tokens",
        "output": "output_tokens",
    }
    days: dict[str, list[dict[str, object]]] = defaultdict(list)
    for (day, model, tier, kind), (_, usd, _) in daily(charges).items():
        days[day].append(
            {
                "currency": "USD",
                "amount": f"{usd * 100:f}",
                "cost_type": "tokens",
                "model": model,
                "service_tier": tier_name(tier) or "standard",
                "token_type": kinds[kind],
            }
        )
    data = [
        {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day}T23:59:59Z", "results": results}
        for day, results in sorted(days.items())
    ]
    return json.dumps({"data": data, "has_more": False, "next_page": None})


def anthropic_usage(charges: Iterable[Charge]) -> str:
    """A usage report: tokens by kind, without amounts."""
    names = {
        "input": "uncached_input_tokens",
        "cached_input": "cache_read_input_tokens",
        "output": "output_tokens",
    }
    rows: dict[tuple[str, str, str], dict[str, object]] = {}
    for (day, model, tier, kind), (tokens, _, _) in daily(charges).items():
        row = rows.setdefault(
            (day, model, tier), {"model": model, "service_tier": tier_name(tier) or "standard"}
        )
        row[names[kind]] = tokens
    days: dict[str, list[dict[str, object]]] = defaultdict(list)
    for (day, _, _), row in rows.items():
        days[day].append(row)
    data = [
        {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day}T23:59:59Z", "results": results}
        for day, results in sorted(days.items())
    ]
    return json.dumps({"data": data, "has_more": False, "next_page": None})


def openrouter_activity(charges: Iterable[Charge]) -> str:
    """The activity by day as JSON: whole amounts, cached tokens among the prompt's."""
    rows: dict[tuple[str, str], tuple[Decimal, int, int, int]] = {}
    for item in charges:
        key = (f"{item.moment:%Y-%m-%d}", item.model)
        usd, requests, given, out = rows.get(key, (Decimal(0), 0, 0, 0))
        given += item.input + item.cached_input
        rows[key] = (usd + item.total, requests + 1, given, out + item.output)
    data = [
        {"date": day, "model": f"openai/{model}", "usage": float(usd), "byok_usage_inference": 0,
         "requests": requests, "prompt_tokens": given, "completion_tokens": out, "reasoning_tokens": 0}
        for (day, model), (usd, requests, given, out) in sorted(rows.items())
    ]  # fmt: skip
    return json.dumps({"data": data})


def openrouter_generations(charges: Iterable[Charge]) -> str:
    """The CSV of generations: one request a row."""
    head = ["generation_id", "created_at", "cost_total", "tokens_prompt", "tokens_completion",
            "tokens_reasoning", "tokens_cached", "model_permaslug", "provider_name", "cancelled"]  # fmt: skip
    return text_of(
        head,
        [[item.request_id, f"{item.moment:%Y-%m-%d %H:%M:%S.%f}"[:-3], f"{item.total:f}",
          item.input + item.cached_input, item.output, 0, item.cached_input, f"openai/{item.model}", "OpenAI",
          "false"] for item in charges],
    )  # fmt: skip


def daily(charges: Iterable[Charge]) -> dict[tuple[str, str, str, str], tuple[int, Decimal, int]]:
    """Tokens, dollars and requests by day, model, tier and kind."""
    found: dict[tuple[str, str, str, str], tuple[int, Decimal, int]] = {}
    for item in charges:
        for kind in KINDS:
            key = (f"{item.moment:%Y-%m-%d}", item.model, item.tier, kind)
            tokens, usd, requests = found.get(key, (0, Decimal(0), 0))
            found[key] = (tokens + getattr(item, kind), usd + item.usd.get(kind, Decimal(0)), requests + 1)
    return dict(sorted(found.items()))


def text_of(head: list[str], rows: list[list[object]]) -> str:
    """A CSV file."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return buffer.getvalue()


def _buckets(days: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for day, results in sorted(days.items()):
        start = int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())
        found.append(
            {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": results}
        )
    return found
