"""The catalog: providers, models, prices and task types, from `catalog.yaml` (`router.catalog_entries`).

Prices come from the price book (`router.pricebook`) by the model's own name or its `price_ref`, and
from the model's own `prices` (`router.price_entries`), which stand above the book. Base URLs and the
names of key variables come from this file only, never from a request.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from router.catalog.entries import ALL_TASKS, CatalogFile
from router.catalog.price_book import BOOK_NAME, PriceBook
from router.catalog.prices import Price, price_at
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from router.catalog.entries import ModelEntry, OutputLimit, ProviderEntry
    from router.translate.anthropic.thinking import Thinking

ParsedFile = TypeVar("ParsedFile", bound=BaseModel)


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
