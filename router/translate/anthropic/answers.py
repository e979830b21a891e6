"""Translate answers, both ways: Anthropic's message and OpenAI's chat completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from router.errors import RequestError
from router.translate.anthropic.requests_in import assistant_message
from router.translate.calls import arguments_object, usual, whole_calls
from router.translate.members import JSON_TOOL, NATIVE, items, optional, optional_items
from router.translate.thoughts import Thoughts
from router.translate.usage import UNPRICED, usage_from_anthropic, usage_from_openai

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.translate.anthropic.contents import Block

FINISH_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "stop",
    "refusal": "content_filter",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
}
STOP_REASONS: Mapping[str, str] = {
    "content_filter": "refusal",
    "function_call": "tool_use",
    "length": "max_tokens",
    "stop": "end_turn",
    "tool_calls": "tool_use",
}
CHARACTERS_PER_TOKEN = 4
"""For estimates where Anthropic's API requires a count that the provider does not give."""


CHARGED = ("server_tool_use", "service_tier", "speed", "inference_geo")
"""Members of Anthropic's usage that decide what an answer costs, in addition to its tokens."""


def finish_reason_of(stop_reason: object, *, is_json: bool = False) -> str | None:
    """OpenAI's word for Anthropic's. `is_json` means that the only tool called represents JSON mode."""
    if stop_reason is None:
        return None
    return "stop" if is_json else FINISH_REASONS.get(str(stop_reason), "stop")


def stop_reason_of(finish_reason: object) -> str | None:
    """Anthropic's word for OpenAI's."""
    return STOP_REASONS.get(str(finish_reason), "end_turn") if finish_reason else None


def stop_reason_with(stop_reason: str | None, *, has_calls: bool) -> str | None:
    """The stop reason of an answer. Clients run tools by it, so that calls decide, and not the server's word.

    An answer that was cut or filtered says so, even if it has calls.
    """
    if stop_reason in (None, "end_turn", "tool_use"):
        return "tool_use" if has_calls else (stop_reason and "end_turn")
    return stop_reason


def completion_of(message: Mapping[str, Any], *, created: int) -> dict[str, Any]:
    """OpenAI's completion for Anthropic's message. `created` is in seconds since 1970.

    The member `anthropic` of the completion and of its message holds the parts that OpenAI's shape lacks.
    RequestError if the message is not Anthropic's.
    """
    content = items(message.get("content"), "content")
    calls = [block for block in content if block.get("type") == "tool_use"]
    is_json = len(calls) == 1 and calls[0].get("name") == JSON_TOOL
    if is_json:
        answer = {"type": "text", "text": orjson.dumps(calls[0].get("input")).decode()}
        content = [answer if block is calls[0] else block for block in content]
    said = assistant_message(content, "content")
    choice = {
        "index": 0,
        "message": {**said, "refusal": None},
        "logprobs": None,
        "finish_reason": finish_reason_of(message.get("stop_reason"), is_json=is_json),
    }
    completion: dict[str, Any] = {
        "id": message.get("id"),
        "object": "chat.completion",
        "created": created,
        "model": message.get("model"),
        "choices": [choice],
    }
    if usage := chat_usage(message):
        completion["usage"] = usage
    if not is_json:
        again = message_of(completion)
        rest = {name: value for name, value in message.items() if again.get(name) != value}
        if rest:
            completion[NATIVE] = rest
    return completion


def message_of(
    completion: Mapping[str, Any], *, maker: str | None = None, tokens_input: int | None = None
) -> dict[str, Any]:
    """Anthropic's message of a completion. RequestError if its tool arguments are not a JSON object.

    `maker` is the name of the provider that answered, for the members that it demands back. If
    `tokens_input` is given, it replaces a count that the provider leaves out.
    """
    choice = next(iter(optional_items(completion.get("choices"), "choices")), {})
    said = optional(choice.get("message"), "message")
    is_native = NATIVE in completion or NATIVE in said
    stop_reason = "refusal" if said.get("refusal") else stop_reason_of(choice.get("finish_reason"))
    content = _content(said, maker, is_cut=stop_reason == "max_tokens")
    if not is_native:
        has_calls = any(block.get("type") == "tool_use" for block in content)
        stop_reason = stop_reason_with(stop_reason or "end_turn", has_calls=has_calls)
    message = {
        "id": completion.get("id"),
        "type": "message",
        "role": "assistant",
        "model": completion.get("model"),
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": message_usage(completion),
    }
    message |= optional(completion.get(NATIVE), NATIVE)
    if tokens_input is not None:
        _fill(message["usage"], tokens_input, content)
    return message


def _fill(usage: Any, tokens_input: int, content: list[Block]) -> None:
    """Anthropic's API requires both counts, and its clients compute with them."""
    if not isinstance(usage, dict):
        return
    if usage.get("input_tokens") is None:
        usage["input_tokens"] = tokens_input
    if usage.get("output_tokens") is None:
        pieces = (
            str(block.get("text") or block.get("thinking") or block.get("input") or "") for block in content
        )
        usage["output_tokens"] = -(-sum(map(len, pieces)) // CHARACTERS_PER_TOKEN)


def _content(said: Mapping[str, Any], maker: str | None, *, is_cut: bool) -> list[Block]:
    native = optional(said.get(NATIVE), NATIVE)
    if "content" in native:
        return items(native["content"], f"{NATIVE}.content")
    said = usual(said)
    blocks: list[Block] = []
    thoughts = Thoughts()
    if thought := thoughts.feed(said):
        blocks.append({"type": "thinking", "thinking": thought, "signature": thoughts.signature(maker) or ""})
    blocks.extend({"type": "redacted_thinking", "data": data} for data in thoughts.left(maker))
    texts = [said.get(name) for name in ("content", "refusal")]
    blocks.extend({"type": "text", "text": text} for text in texts if isinstance(text, str) and text)
    for position, call in enumerate(whole_calls(said.get("tool_calls"))):
        where = f"tool_calls.{position}.function.arguments"
        try:
            given = arguments_object(call.arguments, where)
        except RequestError:
            if not is_cut:
                raise
            given = {}  # the bound on the output cut the call, which the stop reason says
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": given})
    return blocks


def chat_usage(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """OpenAI's usage from Anthropic's, or None if the message reports none."""
    usage = usage_from_anthropic(message)
    given, answered = usage.tokens_input, usage.tokens_output
    if given is None and answered is None:
        return None
    told: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": answered}
    if given is not None and answered is not None:
        told["total_tokens"] = given + answered
    details = {
        "cached_tokens": usage.tokens_cached_input,
        "cache_write_tokens": usage.tokens_cache_write,
        "cache_write_1h_tokens": usage.tokens_cache_write_1h,  # not OpenAI's member, but they cost more
    }
    if known := {name: count for name, count in details.items() if count is not None}:
        told["prompt_tokens_details"] = known
    if usage.tokens_reasoning is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.tokens_reasoning}
    raw = message["usage"]
    told |= {name: raw[name] for name in CHARGED if raw.get(name) is not None}
    if usage.unpriced:
        told[UNPRICED] = list(usage.unpriced)
    return told


def message_usage(completion: Mapping[str, Any]) -> dict[str, Any]:
    """Anthropic's usage from an OpenAI server's. None means unknown."""
    usage = usage_from_openai(completion)
    cached, written = usage.tokens_cached_input, usage.tokens_cache_write
    fresh = None
    if usage.tokens_input is not None:
        fresh = max(usage.tokens_input - (cached or 0) - (written or 0), 0)
    told: dict[str, Any] = {"input_tokens": fresh, "output_tokens": usage.tokens_output}
    if cached is not None:
        told["cache_read_input_tokens"] = cached
    if written is not None:
        told["cache_creation_input_tokens"] = written
    if usage.tokens_reasoning is not None:
        told["output_tokens_details"] = {"thinking_tokens": usage.tokens_reasoning}
    return told
