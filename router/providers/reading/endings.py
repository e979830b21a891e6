"""How an answer ended: the one place that knows the spellings of a finish reason.

A choice is over when it has a finish reason. Some servers write an empty text into every chunk before,
and some name a failure as the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
WORDS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""OpenAI's finish reasons."""
OTHERS: Mapping[str, str] = {
    **dict.fromkeys(
        ("max_tokens", "max_output_tokens", "max_length", "max_new_tokens", "model_length", "token_limit",
         "model_context_window_exceeded"),
        "length",
    ),
    **dict.fromkeys(
        ("safety", "recitation", "content_filtered", "contentfilter", "refusal", "sensitive", "blocklist",
         "prohibited_content", "spii", "image_safety", "guardrail_intervened", "model_armor"),
        "content_filter",
    ),
    **dict.fromkeys(
        ("complete", "completed", "end_turn", "eos", "eos_token", "eos_found", "stop_sequence",
         "end_of_sequence"),
        "stop",
    ),
    **dict.fromkeys(("tool_use", "tool_call", "tooluse"), "tool_calls"),
}  # fmt: skip
"""Finish reasons of other makers, in lower case, with OpenAI's word. Clients decide by it how to go on."""


def finish_of(reason: object) -> str | None:
    """The finish reason, in OpenAI's word if there is one, or None if the answer is not over."""
    if not isinstance(reason, str):
        return None
    if reason in WORDS:
        return reason
    word = reason.strip().lower()
    if word in UNFINISHED:
        return None
    return word if word in WORDS else OTHERS.get(word, reason)


def settle(choices: list[Any], *, in_pieces: bool = False) -> tuple[Mapping[str, Any] | None, bool]:
    """(the error of a choice that failed, whether a choice must be written again).

    Every finish reason is put into OpenAI's word, or into None if it is none. `in_pieces`: these are the
    choices of a chunk. A message in one of them is its delta.
    """
    failed: Mapping[str, Any] | None = None
    is_reworded = False
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        given = reason = choice.get("finish_reason")
        if reason is not None:
            reason = choice["finish_reason"] = finish_of(reason)
            is_reworded |= reason is not None and reason != given
        if in_pieces and choice.get("delta") is None and isinstance(choice.get("message"), dict):
            choice["delta"], is_reworded = choice.pop("message"), True
        said = choice.get("error")
        if reason is not None and reason.strip().lower() in FAILED:
            failed = failed or _error_of(said, reason)
        elif said:
            failed = failed or _error_of(said, "error")
    return failed, is_reworded


def _error_of(said: object, reason: str) -> Mapping[str, Any]:
    if isinstance(said, dict):
        return said
    return {"message": said if isinstance(said, str) and said else f"the answer ended with `{reason}`"}
