"""Translate answers between OpenAI's responses API and chat completions, both ways.

Source: OpenAI's API reference (the response object), as of the `openai` package 3.54.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.translate.calls import usual, whole_calls
from router.translate.members import RESPONSES, optional, optional_items
from router.translate.thoughts import thoughts_in
from router.translate.usage import SEARCHES, UNPRICED, usage_from_openai, usage_from_openai_responses

if TYPE_CHECKING:
    from collections.abc import Mapping

    Item = dict[str, Any]

ECHOED: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""Members of a response that repeat the request's, with their defaults if the request omits them."""
REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer is incomplete, by its finish reason."""
FEES = frozenset({"code_interpreter_call", "image_generation_call", "shell_call"})
"""Items of an answer that OpenAI charges in addition to tokens, and not by the use."""
USES = {"web_search_requests": "web_search_call", SEARCHES: "file_search_call"}
"""Items that it charges by the use, under the name of their count."""
MEDIA = ("audio_tokens", "image_tokens", "video_tokens")
TOKENS = frozenset(
    {"input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "output_tokens_details"}
)
"""Members of a usage that chat has under other names."""


def head_of(asked: Mapping[str, Any], *, response_id: str, created: int) -> dict[str, Any]:
    """A response that has begun. `created` is in seconds since 1970."""
    echoed = {name: default if asked.get(name) is None else asked[name] for name, default in ECHOED.items()}
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": asked.get("model"),
        "output": [],
        "usage": None,
        # The router keeps no responses, so a client cannot retrieve this one later.
        "store": False,
        **echoed,
    }


def response_of(
    completion: Mapping[str, Any],
    asked: Mapping[str, Any],
    *,
    response_id: str,
    created: int,
    maker: str | None = None,
) -> dict[str, Any]:
    """Translate a completion to a response. The responses API's own answer stays unchanged.

    `maker` is the name of the provider that answered, for the members that it demands back.
    """
    native = completion.get(RESPONSES)
    if isinstance(native, dict):
        return native
    choice = next(iter(optional_items(completion.get("choices"), "choices")), {})
    output = output_of(optional(choice.get("message"), "message"), response_id, maker)
    head = head_of(asked, response_id=response_id, created=created)
    return finished(
        {**head, "model": completion.get("model") or head["model"]},
        output,
        choice.get("finish_reason"),
        response_usage(completion),
    )


def finished(
    head: Mapping[str, Any], output: list[Item], finish_reason: object, usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Complete the response."""
    reason = REASONS.get(finish_reason) if isinstance(finish_reason, str) else None
    return {
        **head,
        "status": "completed" if reason is None else "incomplete",
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": output,
        "usage": usage,
    }


def output_of(said: Mapping[str, Any], response_id: str, maker: str | None = None) -> list[Item]:
    """The items of a chat message: reasoning, message, calls."""
    said = usual(said)
    output: list[Item] = []
    for thought, signature in thoughts_in(said, maker):
        name = item_id("rs", response_id, len(output))
        output.append(reasoning_item(name, thought or None, signature=signature))
    content = said.get("content")
    parts = []
    if isinstance(content, str) and content:
        parts.append(text_part(content))
    if isinstance(said.get("refusal"), str) and said["refusal"]:
        parts.append(refusal_part(said["refusal"]))
    if parts:
        output.append(message_item(item_id("msg", response_id, len(output)), parts))
    for call in whole_calls(said.get("tool_calls")):
        name = item_id("fc", response_id, len(output))
        output.append(call_item(name, call.id, call.name, call.arguments or "{}"))
    return output


def item_id(kind: str, response_id: str, place: int) -> str:
    """The id of the item at `place` of a response."""
    return f"{kind}_{response_id.removeprefix('resp_')}_{place}"


def text_part(content: str) -> Item:
    """A text of the answer."""
    return {"type": "output_text", "text": content, "annotations": [], "logprobs": []}


def refusal_part(content: str) -> Item:
    """A refusal to answer."""
    return {"type": "refusal", "refusal": content}


def message_item(name: str, parts: list[Item], status: str = "completed") -> Item:
    """The assistant's message."""
    return {"id": name, "type": "message", "role": "assistant", "status": status, "content": parts}


def reasoning_item(
    name: str, thought: str | None, status: str = "completed", *, signature: str | None = None
) -> Item:
    """The model's reasoning. Clients send the signature back as they got it."""
    content = [] if thought is None else [{"type": "reasoning_text", "text": thought}]
    item = {"id": name, "type": "reasoning", "summary": [], "content": content, "status": status}
    return item if signature is None else {**item, "encrypted_content": signature}


def call_item(name: str, call_id: Any, function: Any, arguments: str, status: str = "completed") -> Item:
    """A call of a function."""
    return {
        "id": name,
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": function,
        "arguments": arguments,
    }


def response_usage(completion: Mapping[str, Any]) -> dict[str, Any] | None:
    """The usage in the responses API's words, with our `cost_usd`. None if it is unknown.

    The API cannot express an unknown detail, and clients add details up, so it is 0 here. The record
    keeps the difference.
    """
    usage = usage_from_openai(completion)
    given, answered = usage.tokens_input, usage.tokens_output
    if given is None or answered is None:
        return None
    details = {
        "cached_tokens": usage.tokens_cached_input or 0,
        "cache_write_tokens": usage.tokens_cache_write or 0,
    }
    told = {
        "input_tokens": given,
        "input_tokens_details": details,
        "output_tokens": answered,
        "output_tokens_details": {"reasoning_tokens": usage.tokens_reasoning or 0},
        "total_tokens": given + answered,
    }
    raw = completion["usage"]
    return {**told, "cost_usd": raw["cost_usd"]} if "cost_usd" in raw else told


def completion_of(response: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a response to a completion, which carries it whole. RequestError if it is malformed."""
    output = optional_items(response.get("output"), "output")
    texts, refusals, thoughts, calls = [], [], [], []
    for item in output:
        if item.get("type") == "message":
            for part in optional_items(item.get("content"), "output.content"):
                texts += [str(part["text"])] if part.get("type") == "output_text" and "text" in part else []
                refusals += [str(part["refusal"])] if part.get("type") == "refusal" else []
        elif item.get("type") == "reasoning":
            parts = optional_items(item.get("content"), "output") or optional_items(
                item.get("summary"), "output"
            )
            thoughts += [str(part.get("text", "")) for part in parts]
        elif item.get("type") == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            calls.append({"id": item.get("call_id"), "type": "function", "function": function})
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    if refusals:
        message["refusal"] = "".join(refusals)
    if thoughts:
        message["reasoning_content"] = "\n\n".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    completion: dict[str, Any] = {
        "id": response.get("id"),
        "object": "chat.completion",
        "created": response.get("created_at"),
        "model": response.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason_of(response)}],
        RESPONSES: response,
    }
    if response.get("service_tier") is not None:
        completion["service_tier"] = response["service_tier"]
    if usage := chat_usage(response):
        completion["usage"] = usage
    return completion


def finish_reason_of(response: Mapping[str, Any]) -> str | None:
    """Chat's word for how a response ended, or None if it has not ended."""
    status = response.get("status")
    if status == "incomplete":
        reason = optional(response.get("incomplete_details"), "incomplete_details").get("reason")
        return "content_filter" if reason == "content_filter" else "length"
    if status != "completed":
        return None
    output = optional_items(response.get("output"), "output")
    return "tool_calls" if any(item.get("type") == "function_call" for item in output) else "stop"


def chat_usage(response: Mapping[str, Any]) -> dict[str, Any] | None:
    """Chat's usage of a response, with charges other than tokens. None if the response reports none."""
    usage = usage_from_openai_responses({"usage": response.get("usage")})
    output = optional_items(response.get("output"), "output")
    fees = sorted({str(item.get("type")) for item in output} & FEES)
    uses = {
        name: count for name, kind in USES.items() if (count := sum(_is_use(item, kind) for item in output))
    }
    counts = {"prompt_tokens": usage.tokens_input, "completion_tokens": usage.tokens_output}
    told: dict[str, Any] = {name: count for name, count in counts.items() if count is not None}
    raw = optional(response.get("usage"), "usage")
    details = {"cached_tokens": usage.tokens_cached_input, "cache_write_tokens": usage.tokens_cache_write}
    given, made = (optional(raw.get(f"{name}_tokens_details"), "usage") for name in ("input", "output"))
    details |= {name: given[name] for name in MEDIA if name in given}
    if known := {name: count for name, count in details.items() if count is not None}:
        told["prompt_tokens_details"] = known
    answered = {name: made[name] for name in ("reasoning_tokens", *MEDIA) if made.get(name) is not None}
    if answered:
        told["completion_tokens_details"] = answered
    if told:
        told |= {name: value for name, value in raw.items() if name not in TOKENS}
    if told and uses:
        told["server_tool_use"] = uses
    if told and fees:
        told[UNPRICED] = fees
    return told or None


def _is_use(item: Mapping[str, Any], kind: str) -> bool:
    """Whether an item is a charged use. Of a web search only the search is, and no page that it opens."""
    action = item.get("action")
    return item.get("type") == kind and (
        not isinstance(action, dict) or action.get("type") in (None, "search")
    )
