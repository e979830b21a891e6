"""Finds implausible prices, which wait for a person.

The limits come from ten versions of a public price registry and its real faults: dollars per million
in place of dollars per token, zeros, swapped columns, a moved decimal point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pipelines.prices.source import FREE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from router.catalog.prices import Price, Rates

MAX_USD_PER_MTOK = Decimal(1000)
"""The dearest model ever listed costs 600 $ per million output tokens."""
MIN_USD_PER_MTOK = Decimal("0.0001")
"""A lower price is probably per token, not per million: the cheapest model costs 0.005 $."""
MAX_USD_PER_REQUEST = Decimal(10)
_VARIANT = re.compile(
    r"(?:[-@](?:preview|latest|exp|experimental|beta|\d{3}|\d{4}|\d{6}|\d{8}|\d{2}-\d{4}|\d{2}-\d{2}"
    r"|\d{4}-\d{2}-\d{2}))+$"
)
"""The suffix of a dated or preview variant of a model."""

FindingKind = Literal["moved", "zero", "swapped", "absurd", "unlike_its_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason to ask a person."""

    kind: FindingKind
    detail: str
    """With the figures, in dollars per million tokens."""


def findings(
    ref: str,
    price: Price,
    *,
    standing: Price | None,
    listed: Mapping[str, Price],
    max_factor: float,
) -> tuple[Finding, ...]:
    """The reasons why a person must accept `price` of `ref`. Empty if it is plausible.

    `standing` is the price it would replace. `listed` is every model's price at the same moment.
    """
    found: dict[FindingKind, Finding] = {}
    named = [*_own(ref, price), *_moves(price, standing, max_factor)]
    if standing is None and _is_current(price, listed.get(ref)):
        named += _unlike(ref, price, listed, max_factor)
    for finding in named:
        found.setdefault(finding.kind, finding)
    return tuple(found.values())


def _is_current(price: Price, current: Price | None) -> bool:
    """Whether the row has today's main rates. Later rows may differ in a service tier only."""
    return current is not None and (price.input_usd_per_mtok, price.output_usd_per_mtok) == (
        current.input_usd_per_mtok,
        current.output_usd_per_mtok,
    )


def base_of(ref: str) -> str:
    """The model that `ref` is a dated or preview variant of. Otherwise `ref` itself."""
    return _VARIANT.sub("", ref)


def _own(ref: str, price: Price) -> Iterator[Finding]:
    """The findings that need no other price."""
    for where, rates in _parts(price):
        given, written = rates.input_usd_per_mtok, rates.output_usd_per_mtok
        if not ref.endswith(FREE_SUFFIX) and (given == 0 or written == 0):
            yield Finding(kind="zero", detail=f"{where}input {given:f}, output {_text(written)}")
        if written is not None and 0 < written < given:
            yield Finding(kind="swapped", detail=f"{where}output {written:f} is cheaper than input {given:f}")
        for name, rate in _rates(rates):
            if rate > MAX_USD_PER_MTOK or 0 < rate < MIN_USD_PER_MTOK:
                yield Finding(kind="absurd", detail=f"{where}{name} {rate:f} a million tokens")
        if rates.request_usd is not None and rates.request_usd > MAX_USD_PER_REQUEST:
            yield Finding(kind="absurd", detail=f"{where}{rates.request_usd:f} a request")


def _moves(price: Price, standing: Price | None, max_factor: float) -> Iterator[Finding]:
    if standing is None:
        return
    # A rate that is stated for the first time has not moved. A rate that is no longer stated may have.
    before = {(where, name): rate for where, rates in _parts(standing) for name, rate in _stated(rates)}
    for where, rates in _parts(price):
        for name, rate in _rates(rates):
            old = before.get((where, name))
            if old is not None and _is_apart(old, rate, max_factor):
                yield Finding(kind="moved", detail=f"{where}{name} from {old:f} to {rate:f}")


def _unlike(ref: str, price: Price, listed: Mapping[str, Price], max_factor: float) -> Iterator[Finding]:
    """Compare a new variant with its model. No other check finds a wrong first price."""
    base = base_of(ref)
    model = listed.get(base) if base != ref else None
    if model is None:
        return
    for name in ("input", "output"):
        rate, its = (getattr(item, f"{name}_usd_per_mtok") for item in (price, model))
        if rate is not None and its is not None and _is_apart(its, rate, max_factor):
            yield Finding(kind="unlike_its_model", detail=f"{name} {rate:f}, and {its:f} for `{base}`")


def _is_apart(one: Decimal, other: Decimal, max_factor: float) -> bool:
    if one == other:
        return False
    low, high = sorted((one, other))
    return high > low * Decimal(str(max_factor))


def _parts(price: Price) -> Iterator[tuple[str, Rates]]:
    """The rates of a row, each with the range that it applies to."""
    yield "", price
    for tier in price.tiers:
        yield f"above {tier.above_input_tokens}: ", tier
    for window in price.windows:
        where = f"from {window.start_time_utc:%H:%M} UTC: "
        yield where, window
        for tier in window.tiers:
            yield f"{where}above {tier.above_input_tokens}: ", tier
    for served in price.service_tiers:
        where = f"tier {served.name}: "
        yield where, served
        for tier in served.tiers:
            yield f"{where}above {tier.above_input_tokens}: ", tier


def _rates(rates: Rates) -> Iterator[tuple[str, Decimal]]:
    """The effective rate of each kind of token, where it is known."""
    for name in ("input", "output", "cached_input", "cache_write", "cache_write_1h", "reasoning"):
        attribute = f"{name}_usd_per_mtok" if name in ("input", "output") else name
        rate = getattr(rates, attribute)
        if rate is not None:
            yield name, rate


def _stated(rates: Rates) -> Iterator[tuple[str, Decimal]]:
    """The rates that the row states, without those that follow from other rates."""
    for name, rate in _rates(rates):
        if getattr(rates, f"{name}_usd_per_mtok") is not None:
            yield name, rate


def _text(rate: Decimal | None) -> str:
    return "not known" if rate is None else f"{rate:f}"
