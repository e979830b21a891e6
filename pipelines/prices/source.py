"""Reads genai-prices as dated rows, from the installed package or from its project's site."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.errors import PriceSourceError
from router.catalog.price_book import ALWAYS, content_digest
from router.catalog.prices import Price, ServiceTier, Tier, Window, tier_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, PriceVariant, Provider

PER_K_REQUESTS = Decimal(1000)
FREE_SUFFIX = ":free"
"""The source's suffix for a free model. It lists such a model without prices."""
_RATES = {
    "input_usd_per_mtok": "input_mtok",
    "output_usd_per_mtok": "output_mtok",
    "cached_input_usd_per_mtok": "cache_read_mtok",
    "cache_write_usd_per_mtok": "cache_write_mtok",
    "cache_write_1h_usd_per_mtok": "cache_write_1h_mtok",
    "reasoning_usd_per_mtok": "output_reasoning_mtok",
    "audio_input_usd_per_mtok": "input_audio_mtok",
    "image_input_usd_per_mtok": "input_image_mtok",
    "video_input_usd_per_mtok": "input_video_mtok",
    "cached_audio_input_usd_per_mtok": "cache_audio_read_mtok",
    "cached_image_input_usd_per_mtok": "cache_image_read_mtok",
    "audio_output_usd_per_mtok": "output_audio_mtok",
    "image_output_usd_per_mtok": "output_image_mtok",
    "video_output_usd_per_mtok": "output_video_mtok",
}
TIER_KEYS = ("service_tier", "speed", "processing")
"""The source's conditions on a request that our service tiers express."""
_USES = {
    "request_usd": "requests_kcount",
    "web_search_usd": "web_searches_kcount",
    "file_search_usd": "storage_searches_kcount",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The prices of a source at one moment."""

    name: str
    is_online: bool
    rows: Mapping[str, tuple[Price, ...]]
    """`provider/model` to its dated rows, in order of start."""
    unpriced: tuple[str, ...] = ()
    """Models that the source lists without a price per input token."""


def bundled() -> Listing:
    """The data of the installed genai-prices."""
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    return listing_of(
        get_snapshot().providers, name=f"genai-prices {genai_prices.__version__}", is_online=False
    )


def online(url: str) -> Listing:
    """The data at `url`. PriceSourceError if it cannot be fetched or read."""
    from genai_prices import UpdatePrices

    try:
        snapshot = UpdatePrices(url=url).fetch()
        providers = [] if snapshot is None else snapshot.providers
        listing = listing_of(providers, name=url, is_online=True)
    except Exception as error:  # any error of a fetch or a foreign file: the bundled data is used instead
        raise PriceSourceError(
            f"no prices from `{url}` ({type(error).__name__}: {error}). Set PRICES_URL to a mirror, or to an"
            " empty value to use the installed genai-prices"
        ) from error
    if not listing.rows:
        raise PriceSourceError(f"`{url}` holds no prices: check PRICES_URL")
    return listing


def listing_of(providers: Iterable[Provider], *, name: str, is_online: bool) -> Listing:
    """The rows of all models of `providers`."""
    rows: dict[str, tuple[Price, ...]] = {}
    unpriced = []
    for provider in providers:
        for model in provider.models:
            ref = f"{provider.id}/{model.id}"
            converted = _dated_rows(ref, model)
            if converted:
                rows[ref] = converted
            else:
                unpriced.append(ref)
    return Listing(name=name, is_online=is_online, rows=rows, unpriced=tuple(unpriced))


def row_id(ref: str, price: Price) -> str:
    """The `price_id` of a row of the book: model, start and a digest of the rates."""
    start = price.start
    moment = "always" if start == ALWAYS else f"{start:%Y-%m-%dT%H:%M:%SZ}"
    return f"book/{ref}@{moment}#{content_digest(price)}"


def _dated_rows(ref: str, model: ModelInfo) -> tuple[Price, ...]:
    """The source's conditions as dated rows. The source applies the last condition that holds."""
    from genai_prices.types import ConditionalPrice, StartDateConstraint, TimeOfDateConstraint

    conditions: Sequence[ConditionalPrice] = (
        model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
    )
    dated: dict[datetime, Price] = {}
    standards: dict[datetime, ModelPrice] = {}
    for position, condition in enumerate(conditions):
        constraint = condition.constraint
        if position and isinstance(constraint, TimeOfDateConstraint):
            continue
        start = ALWAYS  # the first applies if no other holds, regardless of its own condition
        if position and isinstance(constraint, StartDateConstraint):
            day = constraint.start_date
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        rates = _rates(ref, condition.prices)
        if rates is None:
            continue
        windows = []
        for later in reversed(conditions[position + 1 :]):
            window_rates = _rates(ref, later.prices)
            if isinstance(later.constraint, TimeOfDateConstraint) and window_rates is not None:
                windows.append(
                    Window(
                        start_time_utc=_utc(later.constraint.start_time),
                        end_time_utc=_utc(later.constraint.end_time),
                        tiers=_tiers(later.prices),
                        **window_rates,
                    )
                )
        dated[start] = Price(
            price_id="",  # it says the content, so it comes last
            start=start,
            tiers=_tiers(condition.prices),
            windows=tuple(windows),
            service_tiers=_service_tiers(ref, model, condition.prices, start),
            **rates,
        )
        standards[start] = condition.prices
    for changed in sorted(set(_variant_starts(model)) - dated.keys()):
        before = max((start for start in standards if start < changed), default=None)
        if before is not None:
            tiers = _service_tiers(ref, model, standards[before], changed)
            dated[changed] = replace(dated[before], start=changed, service_tiers=tiers)
    return tuple(replace(dated[start], price_id=row_id(ref, dated[start])) for start in sorted(dated))


def _service_tiers(ref: str, model: ModelInfo, standard: ModelPrice, at: datetime) -> tuple[ServiceTier, ...]:
    """The rates of each service tier in force at `at`: the standard ones, with those that it replaces."""
    replaced: dict[str, dict[str, Any]] = {}
    for variant in model.price_variants or ():
        named = [name for key, name in variant.when.items() if key in TIER_KEYS]
        starts_at = _start_of(variant)
        if len(variant.when) != 1 or not named or tier_name(named[0]) == "":
            continue
        if starts_at is None or starts_at > max(at, ALWAYS):
            continue
        own = replaced.setdefault(tier_name(named[0]), {})
        for key, price in vars(variant.prices).items():
            if price is not None:
                own.setdefault(key, price)  # the source takes the first
    made = []
    for name in sorted(replaced):
        prices = copy(standard)
        vars(prices).update(replaced[name])
        if (rates := _rates(ref, prices)) is not None:
            made.append(ServiceTier(name=name, tiers=_tiers(prices), **rates))
    return tuple(made)


def _variant_starts(model: ModelInfo) -> Iterator[datetime]:
    for variant in model.price_variants or ():
        starts_at = _start_of(variant)
        if starts_at is not None and starts_at > ALWAYS:
            yield starts_at


def _start_of(variant: PriceVariant) -> datetime | None:
    """From when a variant holds. None for one that holds at some times of day, which no row expresses."""
    from genai_prices.types import StartDateConstraint

    if variant.constraint is None:
        return ALWAYS
    if isinstance(variant.constraint, StartDateConstraint):
        day = variant.constraint.start_date
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    return None


def _rates(ref: str, prices: ModelPrice, above: int | None = None) -> dict[str, Any] | None:
    """The rates of a request with more than `above` input tokens. None without an input rate."""
    if ref.endswith(FREE_SUFFIX) and not any(value is not None for value in vars(prices).values()):
        return {"input_usd_per_mtok": Decimal(0), "output_usd_per_mtok": Decimal(0)}
    rates = {ours: _amount(getattr(prices, theirs), above) for ours, theirs in _RATES.items()}
    if rates["input_usd_per_mtok"] is None:
        return None
    for ours, theirs in _USES.items():
        per_k = _amount(getattr(prices, theirs), above)
        rates[ours] = None if per_k is None else per_k / PER_K_REQUESTS
    return rates


def _tiers(prices: ModelPrice) -> tuple[Tier, ...]:
    starts = {tier.start for value in vars(prices).values() for tier in getattr(value, "tiers", ())}
    return tuple(
        Tier(above_input_tokens=start, **rates)
        for start in sorted(starts)
        if (rates := _rates("", prices, start)) is not None
    )


def _amount(value: Any, above: int | None) -> Decimal | None:
    """A plain amount, or the amount of the highest tier that starts at or below `above`."""
    if value is None or isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if above is not None and tier.start <= above]
    amount: Decimal = reached[-1] if reached else value.base
    return amount


def _utc(moment: time) -> time:
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return datetime.combine(ALWAYS.date(), zoned).astimezone(UTC).time()
