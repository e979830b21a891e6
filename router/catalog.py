"""The catalog: providers, models, prices and task types, from `catalog.yaml`.

    providers:
      openai: {kind: openai, base_url: https://api.openai.com/v1, api_key_env: OPENAI_API_KEY}
      anthropic: {kind: anthropic, base_url: https://api.anthropic.com/v1, api_key_env: ANTHROPIC_API_KEY}
    models:
      - id: gpt-4o-mini
        provider: openai
        context_window: 128000
        capabilities: [tools, json, vision]
        quality_scores: {"*": 0.75, math: 0.7}
      - id: text-embedding-3-small
        provider: openai
        vectors: text-embedding-3-small

Prices come from the price book (`router.pricebook`) by the model's own name or its `price_ref`, and
from the model's own `prices` (`router.price_entries`), which stand above the book. Base URLs and the
names of key variables come from this file only, never from a request.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from router.errors import ConfigError
from router.price_entries import PriceEntry
from router.pricebook import BOOK_NAME, PriceBook
from router.prices import Price, price_at
from router.translate.thinking import Thinking

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from pydantic_core import ErrorDetails

DEFAULT_TASKS = (
    "chat",
    "classification",
    "code",
    "embedding",
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
BASE_URL = r"^https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-~--[@?#\\]]*)?$"
"""Host, port and path: no user, which would hide the host, and no query, since a path is appended."""
ParsedFile = TypeVar("ParsedFile", bound=BaseModel)
Share = Annotated[float, Field(ge=0, le=1)]
Timeout = Annotated[float, Field(gt=0, le=3600)]
OutputLimit = Literal["max_tokens", "max_completion_tokens"]
Capability = Literal["tools", "vision", "json", "reasoning", "streaming"]
Api = Literal["chat", "responses"]
ALL_TASKS = "*"
"""The key of a quality score that holds for every task without one of its own."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _has_switch(entry: ProviderEntry | ModelEntry) -> bool:
    return not (entry.stream_usage is None and entry.max_tokens_as is None)


class ProviderEntry(_Entry):
    """How to reach one provider."""

    kind: Literal["openai", "anthropic", "azure"]
    """The API it speaks: OpenAI's chat completions, Anthropic's messages, or OpenAI's as Azure serves it."""
    base_url: Annotated[str, Field(pattern=BASE_URL)]
    """Up to and including the version: `/chat/completions` or `/messages` is appended. Of `azure`: the
    resource alone."""
    api_key_env: str | tuple[str, ...] | None = None
    """Environment variable that holds the key; several: the next one when the provider refuses one
    (401, 402, 403) or limits its rate (429). None for a provider that needs none."""
    api_version: Annotated[str, Field(pattern=r"^[\w.-]{1,40}$")] | None = None
    """Of Azure's API, which needs one: `2024-10-21`."""
    apis: tuple[Api, ...] = ("chat",)
    """What of OpenAI's it speaks: `[chat, responses]` where it serves OpenAI's responses API itself. Requests
    of that API are translated for the others."""
    attempt_timeout_s: Timeout | None = None
    """Time for one answer of its models, or a stream's first content; None: as ATTEMPT_TIMEOUT_S says."""
    stream_usage: bool | None = None
    """False: it refuses `stream_options`, so that what a stream used is not known. None: True."""
    max_tokens_as: OutputLimit | None = None
    """The one name it knows for the bound on the output; None: the name that the client used."""

    @field_validator("base_url")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if urlsplit(value).port == 0:  # ValueError for one over 65535
            raise ValueError("port 0 cannot be reached")
        return value

    @model_validator(mode="after")
    def _of_a_kind(self) -> ProviderEntry:
        _check_apis(self.apis)
        if self.kind == "anthropic" and self.apis != ("chat",):
            raise ValueError("`apis` are OpenAI's: leave them out of a provider of `kind: anthropic`")
        if (self.kind == "azure") != (self.api_version is not None):
            raise ValueError("`api_version` belongs to `kind: azure`, which needs one, such as `2024-10-21`")
        if self.kind == "anthropic" and _has_switch(self):
            raise ValueError("`stream_usage` and `max_tokens_as` are for servers that speak OpenAI's API")
        return self

    @property
    def key_variables(self) -> tuple[str, ...]:
        """The names under `api_key_env`, in order of preference."""
        if self.api_key_env is None:
            return ()
        return (self.api_key_env,) if isinstance(self.api_key_env, str) else self.api_key_env


class ModelEntry(_Entry):
    """One model that requests may be routed to. None: not stated, so that it excludes nothing."""

    id: Name
    provider: str
    provider_model: str | None = None
    """The model's name at the provider; None: the same as `id`."""
    name: Annotated[str, Field(max_length=255)] | None = None
    """For people; None: the same as `provider_model`."""
    context_window: Annotated[int, Field(gt=0)] | None = None
    """Input and output tokens together."""
    max_output_tokens: Annotated[int, Field(gt=0)] | None = None
    attempt_timeout_s: Timeout | None = None
    """Time for one answer, or a stream's first content; None: as its provider says, like the next two."""
    stream_usage: bool | None = None
    """See ProviderEntry."""
    max_tokens_as: OutputLimit | None = None
    """See ProviderEntry."""
    thinking: Thinking | None = None
    """How a model of Anthropic's takes a reasoning effort: `adaptive` (from Claude 4.6 on), `budget` (3.7 to
    4.5) or `none`; None: as the version in its name says."""
    capabilities: tuple[Capability, ...] | None = None
    apis: tuple[Api, ...] | None = None
    """What of OpenAI's its provider serves it by; None: the provider's `apis`."""
    vectors: Name | None = None
    """Of a model that embeds, and does nothing else: the name of its vectors. Models that name the same are
    declared to give the same vectors, and stand in for one another; others never do."""
    regions: tuple[Name, ...] | None = None
    """Where the provider computes, in your own words: `eu`, `us-east-1`."""
    data_policy: tuple[Name, ...] | None = None
    """What the provider promises, in your own words: `no_training`, `zero_retention`."""
    availability_status: Literal["available", "degraded", "unavailable"] = "available"
    quality_scores: dict[Name | Literal["*"], Share] = {}
    """Expected quality on a task before any feedback; `*` holds for every other task."""
    cost_source: Literal["prices", "provider"] = "prices"
    """`provider`: the answer's own `usage.cost` is the cost (OpenRouter and the like)."""
    price_ref: str | None = None
    """`provider/model` in the price book; None: `provider` and `provider_model` of this entry."""
    prices: tuple[PriceEntry, ...] = ()
    """Your own prices; from the first one's start on they stand above the price book."""

    @field_validator("prices")
    @classmethod
    def _ordered(cls, value: tuple[PriceEntry, ...]) -> tuple[PriceEntry, ...]:
        starts = [price.start for price in value]
        if len(set(starts)) != len(starts):
            raise ValueError(
                "two prices start at the same moment; a price change adds a row with its own start"
            )
        return tuple(sorted(value, key=lambda price: price.start))

    @model_validator(mode="after")
    def _output_has_a_price(self) -> ModelEntry:
        if self.vectors is None and not all(part.has_output for price in self.prices for part in price.parts):
            raise ValueError(
                "a price lacks `output_usd_per_mtok`, which only models with `vectors` do without"
            )
        return self


class CatalogFile(_Entry):
    """The whole of `catalog.yaml`."""

    providers: dict[Name, ProviderEntry]
    models: tuple[ModelEntry, ...]
    tasks: tuple[Name, ...] = DEFAULT_TASKS
    aliases: dict[Name, str] = {}
    """Other names that clients of `/v1/messages` may ask for: name to model id, or to `auto`."""

    @model_validator(mode="after")
    def _consistent(self) -> CatalogFile:
        seen: set[str] = set()
        for model in self.models:
            if model.provider not in self.providers:
                raise ValueError(f"model `{model.id}` names the unknown provider `{model.provider}`")
            self._check_kind(model)
            if model.id in seen or model.id == "auto":
                raise ValueError(f"model id `{model.id}` is taken; ids are unique and `auto` is the router's")
            seen.add(model.id)
            undeclared = model.quality_scores.keys() - {ALL_TASKS, *self.tasks}
            if undeclared:
                raise ValueError(
                    f"model `{model.id}` has quality_scores of the undeclared task"
                    f" `{min(undeclared)}`; list it under `tasks` or use `*`"
                )
        for alias, target in self.aliases.items():
            if alias in {"auto", *seen} or target not in {"auto", *seen}:
                raise ValueError(
                    f"alias `{alias}` of `{target}` must be a new name of `auto` or of a model of the catalog"
                )
        self._check_vectors()
        return self

    def _check_kind(self, model: ModelEntry) -> None:
        """What its provider's kind has and what it has not."""
        if self.providers[model.provider].kind == "anthropic" and (model.apis or model.vectors):
            raise ValueError(
                f"model `{model.id}` of provider `{model.provider}` has `apis` or `vectors`, which a provider"
                " of `kind: anthropic` does not serve"
            )
        if self.providers[model.provider].kind == "anthropic" and _has_switch(model):
            raise ValueError(
                f"model `{model.id}` is Anthropic's; `stream_usage` and `max_tokens_as` are for"
                " servers that speak OpenAI's API"
            )
        if self.providers[model.provider].kind != "anthropic" and model.thinking is not None:
            raise ValueError(f"model `{model.id}` is not Anthropic's; `thinking` is for those alone")
        if model.apis is not None:
            _check_apis(model.apis)

    def _check_vectors(self) -> None:
        """A name asks for vectors or for one model: where it could mean both, both are the same."""
        spaces = {model.vectors for model in self.models} - {None}
        for name in spaces:
            meant = next((model.vectors for model in self.models if model.id == name), name)
            if name == "auto" or name in self.aliases or meant != name:
                raise ValueError(
                    f"vectors `{name}` have the name of something else; give them one of their own"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model ready for the request path. None: not stated."""

    id: str
    provider: str
    provider_model: str
    name: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    attempt_timeout_s: float | None = None
    """Its own, else its provider's, like the next two."""
    stream_usage: bool = True
    """Whether it may be asked for the usage of a stream (`stream_options`)."""
    max_tokens_as: OutputLimit | None = None
    """The one name it knows for the bound on the output; None: the name that the client used."""
    capabilities: frozenset[str] | None = None
    thinking: Thinking | None = None
    """How it takes a reasoning effort, where it is Anthropic's; None: as the version in its name says."""
    apis: frozenset[str] = frozenset({"chat"})
    """What it can be asked by: `chat`, `responses`, or `embeddings` alone."""
    vectors: str | None = None
    """The name of the vectors it gives; None: it does not embed."""
    regions: frozenset[str] | None = None
    data_policy: frozenset[str] | None = None
    availability_status: str = "available"
    quality_scores: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Expected quality before any feedback, by task or `*`."""
    cost_source: Literal["prices", "provider"] = "prices"
    prices: tuple[Price, ...] = ()
    """In order of start: the price book's rows, then the catalog's own."""

    def price_at(self, at: datetime) -> Price | None:
        """The price row in force at `at`; None when none is known."""
        return price_at(self.prices, at)

    def quality_score(self, task_type: str) -> float | None:
        """Expected quality on the task before any feedback; None: not stated."""
        stated = self.quality_scores.get(task_type)
        return self.quality_scores.get(ALL_TASKS) if stated is None else stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """An immutable view of `catalog.yaml`, priced."""

    providers: Mapping[str, ProviderEntry]
    models: Mapping[str, Model]
    tasks: frozenset[str]
    digest: str
    """SHA-256 of the file's bytes and of the price book's rows in use."""
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Other names of `auto` and of models."""

    @property
    def vectors(self) -> frozenset[str]:
        """The names of all vectors that its models give."""
        return frozenset(model.vectors for model in self.models.values() if model.vectors is not None)

    def named(self, name: str) -> str:
        """The model a client means: an id, else an alias, else the provider's own name of a model."""
        if name in self.models or name == "auto":
            return name
        if name in self.aliases:
            return self.aliases[name]
        return next((model.id for model in self.models.values() if model.provider_model == name), name)

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """Read and check `catalog.yaml`, and price it from the `prices/book.json` beside it.

        ConfigError says what is wrong where. Without a book, models without `prices` of their own
        have no known price.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ConfigError(
                f"no catalog at `{path}`: run `intellirouter init` to write an example,"
                " or set INTELLIROUTER_HOME to the folder that holds one"
            ) from None
        entry = parse_yaml(content, CatalogFile, path)
        try:
            book = PriceBook.read(path.parent / BOOK_NAME)
        except FileNotFoundError:
            book = None
        models = {
            model.id: _model(model, entry.providers[model.provider], book, path) for model in entry.models
        }
        digest = hashlib.sha256(content)
        for model in models.values():
            digest.update("".join(price.price_id for price in model.prices).encode())
        return cls(
            providers=entry.providers,
            models=models,
            tasks=frozenset(entry.tasks),
            digest=digest.hexdigest(),
            aliases=MappingProxyType(dict(entry.aliases)),
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


def _check_apis(apis: tuple[Api, ...]) -> None:
    if not apis or len(set(apis)) < len(apis):
        raise ValueError("`apis` names each API once, and at least one: `[chat, responses]`")


def _model(entry: ModelEntry, provider: ProviderEntry, book: PriceBook | None, path: Path) -> Model:
    apis: tuple[str, ...] = entry.apis or provider.apis
    return Model(
        id=entry.id,
        provider=entry.provider,
        provider_model=entry.provider_model or entry.id,
        name=entry.name,
        context_window=entry.context_window,
        max_output_tokens=entry.max_output_tokens,
        attempt_timeout_s=entry.attempt_timeout_s or provider.attempt_timeout_s,
        stream_usage=(provider if entry.stream_usage is None else entry).stream_usage is not False,
        max_tokens_as=entry.max_tokens_as or provider.max_tokens_as,
        thinking=entry.thinking,
        capabilities=_labels(entry.capabilities),
        apis=frozenset(apis if entry.vectors is None else ("embeddings",)),
        vectors=entry.vectors,
        regions=_labels(entry.regions),
        data_policy=_labels(entry.data_policy),
        availability_status=entry.availability_status,
        quality_scores=MappingProxyType(dict(entry.quality_scores)),
        cost_source=entry.cost_source,
        prices=_prices(entry, book, path),
    )


def _prices(entry: ModelEntry, book: PriceBook | None, path: Path) -> tuple[Price, ...]:
    """The catalog's own rows, and before the first of them the book's."""
    own = tuple(price.to_price(entry.id) for price in entry.prices)
    if book is None:
        return own
    ref = entry.price_ref or f"{entry.provider}/{entry.provider_model or entry.id}"
    listed = book.prices(ref)
    if not listed and entry.price_ref is not None:
        near = ", ".join(f"`{known}`" for known in book.nearest(ref)) or "none"
        raise ConfigError(
            f"`{path}`: the price_ref `{ref}` of model `{entry.id}` names nothing in the price book;"
            f" nearest: {near}; see `intellirouter prices list`"
        )
    return (*(row for row in listed if not own or row.start < own[0].start), *own)


def _labels(stated: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if stated is None else frozenset(stated)


EXAMPLE = """\
# IntelliRouter's catalog: which models requests may be routed to.
# Base URLs and key variables are read from here only, never from a request.
providers:
  openai:
    kind: openai # any server that speaks OpenAI's chat completions; or `anthropic`
    base_url: https://api.openai.com/v1
    api_key_env: OPENAI_API_KEY # the variable's name, or a list; keys stay in the environment
    apis: [chat, responses] # leave it out where the server has no /v1/responses of its own
  # azure: # models name the deployment as `provider_model`
  #   kind: azure
  #   base_url: https://NAME.openai.azure.com
  #   api_version: "2024-10-21"
  #   api_key_env: [AZURE_KEY_1, AZURE_KEY_2] # the next one when the first is refused or rate limited

models:
  # `intellirouter prices refresh` prices models from public lists, by `provider/model` or `price_ref`.
  # `prices` are your own, in dollars per million tokens, and win: check them against your contract.
  # A price change adds a row with its own start; old rows stay, so the past keeps its cost.
  # What is left out is not known: it excludes no request.
  - id: gpt-4o
    provider: openai
    context_window: 128000
    max_output_tokens: 16384
    capabilities: [json, streaming, tools, vision]
    quality_scores: {"*": 0.85} # expected before any feedback, by task; `*` is every other task
    prices:
      - start: 2024-10-01
        input_usd_per_mtok: 2.50
        output_usd_per_mtok: 10.00
        cached_input_usd_per_mtok: 1.25
  - id: gpt-4o-mini
    provider: openai
    context_window: 128000
    max_output_tokens: 16384
    capabilities: [json, streaming, tools, vision]
    # regions: [eu, us]                      # and data_policy: [no_training, zero_retention]:
    # data_policy: [no_training]             # labels that a policy may ask for
    # price_ref: openai/gpt-4o-mini          # where the book's name is another than this model's
    quality_scores: {"*": 0.75}
    prices:
      - start: 2024-07-18
        input_usd_per_mtok: 0.15
        output_usd_per_mtok: 0.60
        cached_input_usd_per_mtok: 0.075
  # - id: text-embedding-3-small             # /v1/embeddings; models of the same `vectors` stand in for
  #   provider: openai                       # one another, others never do
  #   vectors: text-embedding-3-small

# The labels a request's task may carry. A label outside this list is refused, so that a typing
# error does not open a cell of its own.
tasks:
  [chat, classification, code, embedding, extraction, math, reasoning, retrieval, summarisation,
   tool-use, translation, writing]
"""
