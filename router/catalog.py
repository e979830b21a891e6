"""The catalog: providers, models, dated prices and task types, from `catalog.yaml`.

    providers:
      openai: {kind: openai, base_url: https://api.openai.com/v1, api_key_env: OPENAI_API_KEY}
    models:
      - id: gpt-4o-mini
        provider: openai
        context_window: 128000
        capabilities: [tools, json, vision]
        prices:
          - {start: 2024-07-18, input_usd_per_mtok: 0.15, output_usd_per_mtok: 0.60}

Base URLs and the names of key variables come from this file only, never from a request.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from router.errors import ConfigError
from router.prices import Price, price_at

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

DEFAULT_TASKS = (
    "chat",
    "classification",
    "code",
    "extraction",
    "math",
    "reasoning",
    "retrieval",
    "summarisation",
    "tool-use",
    "translation",
    "writing",
)

# Printable ASCII, since names travel in HTTP headers; no backtick (messages quote with it), no `*`
# (it stands for all tasks).
Name = Annotated[str, Field(max_length=200, pattern=r"^[!-)+-_a-~]+$")]
ParsedFile = TypeVar("ParsedFile", bound=BaseModel)
Money = Annotated[Decimal, Field(ge=0, max_digits=24, decimal_places=12)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProviderEntry(_Entry):
    """How to reach one provider."""

    kind: Literal["openai"]
    base_url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
    """Up to and including the version: `/chat/completions` is appended."""
    api_key_env: str | None = None
    """Environment variable that holds the key; None for a provider that needs none."""


class PriceEntry(_Entry):
    """One dated price row."""

    start: datetime
    input_usd_per_mtok: Money
    output_usd_per_mtok: Money
    cached_input_usd_per_mtok: Money | None = None
    cache_write_usd_per_mtok: Money | None = None

    @field_validator("start", mode="before")
    @classmethod
    def _moment(cls, value: Any) -> Any:
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, datetime) and value.tzinfo is None:
            value = value.replace(tzinfo=UTC)
        return value


class ModelEntry(_Entry):
    """One model that requests may be routed to."""

    id: Name
    provider: str
    provider_model: str | None = None
    """The model's name at the provider; None: the same as `id`."""
    context_window: Annotated[int, Field(gt=0)] | None = None
    capabilities: tuple[str, ...] | None = None
    """None: not known, so no request is refused for lack of one."""
    regions: tuple[str, ...] | None = None
    data_policy: tuple[str, ...] | None = None
    availability_status: Literal["available", "degraded", "unavailable"] = "available"
    quality_prior: Annotated[float, Field(ge=0, le=1)] | None = None
    """Expected quality before any feedback."""
    cost_source: Literal["prices", "provider"] = "prices"
    """`provider`: the answer's own `usage.cost` is the cost (OpenRouter and the like)."""
    prices: tuple[PriceEntry, ...] = ()

    @field_validator("prices")
    @classmethod
    def _ordered(cls, value: tuple[PriceEntry, ...]) -> tuple[PriceEntry, ...]:
        starts = [price.start for price in value]
        if len(set(starts)) != len(starts):
            raise ValueError(
                "two prices start at the same moment; a price change adds a row with its own start"
            )
        return tuple(sorted(value, key=lambda price: price.start))


class CatalogFile(_Entry):
    """The whole of `catalog.yaml`."""

    providers: dict[Name, ProviderEntry]
    models: tuple[ModelEntry, ...]
    tasks: tuple[Name, ...] = DEFAULT_TASKS

    @model_validator(mode="after")
    def _consistent(self) -> CatalogFile:
        seen: set[str] = set()
        for model in self.models:
            if model.provider not in self.providers:
                raise ValueError(f"model `{model.id}` names the unknown provider `{model.provider}`")
            if model.id in seen or model.id == "auto":
                raise ValueError(f"model id `{model.id}` is taken; ids are unique and `auto` is the router's")
            seen.add(model.id)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model ready for the request path."""

    id: str
    provider: str
    provider_model: str
    context_window: int | None
    capabilities: frozenset[str] | None
    regions: frozenset[str] | None
    data_policy: frozenset[str] | None
    availability_status: str
    quality_prior: float | None
    cost_source: Literal["prices", "provider"]
    prices: tuple[Price, ...]

    def price_at(self, at: datetime) -> Price | None:
        """The price row in force at `at`; None when none is known."""
        return price_at(self.prices, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """An immutable view of `catalog.yaml`."""

    providers: Mapping[str, ProviderEntry]
    models: Mapping[str, Model]
    tasks: frozenset[str]
    digest: str
    """SHA-256 of the file's bytes."""

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """Read and check `catalog.yaml`; ConfigError says what is wrong where."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ConfigError(
                f"no catalog at `{path}`: run `intellirouter init` to write an example,"
                " or set INTELLIROUTER_HOME to the folder that holds one"
            ) from None
        entry = parse_yaml(content, CatalogFile, path)
        return cls(
            providers=entry.providers,
            models={model.id: _model(model) for model in entry.models},
            tasks=frozenset(entry.tasks),
            digest=hashlib.sha256(content).hexdigest(),
        )


def parse_yaml(content: bytes, kind: type[ParsedFile], path: Path) -> ParsedFile:
    """Validate a YAML file's content; ConfigError names the file, the place and the value."""
    import yaml

    try:
        return kind.model_validate(yaml.safe_load(content) or {})
    except yaml.YAMLError as error:
        raise ConfigError(f"`{path}` is not valid YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
            + (f" (got `{problem['input']}`)" if _may_be_shown(problem) else "")
            for problem in error.errors(include_url=False)
        )
        raise ConfigError(f"`{path}` is not usable: {problems}") from error


def _may_be_shown(problem: ErrorDetails) -> bool:
    """A value helps to mend the file; a URL may hold a key."""
    return isinstance(problem["input"], str | int | float) and problem["loc"][-1:] != ("base_url",)


def _model(entry: ModelEntry) -> Model:
    return Model(
        id=entry.id,
        provider=entry.provider,
        provider_model=entry.provider_model or entry.id,
        context_window=entry.context_window,
        capabilities=None if entry.capabilities is None else frozenset(entry.capabilities),
        regions=None if entry.regions is None else frozenset(entry.regions),
        data_policy=None if entry.data_policy is None else frozenset(entry.data_policy),
        availability_status=entry.availability_status,
        quality_prior=entry.quality_prior,
        cost_source=entry.cost_source,
        prices=tuple(
            Price(
                price_id=f"{entry.id}@{price.start:%Y-%m-%dT%H:%M:%SZ}",
                start=price.start.astimezone(UTC),
                input_usd_per_mtok=price.input_usd_per_mtok,
                output_usd_per_mtok=price.output_usd_per_mtok,
                cached_input_usd_per_mtok=price.cached_input_usd_per_mtok,
                cache_write_usd_per_mtok=price.cache_write_usd_per_mtok,
            )
            for price in entry.prices
        ),
    )


EXAMPLE = """\
# IntelliRouter's catalog: which models requests may be routed to.
# Base URLs and key variables are read from here only, never from a request.
providers:
  openai:
    kind: openai # any server that speaks OpenAI's chat completions
    base_url: https://api.openai.com/v1
    api_key_env: OPENAI_API_KEY # the variable's name; the key itself stays in the environment

models:
  # A price change adds a row with its own start; old rows stay, so the past keeps its cost.
  # Dollars per million tokens. Check them against your contract.
  - id: gpt-4o
    provider: openai
    context_window: 128000
    capabilities: [json, tools, vision]
    quality_prior: 0.85
    prices:
      - start: 2024-10-01
        input_usd_per_mtok: 2.50
        output_usd_per_mtok: 10.00
        cached_input_usd_per_mtok: 1.25
  - id: gpt-4o-mini
    provider: openai
    context_window: 128000
    capabilities: [json, tools, vision]
    quality_prior: 0.75
    prices:
      - start: 2024-07-18
        input_usd_per_mtok: 0.15
        output_usd_per_mtok: 0.60
        cached_input_usd_per_mtok: 0.075

# The labels a request's task may carry. A label outside this list is refused, so that a typing
# error does not open a cell of its own.
tasks:
  [chat, classification, code, extraction, math, reasoning, retrieval, summarisation, tool-use,
   translation, writing]
"""
