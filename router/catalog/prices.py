"""Dated prices and the cost of a usage.

A price row is valid from its start until the next row of the same model. Rows are added, never
rewritten, so that a cost computed today for a request of last month is last month's cost.

Within a row the price may depend on the size of the request (`tiers`: passing a threshold changes
the rate of every token, as providers bill it) and on the time of day (`windows`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from router.records import MONEY_SCALE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MILLION = Decimal(1_000_000)
QUANTUM = Decimal(1).scaleb(-MONEY_SCALE)
ZERO_USD = Decimal(0).quantize(QUANTUM)
MAX_REPORTED_USD = Decimal(10) ** 9
"""If a provider reports this cost or more for a request, its cost is unknown."""
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
"""Tokens times a rate have fewer digits. Made once: a `localcontext` costs more than the sums in it."""
_PER_TOKEN_DIGITS = 18
"""Worst cases count in 1e-18 dollars a token: a rate per million tokens has at most 12 decimals."""
_UNIT: int = 10 ** (_PER_TOKEN_DIGITS - MONEY_SCALE)
"""The smallest amount that is stored, in 1e-18 dollars."""

_Bound = tuple[int, int, int | None, int]
"""(threshold, dearest input rate, dearest output rate, charge per request) in 1e-18 dollars."""

LineKind = Literal[
    "input", "cached_input", "cache_write", "cache_write_1h", "audio_input", "image_input", "video_input",
    "cached_audio_input", "cached_image_input", "output", "reasoning", "audio_output", "image_output",
    "video_output", "request", "web_search", "file_search",
]  # fmt: skip
STANDARD_TIERS = frozenset({"default", "standard", "on_demand", "on-demand", "auto", ""})
"""Names of the service tier that a row's own rates are for. `auto` names no tier."""


class Usage(NamedTuple):
    """Tokens of one answer, in OpenAI's sense: input includes cached, output includes reasoning.

    A tuple, because a frozen dataclass of so many fields takes 9 µs to make. Name its fields.
    """

    tokens_input: int | None = None
    tokens_output: int | None = None
    tokens_cached_input: int | None = None
    tokens_cache_write: int | None = None
    """Input written to the provider's cache, for however long."""
    tokens_cache_write_1h: int | None = None
    """The part of `tokens_cache_write` that is kept for an hour, which costs more."""
    tokens_reasoning: int | None = None
    tokens_audio_input: int | None = None
    """The parts of input and output that are no text, and cost more where a price says so."""
    tokens_image_input: int | None = None
    tokens_video_input: int | None = None
    tokens_cached_audio_input: int | None = None
    tokens_cached_image_input: int | None = None
    tokens_audio_output: int | None = None
    tokens_image_output: int | None = None
    tokens_video_output: int | None = None
    web_searches: int | None = None
    """Uses that are charged each. None: none was reported."""
    file_searches: int | None = None
    service_tier: str | None = None
    """The tier that served the request. None: the standard one, or not stated."""
    unpriced: tuple[str, ...] = ()
    """Charges of the answer that no price covers. The cost is then unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """US dollars per million tokens."""

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal | None
    """None: unknown (embedding models have none). An answer with output then has no cost."""
    cached_input_usd_per_mtok: Decimal | None = None
    """None: cached tokens cost the same as other input."""
    cache_write_usd_per_mtok: Decimal | None = None
    """None: writing to the cache costs the same as other input."""
    cache_write_1h_usd_per_mtok: Decimal | None = None
    """None: unknown where cache writes have a rate of their own, else the same as other input."""
    reasoning_usd_per_mtok: Decimal | None = None
    """None: reasoning tokens cost the same as other output."""
    audio_input_usd_per_mtok: Decimal | None = None
    """None: unknown, as for every rate of sound, images and videos below."""
    image_input_usd_per_mtok: Decimal | None = None
    video_input_usd_per_mtok: Decimal | None = None
    cached_audio_input_usd_per_mtok: Decimal | None = None
    cached_image_input_usd_per_mtok: Decimal | None = None
    audio_output_usd_per_mtok: Decimal | None = None
    image_output_usd_per_mtok: Decimal | None = None
    video_output_usd_per_mtok: Decimal | None = None
    request_usd: Decimal | None = None
    """A charge for each request, independent of its size. None: there is none."""
    web_search_usd: Decimal | None = None
    """A charge for each web search of the provider. None: unknown."""
    file_search_usd: Decimal | None = None
    """A charge for each search in files at the provider. None: unknown."""

    @property
    def cached_input(self) -> Decimal:
        """The rate of a cached token, per million."""
        return _first(self.cached_input_usd_per_mtok, self.input_usd_per_mtok)

    @property
    def cache_write(self) -> Decimal:
        """The rate of a token written to the cache, per million."""
        return _first(self.cache_write_usd_per_mtok, self.input_usd_per_mtok)

    @property
    def cache_write_1h(self) -> Decimal:
        """The rate of a token written to the cache for an hour, per million."""
        return _first(self.cache_write_1h_usd_per_mtok, self.cache_write)

    @property
    def reasoning(self) -> Decimal | None:
        """The rate of a reasoning token, per million. None: unknown."""
        return (
            self.output_usd_per_mtok if self.reasoning_usd_per_mtok is None else self.reasoning_usd_per_mtok
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier(Rates):
    """The rates of every token of a request if its whole input is larger than the threshold."""

    above_input_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Rates):
    """The rates from `start_time_utc` until before `end_time_utc` daily, past midnight if need be."""

    start_time_utc: time
    end_time_utc: time
    tiers: tuple[Tier, ...] = ()

    def covers(self, moment: time) -> bool:
        """Whether the window is open at a time of day, in UTC."""
        if self.end_time_utc < self.start_time_utc:
            return moment >= self.start_time_utc or moment < self.end_time_utc
        return self.start_time_utc <= moment < self.end_time_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTier(Rates):
    """The rates of a request that was served in this tier (`flex`, `priority`), at any time of day."""

    name: str
    tiers: tuple[Tier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Rates):
    """One dated row: its own rates, unless a service tier, a window or a tier of it applies."""

    price_id: str
    start: datetime
    tiers: tuple[Tier, ...] = ()
    """The tiers, in order of threshold."""
    windows: tuple[Window, ...] = ()
    """The first window that is open applies."""
    service_tiers: tuple[ServiceTier, ...] = ()
    _bounds: Mapping[str, tuple[_Bound, ...]] = field(init=False, repr=False, compare=False)
    """By the tier that a request asks for. A request that asks for one may also be served in the standard."""

    def __post_init__(self) -> None:
        standard = _bounds_of(self, *self.windows)
        bounds = {tier.name: (*standard, *_bounds_of(tier)) for tier in self.service_tiers}
        object.__setattr__(self, "_bounds", {"": standard, **bounds})

    def price_at(self, at: datetime) -> Price:  # noqa: ARG002 - a row holds whenever it is named
        """See Priced."""
        return self

    def rates_at(self, at: datetime, tokens_input: int, service_tier: str | None = None) -> Rates | None:
        """The rates of a request of this size at this moment. None if its service tier has none here."""
        holder: Price | Window | ServiceTier = self
        name = tier_name(service_tier)
        if name:
            named = [tier for tier in self.service_tiers if tier.name == name]
            if not named:
                return None
            holder = named[0]
        elif self.windows:
            moment = at.astimezone(UTC).time()
            holder = next((window for window in self.windows if window.covers(moment)), self)
        for tier in reversed(holder.tiers):
            if tokens_input > tier.above_input_tokens:
                return tier
        return holder

    def worst_case_picousd(
        self, input_tokens: int, max_output_tokens: int, service_tier: str | None = None
    ) -> int | None:
        """The most a request can cost, in 1e-12 dollars, rounded up. None when unknown.

        `service_tier` is the one that it asks for.

        The dearest of all windows and of the tiers that `input_tokens` can reach, every input token
        at the dearest input rate and every output token at the dearest output rate.
        """
        worst = 0
        bounds = self._bounds.get(tier_name(service_tier))
        if bounds is None:
            return None
        for above, per_input, per_output, per_request in bounds:
            if input_tokens > above or above == 0:
                if per_output is None:
                    if max_output_tokens > 0:
                        return None
                    per_output = 0
                worst = max(worst, per_input * input_tokens + per_output * max_output_tokens + per_request)
        return -(-worst // _UNIT)


class Priced(Protocol):
    """A thing with a price: a model of the catalog, or a price row itself."""

    def price_at(self, at: datetime) -> Price | None:
        """The row in force at `at`. None when none is known."""


def price_at(prices: Sequence[Price], at: datetime) -> Price | None:
    """The row in force at `at`, of `prices` in order of `start`. None before the first."""
    for price in reversed(prices):
        if price.start <= at:
            return price
    return None


def cost(usage: Usage, priced: Priced | None, at: datetime) -> Decimal | None:
    """Exact dollars of `usage` at the price of `at`, to 12 decimals. None when unknown.

    The sum of `charges_of`, each of which is rounded once.
    """
    charges = charges_of(usage, priced, at)
    return None if charges is None else sum([amount for _, _, amount in charges], ZERO_USD)


def charges_of(
    usage: Usage, priced: Priced | None, at: datetime
) -> list[tuple[LineKind, int, Decimal]] | None:
    """The bill of `usage`: (kind, quantity, amount) of each rate that applies.

    Each amount is rounded half-even once at 12 decimals. Tokens without a rate of their own are on
    the line of the whole they are part of. None when the price, or the number of input or output
    tokens, is unknown. Also None when the parts exceed the whole, since the provider's figures then
    contradict each other.
    """
    price = None if priced is None else priced.price_at(at)
    if price is None or usage.tokens_input is None or usage.tokens_output is None:
        return None
    rates = price.rates_at(at, usage.tokens_input, usage.service_tier)
    if rates is None or usage.unpriced:
        return None
    if usage.tokens_cache_write_1h and _lacks_hour(rates):
        return None  # an hour costs more than five minutes
    cached = usage.tokens_cached_input or 0
    written = usage.tokens_cache_write or 0
    written_1h = usage.tokens_cache_write_1h or 0
    reasoning = usage.tokens_reasoning or 0
    plain, answered = usage.tokens_input - cached - written, usage.tokens_output - reasoning
    lines: tuple[tuple[LineKind, int, Decimal | None], ...] = ()
    if _has_media(usage):
        fresh, kept, spoken = _media(usage, rates)
        lines = (*fresh, *kept, *spoken)
        plain -= sum(count for _, count, _ in fresh)
        cached -= sum(count for _, count, _ in kept)
        answered -= sum(count for _, count, _ in spoken)
    if plain < 0 or cached < 0 or answered < 0 or written < written_1h:
        return None
    charges: list[tuple[LineKind, int, Decimal]] = []
    texts = _quantities(rates, plain, cached, written, written_1h, answered, reasoning)
    for kind, quantity, rate in (*texts, *lines) if lines else texts:
        if quantity == 0:
            continue
        if rate is None or quantity < 0:
            return None
        amount = _EXACT.divide(_EXACT.multiply(rate, quantity), MILLION)
        charges.append((kind, quantity, _EXACT.quantize(amount, QUANTUM)))
    if rates.request_usd:
        charges.append(("request", 1, _EXACT.quantize(rates.request_usd, QUANTUM)))
    if usage.web_searches or usage.file_searches:
        uses: tuple[tuple[LineKind, int | None, Decimal | None], ...] = (
            ("web_search", usage.web_searches, rates.web_search_usd),
            ("file_search", usage.file_searches, rates.file_search_usd),
        )
        for kind, count, each in uses:
            if count:
                if each is None:
                    return None
                charges.append((kind, count, _EXACT.quantize(_EXACT.multiply(each, count), QUANTUM)))
    return charges


def tier_name(service_tier: str | None) -> str:
    """The name of a service tier as prices write it; empty for the standard one."""
    name = (service_tier or "").strip().lower()
    return "" if name in STANDARD_TIERS else name


def _has_media(usage: Usage) -> bool:
    return bool(
        usage.tokens_audio_input
        or usage.tokens_image_input
        or usage.tokens_video_input
        or usage.tokens_audio_output
        or usage.tokens_image_output
        or usage.tokens_video_output
    )


def _lacks_hour(rates: Rates) -> bool:
    return rates.cache_write_1h_usd_per_mtok is None and rates.cache_write_usd_per_mtok is not None


_Line = tuple[LineKind, int, Decimal | None]


def _media(usage: Usage, rates: Rates) -> tuple[tuple[_Line, ...], tuple[_Line, ...], tuple[_Line, ...]]:
    """The lines of sound, images and videos: of the fresh input, of the cached input, of the output."""
    kept_audio, kept_image = usage.tokens_cached_audio_input or 0, usage.tokens_cached_image_input or 0
    # Without a count of cached sound, none of the cached tokens is taken for it: sound costs more.
    fresh: tuple[_Line, ...] = (
        ("audio_input", (usage.tokens_audio_input or 0) - kept_audio, rates.audio_input_usd_per_mtok),
        ("image_input", (usage.tokens_image_input or 0) - kept_image, rates.image_input_usd_per_mtok),
        ("video_input", usage.tokens_video_input or 0, rates.video_input_usd_per_mtok),
    )
    kept: tuple[_Line, ...] = (
        ("cached_audio_input", kept_audio, rates.cached_audio_input_usd_per_mtok),
        ("cached_image_input", kept_image, rates.cached_image_input_usd_per_mtok),
    )
    spoken: tuple[_Line, ...] = (
        ("audio_output", usage.tokens_audio_output or 0, rates.audio_output_usd_per_mtok),
        ("image_output", usage.tokens_image_output or 0, rates.image_output_usd_per_mtok),
        ("video_output", usage.tokens_video_output or 0, rates.video_output_usd_per_mtok),
    )
    return fresh, kept, spoken


def money(value: object) -> Decimal | None:
    """An amount reported by a provider, to 12 decimals. None when the amount is not plausible."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(str(value))
        if not amount.is_finite() or not 0 <= amount < MAX_REPORTED_USD:
            return None
        with localcontext(prec=60):
            return amount.quantize(QUANTUM, ROUND_HALF_EVEN)
    except ArithmeticError:
        return None


def _quantities(
    rates: Rates, plain: int, cached: int, written: int, written_1h: int, answered: int, reasoning: int
) -> tuple[tuple[LineKind, int, Decimal | None], ...]:
    """(kind, tokens, rate) of each line. Tokens without a rate of their own count with their whole."""
    written -= written_1h
    if rates.cache_write_1h_usd_per_mtok is None:
        written, written_1h = written + written_1h, 0
    if rates.cache_write_usd_per_mtok is None:
        plain, written = plain + written, 0
    if rates.cached_input_usd_per_mtok is None:
        plain, cached = plain + cached, 0
    if rates.reasoning_usd_per_mtok is None:
        answered, reasoning = answered + reasoning, 0
    return (
        ("input", plain, rates.input_usd_per_mtok),
        ("cached_input", cached, rates.cached_input_usd_per_mtok),
        ("cache_write", written, rates.cache_write_usd_per_mtok),
        ("cache_write_1h", written_1h, rates.cache_write_1h_usd_per_mtok),
        ("output", answered, rates.output_usd_per_mtok),
        ("reasoning", reasoning, rates.reasoning_usd_per_mtok),
    )


def _first(stated: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if stated is None else stated


def _bounds_of(*holders: Price | Window | ServiceTier) -> tuple[_Bound, ...]:
    bounds = [_bound(0, holder) for holder in holders]
    bounds += [_bound(tier.above_input_tokens, tier) for holder in holders for tier in holder.tiers]
    return tuple(bounds)


def _bound(above_input_tokens: int, rates: Rates) -> _Bound:
    inputs = (
        rates.input_usd_per_mtok, rates.cached_input, rates.cache_write, rates.cache_write_1h,
        rates.audio_input_usd_per_mtok, rates.image_input_usd_per_mtok, rates.video_input_usd_per_mtok,
        rates.cached_audio_input_usd_per_mtok, rates.cached_image_input_usd_per_mtok,
    )  # fmt: skip
    dearest_input = max(rate for rate in inputs if rate is not None)
    spoken = (
        rates.output_usd_per_mtok, rates.reasoning, rates.audio_output_usd_per_mtok,
        rates.image_output_usd_per_mtok, rates.video_output_usd_per_mtok,
    )  # fmt: skip
    outputs = [rate for rate in spoken if rate is not None]
    per_input = _scaled(dearest_input / MILLION)
    per_output = None if rates.output_usd_per_mtok is None else _scaled(max(outputs) / MILLION)
    # A bill rounds each of its lines, at most half a unit up: nine of input, five of output, one for
    # the request. Rates on the grid of a stored amount round nowhere.
    per_request = _scaled(rates.request_usd or Decimal(0))
    lines = ((per_input, 9), (per_output or 0, 5), (per_request, 1))
    return (
        above_input_tokens,
        per_input,
        per_output,
        per_request + sum(count * (_UNIT // 2) for rate, count in lines if rate % _UNIT),
    )


def _scaled(amount: Decimal) -> int:
    with localcontext(prec=60):
        return int(amount.scaleb(_PER_TOKEN_DIGITS).to_integral_value(ROUND_CEILING))
