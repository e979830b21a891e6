"""How an answer ended: the one place that knows the spellings of a finish reason.

A choice is over when it has a finish reason. Some servers write an empty text into every chunk before,
and some name a failure as the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

UNFINISHED = frozenset({"", "null", "none", "finish_reason_unspecified"})
"""Texts that servers write while an answer goes on."""
FAILED = frozenset(
    {
        "error",  # OpenRouter, Mistral, vLLM
        "abort",  # vLLM, SGLang: the server dropped the request
        "aborted",
        "cancelled",
        "canceled",
        "user_cancel",  # Cohere
        "error_limit",
        "error_toxic",
        "timeout",
        "network_error",  # Zhipu
        "insufficient_system_resource",  # DeepSeek
        "internal_error",
        "server_error",
        "malformed_function_call",  # Gemini: the call cannot be read
        "unexpected_tool_call",
    }
)
"""Finish reasons that say that there is no answer."""


def finish_of(reason: object) -> str | None:
    """The finish reason, or None if the answer is not over."""
    if not isinstance(reason, str) or reason.strip().lower() in UNFINISHED:
        return None
    return reason


def settle(choices: list[Any]) -> Mapping[str, Any] | None:
    """Write None for every finish reason that is none; return the error of a choice that failed, if any."""
    failed: Mapping[str, Any] | None = None
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        reason = choice.get("finish_reason")
        if reason is not None:
            reason = choice["finish_reason"] = finish_of(reason)
        said = choice.get("error")
        if reason is not None and reason.strip().lower() in FAILED:
            failed = failed or _error_of(said, reason)
        elif said:
            failed = failed or _error_of(said, "error")
    return failed


def _error_of(said: object, reason: str) -> Mapping[str, Any]:
    if isinstance(said, dict):
        return said
    return {"message": said if isinstance(said, str) and said else f"the answer ended with `{reason}`"}
