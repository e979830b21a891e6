"""Where a chat answer reports its usage, and in whose names: the one place that knows.

| Server | Place, or names |
|---|---|
| OpenAI and most | `usage` of the answer or of a chunk: `prompt_tokens`, `completion_tokens` |
| Groq | `x_groq.usage` of the last chunk |
| Moonshot | `usage` of the last choice |
| gateways before other APIs | `usage` in the names of OpenAI's responses API or of Anthropic's messages |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.errors import RequestError
from router.translate.anthropic.answers import chat_usage as usage_of_message
from router.translate.responses.answers import chat_usage as usage_of_response

if TYPE_CHECKING:
    from collections.abc import Mapping

GROQ = "x_groq"
CACHE_COUNTS = ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation")
"""Anthropic's counts, which its `input_tokens` leave out."""


def settle_usage(body: dict[str, Any]) -> bool:
    """Put the usage of an answer, or of a chunk, in OpenAI's place and names. Returns whether it changed.

    A usage that cannot be read stays as it is, and counts as unknown.
    """
    usage = body.get("usage")
    if not isinstance(usage, dict):
        found = _elsewhere(body)
        if found is None:
            return False
        body["usage"] = _in_chat_names(found) or found
        return True
    named = _in_chat_names(usage)
    if named is None:
        return False
    body["usage"] = named
    return True


def _elsewhere(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The usage that is reported in another place than OpenAI's."""
    holder = body.get(GROQ)
    if isinstance(holder, dict):
        usage = holder.get("usage")
        return usage if isinstance(usage, dict) else None
    choices = body.get("choices")
    # The usage of one choice of several is a part, and no sum says which parts the prompt is in.
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    usage = choices[0].get("usage")
    return usage if isinstance(usage, dict) and not choices[0].get("index") else None


def _in_chat_names(usage: dict[str, Any]) -> dict[str, Any] | None:
    """The same usage in the names of chat completions; None if it has them already, or no counts."""
    if "prompt_tokens" in usage or "completion_tokens" in usage:
        return None
    given, made = usage.get("input_tokens"), usage.get("output_tokens")
    if type(given) is not int or type(made) is not int:
        return None
    is_anthropic = any(usage.get(name) for name in CACHE_COUNTS) and usage.get("total_tokens") != given + made
    try:
        named = usage_of_message({"usage": usage}) if is_anthropic else usage_of_response({"usage": usage})
    except RequestError:  # details of an unexpected type
        return None
    if named is not None and not is_anthropic:
        named.setdefault("total_tokens", given + made)
    return named
