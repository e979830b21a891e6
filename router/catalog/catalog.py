"""The catalog: providers, models, prices and task types, from `catalog.yaml` (`router.catalog.entries`).

Prices come from the price book (`router.catalog.price_book`) by the model's own name or its `price_ref`,
and from the model's own `prices` (`router.catalog.price_entries`), which take precedence. Base URLs and
the names of key variables come from this file only, never from a request.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from router.catalog.entries import ALL_TASKS, CatalogFile
from router.catalog.names import is_placeholder, is_same_model
from router.catalog.price_book import BOOK_NAME, PriceBook
from router.catalog.prices import Price, price_at
from router.documents import parse_yaml
from router.errors import ConfigError, nearest
from router.files import read_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from router.catalog.entries import DeveloperRole, ModelEntry, OutputLimit, ProviderEntry, Thinking

_OPENAI_MODEL = re.compile(r"(gpt|chatgpt|codex|o\d)(?![a-z])")
EXAMPLE_FILE = Path(__file__).with_name("example.yaml")
"""The catalog that `intellirouter init` writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model ready for the request path. None: not stated."""

    id: str
    provider: str
    provider_model: str
    stated_version: str | None = None
    name: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    attempt_timeout_s: float | None = None
    """The model's own, else its provider's, like the next two."""
    stream_usage: bool = True
    """Whether it may be asked for the usage of a stream (`stream_options`)."""
    max_tokens_as: OutputLimit | None = None
    """The one name it knows for the bound on the output. None: the name that the client used."""
    developer_as: DeveloperRole = "developer"
    """`system` for a server that does not know the role `developer`."""
    default_parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Parameters of chat completions that hold if a request does not set them."""
    forced_parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Parameters that replace those of a request."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Headers of each call."""
    drop_params: bool = False
    """Whether parameters that its API lacks are left out, instead of refused."""
    capabilities: frozenset[str] | None = None
    thinking: Thinking | None = None
    """The way a model of Anthropic's takes a reasoning effort. None: by the version in its name."""
    apis: frozenset[str] = frozenset({"chat"})
    """The APIs that reach it: `chat`, `responses`, or only `embeddings`."""
    vectors: str | None = None
    """The name of the vectors it gives. None: it does not embed."""
    regions: frozenset[str] | None = None
    data_policy: frozenset[str] | None = None
    availability_status: str = "available"
    quality_scores: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Expected quality before any feedback, by task or `*`."""
    answers_as: frozenset[str] = frozenset()
    """Other names that its provider gives in its answers."""
    cost_source: Literal["prices", "provider"] = "prices"
    prices: tuple[Price, ...] = ()
    """The price book's rows, then the catalog's own, in order of start."""
    price_ref: str = ""
    """The name by which it is looked for in the price book."""

    @property
    def version(self) -> str:
        """The version that answers: the stated one, or else the name at the provider."""
        return self.stated_version or self.provider_model

    @property
    def is_arm(self) -> bool:
        """Whether its entry sets parameters, so that it is asked otherwise than the request says."""
        return bool(self.default_parameters or self.forced_parameters)

    def price_at(self, at: datetime) -> Price | None:
        """The price row in force at `at`. None when none is known."""
        return price_at(self.prices, at)

    def bound_of_output(self, asked: int) -> int | None:
        """The most tokens of one choice, if the caller asks for `asked` (0: any). None: there is no bound."""
        for given, is_last in ((self.forced_parameters, True), (self.default_parameters, not asked)):
            bounds = [given.get(name) for name in ("max_completion_tokens", "max_tokens")]
            bound = next((bound for bound in bounds if isinstance(bound, int) and bound > 0), None)
            if is_last and bound is not None:
                return bound
        return asked or self.max_output_tokens or self.context_window

    def is_named(self, answered: str) -> bool:
        """Whether a provider's answer with this name is the model's."""
        own = (self.id, self.provider_model, *self.answers_as)
        return answered in own or any(is_same_model(name, answered) for name in own)

    def quality_score(self, task_type: str) -> float | None:
        """Expected quality on the task before any feedback. None: not stated."""
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
    price_refs: frozenset[str] = frozenset()
    """The names by which its models look for their rows in the price book."""

    @property
    def vectors(self) -> frozenset[str]:
        """The names of all vectors that its models give."""
        return frozenset(model.vectors for model in self.models.values() if model.vectors is not None)

    def answered(self, asked: Model, name: str | None) -> Model | None:
        """The model that answered as `name` in place of `asked`. None if the catalog does not know it."""
        if is_placeholder(name) or name is None or asked.is_named(name):
            return asked
        models = self.models.values()
        found = next(
            (item for item in models if item.provider == asked.provider and item.is_named(name)), None
        )
        if found is None and self.providers[asked.provider].kind == "azure":
            return asked  # Azure is asked for a deployment, whose name says nothing about its model
        return found

    def named(self, name: str) -> str:
        """The model a client means: an id, else an alias, else the provider's own name of a model."""
        if name in self.models or name == "auto":
            return name
        if name in self.aliases:
            return self.aliases[name]
        return next((model.id for model in self.models.values() if model.provider_model == name), name)

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """Read and check `catalog.yaml`, and price it from the `prices/book.json` in its folder.

        ConfigError names the fault and its place. Without a book, models without `prices` of their own
        have no known price.
        """
        try:
            content = read_document(path)
        except FileNotFoundError:
            raise ConfigError(
                f"no catalog at `{path}`: run `intellirouter init` to write an example,"
                " or set INTELLIROUTER_HOME to the folder that holds one"
            ) from None
        try:
            book = PriceBook.read(path.parent / BOOK_NAME)
        except FileNotFoundError:
            book = None
        return cls.parse(content, book, path)

    @classmethod
    def parse(cls, content: bytes, book: PriceBook | None, path: Path) -> Catalog:
        """The catalog of a file's content, priced from `book`. Messages name `path`."""
        entry = parse_yaml(content, CatalogFile, path)
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
            price_refs=frozenset(map(_price_ref, entry.models)),
        )


def _model(entry: ModelEntry, provider: ProviderEntry, book: PriceBook | None, path: Path) -> Model:
    apis: tuple[str, ...] = entry.apis or provider.apis
    return Model(
        id=entry.id,
        provider=entry.provider,
        provider_model=entry.provider_model or entry.id,
        stated_version=entry.version,
        name=entry.name,
        context_window=entry.context_window,
        max_output_tokens=entry.max_output_tokens,
        attempt_timeout_s=entry.attempt_timeout_s or provider.attempt_timeout_s,
        stream_usage=(provider if entry.stream_usage is None else entry).stream_usage is not False,
        max_tokens_as=entry.max_tokens_as or provider.max_tokens_as,
        developer_as=entry.developer_as or provider.developer_as or _developer_role(entry, provider),
        default_parameters=MappingProxyType(dict(entry.parameters.default)),
        forced_parameters=MappingProxyType(dict(entry.parameters.forced)),
        headers=MappingProxyType(dict(entry.headers)),
        drop_params=bool(provider.drop_params if entry.drop_params is None else entry.drop_params),
        thinking=entry.thinking,
        capabilities=_labels(entry.capabilities),
        apis=frozenset(apis if entry.vectors is None else ("embeddings",)),
        vectors=entry.vectors,
        regions=_labels(entry.regions),
        data_policy=_labels(entry.data_policy),
        availability_status=entry.availability_status,
        quality_scores=MappingProxyType(dict(entry.quality_scores)),
        answers_as=frozenset(entry.answers_as),
        cost_source=entry.cost_source,
        prices=_prices(entry, book, path),
        price_ref=_price_ref(entry),
    )


def _developer_role(entry: ModelEntry, provider: ProviderEntry) -> DeveloperRole:
    """Only OpenAI's models are sure to know the role `developer`. For them, `system` means the same."""
    host = urlsplit(provider.base_url).hostname or ""
    name = (entry.provider_model or entry.id).rpartition("/")[2]
    if provider.kind == "azure" or host.endswith("openai.com") or _OPENAI_MODEL.match(name):
        return "developer"
    return "system"


def unpriced(models: Iterable[Model], at: datetime) -> list[Model]:
    """The models whose costs are unknown at `at`, since no price is in force."""
    return [model for model in models if model.cost_source == "prices" and model.price_at(at) is None]


def unpriced_line(lacking: Iterable[Model]) -> str:
    """The line about models without a price in force."""
    names = ", ".join(
        f"`{model.id}`" + (f" (the first starts {model.prices[0].start:%Y-%m-%d})" if model.prices else "")
        for model in lacking
    )
    return f"no price is in force for {names}: the cost is unknown until catalog.yaml or the book has one"


def _prices(entry: ModelEntry, book: PriceBook | None, path: Path) -> tuple[Price, ...]:
    """The catalog's own rows, and before the first of them the book's."""
    own = tuple(price.to_price(entry.id) for price in entry.prices)
    if book is None:
        return own
    ref = _price_ref(entry)
    listed = book.prices(ref)
    if not listed and entry.price_ref is not None:
        raise ConfigError(
            f"`{path}`: the price_ref `{ref}` of model `{entry.id}` is not in the price book;"
            f" {nearest(ref, book.nearest(ref))}. See `intellirouter prices list`"
        )
    return (*(row for row in listed if not own or row.start < own[0].start), *own)


def _price_ref(entry: ModelEntry) -> str:
    return entry.price_ref or f"{entry.provider}/{entry.provider_model or entry.id}"


def _labels(stated: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if stated is None else frozenset(stated)
