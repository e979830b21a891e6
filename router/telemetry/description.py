"""Describe a request from its record, as names and values without OpenTelemetry's code.

Every name is in the catalog, the policies or this code, or has the shape of an identifier. Any other
becomes `_OTHER`. They never include a prompt, key, user or session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from router.errors import ERROR_TYPES
from router.request.request import AUTO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.catalog.catalog import Catalog
    from router.catalog.entries import ProviderEntry
    from router.providers.base import Answer
    from router.records import Attempt, RequestRecord

Value = str | bool | int | float | list[str]
Attributes = dict[str, Value]

OTHER = "_OTHER"
"""The conventions' word for an unknown value."""
KINDS = {
    "anthropic": "anthropic",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
}
HOSTS = {
    "api.anthropic.com": "anthropic",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
}
"""`gen_ai.provider.name` of a host that speaks OpenAI's API. Any other has its name in the catalog."""
_ID = re.compile(r"[A-Za-z0-9][\w.:/@+-]{0,99}", re.ASCII)
_REASON = re.compile(r"[a-z][a-z_]{0,39}")
MAX_REASONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Facts that the provider reports about its answer, without any part of the answer."""

    id: str | None = None
    model: str | None = None
    finish_reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, answer: Answer | None) -> Said:
        """Read the facts from the answer's body, which may hold anything."""
        if answer is None:
            return NOTHING_SAID
        body = answer.body
        choices = body.get("choices")
        found = choices[:MAX_REASONS] if isinstance(choices, list) else ()
        reasons = (choice.get("finish_reason") for choice in found if isinstance(choice, dict))
        return cls(
            id=_shaped(body.get("id"), _ID),
            model=_shaped(body.get("model"), _ID),
            finish_reasons=tuple(
                reason for value in reasons if (reason := _shaped(value, _REASON)) is not None
            ),
        )


NOTHING_SAID = Said()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A finished span. Times are nanoseconds since 1970."""

    name: str
    start_ns: int
    end_ns: int
    attributes: Attributes
    error_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt: its span and its measurements."""

    span: Span
    labels: Attributes
    """Labels of its measurements, without `error.type`."""
    duration_s: float
    tokens: Mapping[str, int]
    """By `gen_ai.token.type`. Only the attempt that answered has them, and only known counts."""
    first_chunk_s: float | None
    """From its start to its first content. None if it streamed none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The span, labels and measurements of a request."""

    span: Span
    labels: Attributes
    duration_s: float
    cost_usd: float | None
    calls: tuple[Call, ...]


def describe(record: RequestRecord, said: Said, catalog: Catalog, starts_ms: Sequence[float]) -> Description:
    """Describe a request. `starts_ms` holds each attempt's start, in milliseconds after the arrival."""
    requested = record.model_requested
    is_named = requested == AUTO or requested in catalog.models or requested in catalog.vectors
    model = requested if is_named else OTHER
    error = _error_type(record.error_type, is_failed=not record.success)
    labels: Attributes = {
        "gen_ai.operation.name": record.operation,
        "intellirouter.task": record.task_type if record.task_type in catalog.tasks else OTHER,
    }
    if record.model_selected is not None:
        is_known = record.model_selected in catalog.models
        labels["intellirouter.model"] = record.model_selected if is_known else OTHER
    attributes = {**labels, "gen_ai.request.model": model, **_decided(record, catalog)}
    name = f"{record.operation} {model}"
    return Description(
        span=_span(name, record.timestamp, 0.0, record.latency_ms, attributes, error),
        labels={**labels, **_error(error)},
        duration_s=record.latency_ms / 1000,
        cost_usd=None if record.cost_usd is None else float(record.cost_usd),
        calls=tuple(
            _call(record, attempt, start_ms, said if attempt is record.attempts[-1] else None, catalog)
            for attempt, start_ms in zip(record.attempts, starts_ms, strict=True)
        ),
    )


def _decided(record: RequestRecord, catalog: Catalog) -> Attributes:
    """The attributes of the request's span besides its labels. Usage is an attribute of the call's span."""
    attributes: Attributes = {
        "intellirouter.request_id": record.id,
        "intellirouter.policy": record.policy_id,
        "intellirouter.strategy": record.strategy,
        "intellirouter.is_exploration": record.is_exploration,
        "intellirouter.attempts": len(record.attempts),
    }
    if record.is_streaming:
        attributes["gen_ai.request.stream"] = True
    if record.provider is not None:
        attributes["gen_ai.provider.name"] = provider_name(
            record.provider, catalog.providers.get(record.provider)
        )
    if record.cost_usd is not None:
        attributes["intellirouter.cost_usd"] = float(record.cost_usd)
    if record.overhead_ms is not None:
        attributes["intellirouter.overhead_ms"] = record.overhead_ms
    return attributes


def _call(
    record: RequestRecord, attempt: Attempt, start_ms: float, said: Said | None, catalog: Catalog
) -> Call:
    """Describe an attempt. If `said` is None, another attempt followed, so that this one has no answer."""
    model = catalog.models.get(attempt.model)
    named = OTHER if model is None else model.provider_model
    labels: Attributes = {
        "gen_ai.operation.name": record.operation,
        "gen_ai.provider.name": provider_name(attempt.provider, catalog.providers.get(attempt.provider)),
        "gen_ai.request.model": named,
        **_server(catalog.providers.get(attempt.provider)),
    }
    attributes: Attributes = {**labels, "intellirouter.model": OTHER if model is None else attempt.model}
    if attempt.status_code is not None:
        attributes["http.response.status_code"] = attempt.status_code
    first_chunk_s = None
    if said is not None:
        if record.is_streaming:
            attributes["gen_ai.request.stream"] = True
        if record.ttft_ms is not None:
            first_chunk_s = max(record.ttft_ms - start_ms, 0.0) / 1000
            attributes["gen_ai.response.time_to_first_chunk"] = first_chunk_s
        attributes |= _answered(record, said)
    error = _error_type(attempt.error_type, is_failed=attempt.error_type is not None)
    latency_ms = attempt.latency_ms or 0.0
    name = f"{record.operation} {named}"
    return Call(
        span=_span(name, record.timestamp, start_ms, latency_ms, attributes, error),
        labels=labels,
        duration_s=latency_ms / 1000,
        tokens={} if said is None else _known(input=record.tokens_input, output=record.tokens_output),
        first_chunk_s=first_chunk_s,
    )


def _answered(record: RequestRecord, said: Said) -> Attributes:
    counts = {
        "gen_ai.usage.input_tokens": record.tokens_input,
        "gen_ai.usage.output_tokens": record.tokens_output,
        "gen_ai.usage.cache_read.input_tokens": record.tokens_cached_input,
        "gen_ai.usage.cache_creation.input_tokens": record.tokens_cache_write,
        "gen_ai.usage.reasoning.output_tokens": record.tokens_reasoning,
    }
    attributes: Attributes = {**_known(**counts)}
    if said.id is not None:
        attributes["gen_ai.response.id"] = said.id
    if said.model is not None:
        attributes["gen_ai.response.model"] = said.model
    if said.finish_reasons:
        attributes["gen_ai.response.finish_reasons"] = list(said.finish_reasons)
    return attributes


def provider_name(name: str, entry: ProviderEntry | None) -> str:
    """`gen_ai.provider.name` of a provider of the catalog: the conventions' name, if they have one."""
    if entry is None:
        return OTHER
    return KINDS.get(entry.kind) or HOSTS.get(urlsplit(entry.base_url).hostname or "", name)


def _server(entry: ProviderEntry | None) -> Attributes:
    if entry is None:
        return {}
    url = urlsplit(entry.base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"server.address": url.hostname or OTHER, "server.port": port}


def _span(
    name: str, arrival: datetime, start_ms: float, took_ms: float, attributes: Attributes, error: str | None
) -> Span:
    start_ns = round(arrival.timestamp() * 1000) * 1_000_000 + round(start_ms * 1_000_000)
    return Span(
        name=name,
        start_ns=start_ns,
        end_ns=start_ns + round(took_ms * 1_000_000),
        attributes={**attributes, **_error(error)},
        error_type=error,
    )


def _error(error: str | None) -> Attributes:
    return {} if error is None else {"error.type": error}


def _error_type(error_type: str | None, *, is_failed: bool) -> str | None:
    if not is_failed:
        return None
    return error_type if error_type in ERROR_TYPES else OTHER


def _known(**counts: int | None) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count is not None}


def _shaped(value: object, shape: re.Pattern[str]) -> str | None:
    return value if isinstance(value, str) and shape.fullmatch(value) else None
