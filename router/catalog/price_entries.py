"""Prices as people write them in catalog.yaml.

prices:
  - start: 2026-01-01
    input_usd_per_mtok: 1.25
    output_usd_per_mtok: 10
    cached_input_usd_per_mtok: 0.125
    tiers: # above the threshold every token of the request costs this
      - {above_input_tokens: 200000, input_usd_per_mtok: 2.5, output_usd_per_mtok: 15}
    service_tiers: # of the answer; without its row the cost of such an answer is unknown
      flex: {input_usd_per_mtok: 0.625, output_usd_per_mtok: 5}
    windows: # daily, in UTC
      - {start_time_utc: "16:30", end_time_utc: "00:30", input_usd_per_mtok: 0.6, output_usd_per_mtok: 5}
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import combinations
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from router.catalog.price_book import content_digest
from router.catalog.prices import STANDARD_TIERS, Price, Rates, ServiceTier, Tier, Window
from router.documents import Entry

Money = Annotated[Decimal, Field(ge=0, max_digits=24, decimal_places=12)]
ServiceTierName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.+-]{0,40}$")]
_MINUTES_A_DAY = 24 * 60


class RatesEntry(Entry):
    """Dollars per million tokens. For a rate that is left out, see `router.catalog.prices.Rates`."""

    input_usd_per_mtok: Money
    """Input tokens, and each kind of them without a rate of its own."""
    output_usd_per_mtok: Money | None = None
    """Left out of models that embed, which have no output. Every other model needs it."""
    cached_input_usd_per_mtok: Money | None = None
    """Input tokens that the provider read from its cache."""
    cache_write_usd_per_mtok: Money | None = None
    """Input tokens that it wrote into its cache."""
    cache_write_1h_usd_per_mtok: Money | None = None
    """Input tokens that it wrote into its cache for an hour."""
    reasoning_usd_per_mtok: Money | None = None
    """Output tokens of hidden thoughts."""
    audio_input_usd_per_mtok: Money | None = None
    """Input tokens of audio."""
    image_input_usd_per_mtok: Money | None = None
    """Input tokens of images."""
    video_input_usd_per_mtok: Money | None = None
    """Input tokens of video."""
    cached_audio_input_usd_per_mtok: Money | None = None
    """Cached input tokens of audio."""
    cached_image_input_usd_per_mtok: Money | None = None
    """Cached input tokens of images."""
    audio_output_usd_per_mtok: Money | None = None
    """Output tokens of audio."""
    image_output_usd_per_mtok: Money | None = None
    """Output tokens of images."""
    video_output_usd_per_mtok: Money | None = None
    """Output tokens of video."""
    request_usd: Money | None = None
    """Dollars for each request."""
    web_search_usd: Money | None = None
    """Dollars for each search in the web."""
    file_search_usd: Money | None = None
    """Dollars for each search in files."""

    def rates(self) -> dict[str, Decimal | None]:
        """The fields of `router.prices.Rates`."""
        return {name: getattr(self, name) for name in Rates.__dataclass_fields__}

    @property
    def has_output(self) -> bool:
        """Whether output has a price."""
        return self.output_usd_per_mtok is not None

    @property
    def has_zero(self) -> bool:
        """Whether input or output costs nothing."""
        return self.input_usd_per_mtok == 0 or self.output_usd_per_mtok == 0


class TierEntry(RatesEntry):
    """The rates of every token once the request's input is larger than the threshold."""

    above_input_tokens: Annotated[int, Field(gt=0)]
    """They hold for requests with more input tokens than this."""

    def to_tier(self) -> Tier:
        """For the request path."""
        return Tier(above_input_tokens=self.above_input_tokens, **self.rates())  # type: ignore[arg-type]


class _TieredEntry(RatesEntry):
    """Rates that can depend on the length of the input."""

    tiers: tuple[TierEntry, ...] = ()
    """Rates of long requests."""

    @field_validator("tiers")
    @classmethod
    def _in_order(cls, value: tuple[TierEntry, ...]) -> tuple[TierEntry, ...]:
        starts = [tier.above_input_tokens for tier in value]
        if len(set(starts)) != len(starts):
            raise ValueError("two tiers start above the same number of input tokens: keep one of them")
        return tuple(sorted(value, key=lambda tier: tier.above_input_tokens))


class WindowEntry(_TieredEntry):
    """The rates at a time of day."""

    start_time_utc: time
    """First moment of the day, as `HH:MM`."""
    end_time_utc: time
    """First moment after it. It may lie on the next day."""

    @field_validator("start_time_utc", "end_time_utc", mode="before")
    @classmethod
    def _time_of_day(cls, value: Any) -> Any:
        # YAML 1.1 reads an unquoted 16:30 as the number 990 (sixteen sixties and thirty).
        if isinstance(value, int) and not isinstance(value, bool):
            seconds = value * 60 if value < _MINUTES_A_DAY else value
            if not 0 <= seconds < _MINUTES_A_DAY * 60:
                raise ValueError('write a time of day as "HH:MM"')
            return time(seconds // 3600, seconds // 60 % 60, seconds % 60)
        return value

    @model_validator(mode="after")
    def _is_a_span(self) -> WindowEntry:
        if self.start_time_utc.tzinfo is not None or self.end_time_utc.tzinfo is not None:
            raise ValueError("the times of a window are UTC already: leave the offset out")
        if self.start_time_utc == self.end_time_utc:
            raise ValueError("a window ends when it starts: give two times of day")
        return self

    def to_window(self) -> Window:
        """For the request path."""
        return Window(
            start_time_utc=self.start_time_utc,
            end_time_utc=self.end_time_utc,
            tiers=tuple(tier.to_tier() for tier in self.tiers),
            **self.rates(),  # type: ignore[arg-type]
        )


class ServiceTierEntry(_TieredEntry):
    """The rates of requests that the provider served in one of its service tiers."""

    def to_service_tier(self, name: str) -> ServiceTier:
        """For the request path."""
        tiers = tuple(tier.to_tier() for tier in self.tiers)
        return ServiceTier(name=name, tiers=tiers, **self.rates())  # type: ignore[arg-type]


class PriceEntry(_TieredEntry):
    """One dated price row."""

    start: datetime
    """A moment with its offset, or a date: midnight UTC."""
    is_free: bool = False
    """Whether a price of 0 in this row is meant. Elsewhere a 0 is refused: it bills nothing, silently."""
    windows: tuple[WindowEntry, ...] = ()
    """Rates at times of the day."""
    service_tiers: dict[ServiceTierName, ServiceTierEntry] = Field(default_factory=dict)
    """By the name that the provider's answer gives: `flex`, `priority`."""

    @field_validator("start", mode="before")
    @classmethod
    def _moment(cls, value: Any) -> Any:
        if isinstance(value, str) and len(value.strip()) == 10:
            value = date.fromisoformat(value.strip())
        if isinstance(value, date) and not isinstance(value, datetime):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        return value

    @field_validator("start")
    @classmethod
    def _has_zone(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError(
                "the moment names no time zone: write `2026-01-01T00:00:00Z`, an offset, or only a date"
            )
        return value.astimezone(UTC)

    @field_validator("windows")
    @classmethod
    def _apart(cls, value: tuple[WindowEntry, ...]) -> tuple[WindowEntry, ...]:
        for one, other in combinations(value, 2):
            if _overlap(one.to_window(), other.to_window()):
                raise ValueError(
                    f"the windows `{one.start_time_utc:%H:%M}-{one.end_time_utc:%H:%M}` and"
                    f" `{other.start_time_utc:%H:%M}-{other.end_time_utc:%H:%M}` overlap:"
                    " a moment has one price"
                )
        return value

    @property
    def parts(self) -> tuple[RatesEntry, ...]:
        """Everything in the row that has rates of its own."""
        named = (*self.windows, *self.service_tiers.values())
        return (self, *self.tiers, *named, *(tier for item in named for tier in item.tiers))

    @field_validator("service_tiers")
    @classmethod
    def _not_standard(cls, value: dict[str, ServiceTierEntry]) -> dict[str, ServiceTierEntry]:
        for name in value:
            if name in STANDARD_TIERS:
                raise ValueError(f"the rates of the tier `{name}` are those of the row itself: remove it")
        return value

    @model_validator(mode="after")
    def _zero_is_meant(self) -> PriceEntry:
        has_zero = any(part.has_zero for part in self.parts)
        if has_zero and not self.is_free:
            raise ValueError(
                "a price of 0 bills nothing: add `is_free: true` if the model is free, or leave the"
                " prices out if you do not know them"
            )
        if self.is_free and not has_zero:
            raise ValueError("`is_free: true` contradicts prices that are not 0: remove one of them")
        return self

    def to_price(self, model_id: str) -> Price:
        """For the request path. The id names the content, so an edited row is a new row."""
        price = Price(
            price_id="",
            start=self.start,
            tiers=tuple(tier.to_tier() for tier in self.tiers),
            windows=tuple(window.to_window() for window in self.windows),
            service_tiers=tuple(
                self.service_tiers[name].to_service_tier(name) for name in sorted(self.service_tiers)
            ),
            **self.rates(),  # type: ignore[arg-type]
        )
        return replace(price, price_id=f"{model_id}@{self.start:%Y-%m-%dT%H:%M:%SZ}#{content_digest(price)}")


def _overlap(one: Window, other: Window) -> bool:
    return one.covers(other.start_time_utc) or other.covers(one.start_time_utc)
