"""The file `catalog.yaml`, validated. `router.catalog` builds the routing catalog from it.

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
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from router.catalog.price_entries import PriceEntry
from router.documents import Entry, is_opaque
from router.errors import nearest

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

# Printable ASCII, since names travel in HTTP headers. No backtick (messages quote with it), no `*`
# (it means all tasks).
Name = Annotated[str, Field(max_length=200, pattern=r"^[!-)+-_a-~]+$")]
_BASE_URL = re.compile(r"https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!\"$->A-Z\[\]^-~]*)?")
"""Host, port and path: no user, which would hide the host, and no query, since a path is appended."""
OTHER_KINDS = ("anthropic", "gemini", "bedrock")
"""Kinds of providers that speak none of OpenAI's APIs."""
WITHOUT_VECTORS = ("anthropic", "bedrock")
"""Kinds of providers that serve no embeddings."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _is_variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value) or is_opaque(value):
        raise ValueError(
            "must be the name of an environment variable, such as `OPENAI_API_KEY`. Put the key into that"
            " variable. If this member held a key, replace that key"
        )
    return value


def _is_base_url(value: str) -> str:
    if not _BASE_URL.fullmatch(value):
        raise ValueError(
            "must be the URL of an API, such as `https://api.openai.com/v1`: begin with `https://` or"
            " `http://`, and leave out user, password, query and fragment"
        )
    if urlsplit(value).port == 0:  # ValueError for one over 65535
        raise ValueError("port 0 cannot be reached")
    return value


BaseUrl = Annotated[str, Field(json_schema_extra={"pattern": "^https?://"}), AfterValidator(_is_base_url)]
Variable = Annotated[str, AfterValidator(_is_variable)]
"""The name of an environment variable that holds a key. Never the key, which would be published."""
Share = Annotated[float, Field(ge=0, le=1)]
Timeout = Annotated[float, Field(gt=0, le=3600)]
OutputLimit = Literal["max_tokens", "max_completion_tokens"]
DeveloperRole = Literal["developer", "system"]
Capability = Literal["tools", "vision", "json", "reasoning", "streaming"]
Api = Literal["chat", "responses"]
Thinking = Literal["adaptive", "budget", "none"]
REQUEST_MEMBERS = frozenset(
    {"input", "instructions", "messages", "model", "stream", "stream_options", "user"}
)
"""Members that no catalog can set for a request."""
OWN_HEADERS = frozenset(
    {"accept-encoding", "api-key", "authorization", "connection", "content-length", "content-type", "cookie"}
    | {"expect", "host", "te", "transfer-encoding", "upgrade", "x-api-key", "x-goog-api-key"}
)
"""Headers that the connection or the provider's key sets."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")
_HEADER_VALUE = re.compile(r"[ -~]{0,1000}")
ALL_TASKS = "*"
"""The key of a quality score that holds for every task without one of its own."""


def _has_switch(entry: ProviderEntry | ModelEntry) -> bool:
    return not (entry.stream_usage is None and entry.max_tokens_as is None and entry.developer_as is None)


class ParametersEntry(Entry):
    """Parameters of chat completions that a model's requests get, such as `reasoning_effort`."""

    default: dict[str, Any] = Field(default_factory=dict)
    """They hold if the request does not set them."""
    forced: dict[str, Any] = Field(default_factory=dict)
    """They replace those of the request."""

    @model_validator(mode="after")
    def _of_a_model(self) -> ParametersEntry:
        for name in (*self.default, *self.forced):
            if name in REQUEST_MEMBERS:
                raise ValueError(f"`{name}` belongs to each request: it cannot be a parameter of a model")
        return self


class ProviderEntry(Entry):
    """The way to reach one provider."""

    kind: Literal["openai", "anthropic", "azure", "gemini", "bedrock"]
    """The API it speaks: OpenAI's chat completions, Anthropic's messages, OpenAI's as Azure serves it,
    Google's generateContent, or Amazon's Converse (with the extra `bedrock`)."""
    base_url: BaseUrl
    """Up to and including the version: `/chat/completions`, `/messages` or `/models/…` is appended. Of
    `azure` and `bedrock`: only the host."""
    api_key_env: Variable | tuple[Variable, ...] | None = None
    """Environment variable that holds the key. With several, the next one is used when the provider refuses
    one (401, 402, 403) or limits its rate (429). None for a provider that needs none."""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] | None = None
    """Only of `bedrock`: the region of the signature. None: the one in `base_url`."""
    api_version: Annotated[str, Field(pattern=r"^[\w.-]{1,40}$")] | None = None
    """The version of Azure's API, which needs one: `2024-10-21`."""
    apis: tuple[Api, ...] = ("chat",)
    """The APIs of OpenAI that it speaks: `[chat, responses]` if it serves OpenAI's responses API itself. For
    the others, requests of that API are translated."""
    attempt_timeout_s: Timeout | None = None
    """Time for one answer of its models, or a stream's first content. None: ATTEMPT_TIMEOUT_S."""
    stream_usage: bool | None = None
    """False: it refuses `stream_options`, so that the usage of a stream is unknown. None: True."""
    max_tokens_as: OutputLimit | None = None
    """The one name it knows for the bound on the output. None: the name that the client used."""
    developer_as: DeveloperRole | None = None
    """`system` if it does not know the role `developer`. None: `developer` for OpenAI's models, by host and
    name, and `system` for others."""
    drop_params: bool | None = None
    """True: leave out parameters that its API lacks, and name them in `x-intellirouter-ignored`. None: refuse
    such a request by name."""

    @model_validator(mode="after")
    def _of_a_kind(self) -> ProviderEntry:
        _check_apis(self.apis)
        if self.kind in OTHER_KINDS and self.apis != ("chat",):
            raise ValueError(f"`apis` are OpenAI's: leave them out of a provider of `kind: {self.kind}`")
        if self.kind != "bedrock" and self.region is not None:
            raise ValueError(
                "`region` belongs to `kind: bedrock`; a model states where it computes in `regions`"
            )
        if (self.kind == "azure") != (self.api_version is not None):
            raise ValueError("`api_version` belongs to `kind: azure`, which needs one, such as `2024-10-21`")
        if self.kind in OTHER_KINDS and _has_switch(self):
            raise ValueError(
                "`stream_usage`, `max_tokens_as` and `developer_as` are for servers that speak OpenAI's API"
            )
        return self

    @property
    def key_variables(self) -> tuple[str, ...]:
        """The names under `api_key_env`, in order of preference."""
        if self.api_key_env is None:
            return ()
        return (self.api_key_env,) if isinstance(self.api_key_env, str) else self.api_key_env


class ModelEntry(Entry):
    """One model that requests may be routed to. None: not stated, so that it excludes nothing."""

    id: Name
    """Its name in requests, policies and records."""
    provider: str
    """One of `providers`."""
    provider_model: str | None = None
    """The model's name at the provider. None: the same as `id`."""
    version: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Another value says that another model answers. It is explored like a new one, and outcomes from before
    count for little. None: `provider_model`."""
    name: Annotated[str, Field(max_length=255)] | None = None
    """For people. None: the same as `provider_model`."""
    context_window: Annotated[int, Field(gt=0)] | None = None
    """Input and output tokens together."""
    max_output_tokens: Annotated[int, Field(gt=0)] | None = None
    """Most tokens of one answer."""
    attempt_timeout_s: Timeout | None = None
    """Time for one answer, or a stream's first content. None: its provider's, like the next two."""
    stream_usage: bool | None = None
    """As the same member of its provider, whose value holds if this one is left out."""
    max_tokens_as: OutputLimit | None = None
    """As the same member of its provider, whose value holds if this one is left out."""
    developer_as: DeveloperRole | None = None
    """As the same member of its provider, whose value holds if this one is left out."""
    drop_params: bool | None = None
    """As the same member of its provider, whose value holds if this one is left out."""
    parameters: ParametersEntry = ParametersEntry()
    """Parameters that make this entry an arm of its own, such as one effort of a model. OpenRouter's own
    `provider` object can be one of them."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of each call, such as `anthropic-beta`. Never a key."""
    thinking: Thinking | None = None
    """How a model of Anthropic's takes a reasoning effort: `adaptive` (from Claude 4.6 on), `budget` (3.7 to
    4.5) or `none`. None: by the version in its name."""
    capabilities: tuple[Capability, ...] | None = None
    """The abilities that a request can need."""
    apis: tuple[Api, ...] | None = None
    """The APIs of OpenAI by which its provider serves it. None: the provider's `apis`."""
    vectors: Name | None = None
    """Only of a model that embeds: the name of its vectors. Models that name the same vectors are declared to
    give the same ones, and can replace one another. Other models cannot."""
    regions: tuple[Name, ...] | None = None
    """Where the provider computes, in your own words: `eu`, `us-east-1`."""
    data_policy: tuple[Name, ...] | None = None
    """The provider's promises, in your own words: `no_training`, `zero_retention`."""
    availability_status: Literal["available", "degraded", "unavailable"] = "available"
    """`unavailable`: it gets no request. `degraded`: it is left out after half as many failures."""
    quality_scores: dict[Name | Literal["*"], Share] = Field(default_factory=dict)
    """Expected quality on a task before any feedback. `*` holds for every other task."""
    answers_as: tuple[Name, ...] = ()
    """Other names that its provider gives in its answers. An answer of any other model is priced as that one,
    or has no cost."""
    cost_source: Literal["prices", "provider"] = "prices"
    """`provider`: the answer's own `usage.cost` is the cost (OpenRouter and the like)."""
    price_ref: str | None = None
    """`provider/model` in the price book. None: `provider` and `provider_model` of this entry."""
    prices: tuple[PriceEntry, ...] = ()
    """Your own prices. From the start of the first one they replace the price book."""

    @field_validator("headers")
    @classmethod
    def _sendable(cls, value: dict[str, str]) -> dict[str, str]:
        for name, content in value.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(content):
                raise ValueError(f"header `{name:.80}` must be a name and a line of printable ASCII")
            if name.lower() in OWN_HEADERS:
                raise ValueError(f"header `{name}` is set for each call: give a key by `api_key_env`")
        return {name.lower(): content for name, content in value.items()}

    @field_validator("prices")
    @classmethod
    def _ordered(cls, value: tuple[PriceEntry, ...]) -> tuple[PriceEntry, ...]:
        starts = [price.start for price in value]
        if len(set(starts)) != len(starts):
            raise ValueError(
                "two prices start at the same moment: a price change adds a row with its own start"
            )
        return tuple(sorted(value, key=lambda price: price.start))

    @model_validator(mode="after")
    def _output_has_a_price(self) -> ModelEntry:
        if self.vectors is None and not all(part.has_output for price in self.prices for part in price.parts):
            raise ValueError(
                "a price lacks `output_usd_per_mtok`, which only models with `vectors` do without"
            )
        return self


class CatalogFile(Entry):
    """The whole of `catalog.yaml`."""

    providers: dict[Name, ProviderEntry]
    """Providers by the name that models refer to."""
    models: tuple[ModelEntry, ...]
    """The models that requests may be routed to."""
    tasks: tuple[Name, ...] = DEFAULT_TASKS
    """The task types that a request may be labelled with."""
    aliases: dict[Name, str] = Field(default_factory=dict)
    """Other names that clients of `/v1/messages` may ask for: name to model id, or to `auto`."""

    @model_validator(mode="after")
    def _consistent(self) -> CatalogFile:
        seen: set[str] = set()
        for model in self.models:
            if model.provider not in self.providers:
                raise ValueError(
                    f"model `{model.id}` names the unknown provider `{model.provider}`:"
                    f" {nearest(model.provider, self.providers)}"
                )
            self._check_kind(model)
            if model.id in seen or model.id == "auto":
                raise ValueError(f"model id `{model.id}` is taken: ids are unique and `auto` is the router's")
            seen.add(model.id)
            undeclared = model.quality_scores.keys() - {ALL_TASKS, *self.tasks}
            if undeclared:
                raise ValueError(
                    f"model `{model.id}` has quality_scores of the unknown task `{min(undeclared)}`:"
                    f" {nearest(min(undeclared), self.tasks)}; or list it under `tasks`, or use `*`"
                )
        for alias, target in self.aliases.items():
            if target not in {"auto", *seen}:
                raise ValueError(
                    f"alias `{alias}` names the unknown model `{target}`: {nearest(target, {'auto', *seen})}"
                )
            if alias in {"auto", *seen}:
                raise ValueError(f"alias `{alias}` is the name of a model already: give it one of its own")
        self._check_vectors()
        return self

    def _check_kind(self, model: ModelEntry) -> None:
        """Check a model's members against its provider's kind."""
        kind = self.providers[model.provider].kind
        if (kind in OTHER_KINDS and model.apis) or (kind in WITHOUT_VECTORS and model.vectors):
            raise ValueError(
                f"model `{model.id}` of provider `{model.provider}` has `apis` or `vectors`, which a provider"
                f" of `kind: {kind}` does not serve"
            )
        if kind in OTHER_KINDS and _has_switch(model):
            raise ValueError(
                f"model `{model.id}` is of `kind: {kind}`: `stream_usage`, `max_tokens_as` and `developer_as`"
                " are for servers that speak OpenAI's API"
            )
        if kind not in ("anthropic", "bedrock") and model.thinking is not None:
            raise ValueError(f"model `{model.id}` is not Anthropic's: `thinking` is only for those")
        if model.apis is not None:
            _check_apis(model.apis)

    def _check_vectors(self) -> None:
        """A name asks for vectors or for one model: where it could mean both, both are the same."""
        spaces = {model.vectors for model in self.models} - {None}
        for name in spaces:
            meant = next((model.vectors for model in self.models if model.id == name), name)
            if name == "auto" or name in self.aliases or meant != name:
                raise ValueError(
                    f"vectors `{name}` have the name of something else: give them one of their own"
                )


def _check_apis(apis: tuple[Api, ...]) -> None:
    if not apis or len(set(apis)) < len(apis):
        raise ValueError("`apis` names each API once, and at least one: `[chat, responses]`")
