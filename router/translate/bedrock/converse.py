"""Translate requests, answers and events between Anthropic's messages and Converse.

Source: the API reference of Amazon Bedrock Runtime (Converse, ConverseStream).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import orjson

from router.translate.members import items, mapping, optional, optional_items, refuse
from router.translate.names import bedrock_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.translate.members import LeftOut

    Block = dict[str, Any]

API = "Bedrock's Converse API"
CONFIG = {
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop_sequences": "stopSequences",
}
MODEL_FIELDS = ("thinking", "top_k")
"""Members that Converse passes on to Anthropic's models as they are."""
HINTS = ("cache_control", "context_management", "diagnostics", "metadata", "speed")
TIERS = ("default", "flex", "priority", "reserved")
"""Service tiers of a request, in the words of chat completions too."""
TOOL_MEMBERS = ("type", "name", "description", "input_schema", "strict", "cache_control")
TOOL_HINTS = ("defer_loading", "eager_input_streaming", "input_examples", "allowed_callers")
STOP_REASONS = {
    "content_filtered": "refusal",
    "guardrail_intervened": "refusal",
    "model_context_window_exceeded": "max_tokens",
}
"""Stop reasons that Anthropic names otherwise."""
NO_TOKENS = {"input_tokens": 0, "output_tokens": 0}
"""The running totals at the start of a stream, which its end replaces."""
FAILURES = ("malformed_model_output", "malformed_tool_use")
"""Stop reasons that say that the answer is no answer."""


def converse_request(request: Mapping[str, Any], left: LeftOut, *, tier: object = None) -> dict[str, Any]:
    """Translate a request of Anthropic's. RequestError names a member that Converse lacks.

    `tier` is the service tier of the chat request, because Anthropic's shape has not all of them.
    """
    given = {name: value for name, value in request.items() if name not in ("model", "stream")}
    turns: list[dict[str, Any]] = []
    for at, turn in enumerate(items(given.pop("messages", None), "messages")):
        content = _blocks(turn["content"], f"messages.{at}", left)
        if turns and turns[-1]["role"] == turn["role"]:  # Converse wants the roles by turns
            turns[-1]["content"] += content
        else:
            turns.append({"role": turn["role"], "content": content})
    made: dict[str, Any] = {"messages": turns}
    system = given.pop("system", None)
    if system:
        made["system"] = _blocks(system, "system", left)
    config = {CONFIG[name]: given.pop(name) for name in CONFIG if name in given}
    if config:
        made["inferenceConfig"] = config
    _tools(given, made, left)
    fields = {name: given.pop(name) for name in MODEL_FIELDS if name in given}
    output = dict(optional(given.pop("output_config", None), "output_config"))
    if "format" in output:
        made["outputConfig"] = {"textFormat": _format(mapping(output.pop("format"), "output_config.format"))}
    if output:
        fields["output_config"] = output
    if fields:
        made["additionalModelRequestFields"] = fields
    if tier in TIERS:
        made["serviceTier"] = {"type": tier}
    elif tier not in (None, "auto"):
        left.wish("service_tier", f"is `{tier!s:.40}`; use one of auto, {', '.join(TIERS)}")
    for name in given:
        if name in HINTS:
            left.hint(name)
        else:
            left.wish(name, f"has no counterpart in {API}; leave it out")
    return made


def _format(wanted: dict[str, Any]) -> dict[str, Any]:
    schema = orjson.dumps(wanted.get("schema")).decode()
    return {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}


def _tools(given: dict[str, Any], made: dict[str, Any], left: LeftOut) -> None:
    tools: list[Block] = []
    for at, tool in enumerate(optional_items(given.pop("tools", None), "tools")):
        if tool.get("type") not in (None, "custom"):
            refuse(f"tools.{at}", f"`{tool.get('type')!s:.40}` has no counterpart in {API}")
        left.others(tool, TOOL_MEMBERS, f"tools.{at}", api=API, hints=TOOL_HINTS)
        spec = {"name": tool.get("name"), "inputSchema": {"json": tool.get("input_schema")}}
        spec |= {name: tool[name] for name in ("description", "strict") if tool.get(name)}
        tools.append({"toolSpec": spec})
        tools += _cache_point(tool)
    choice = optional(given.pop("tool_choice", None), "tool_choice")
    if not tools:
        return
    made["toolConfig"] = {"tools": tools}
    if choice.get("disable_parallel_tool_use"):
        left.wish("parallel_tool_calls", f"has no counterpart in {API}; leave it out")
    kind = choice.get("type")
    if kind in ("auto", "any"):
        made["toolConfig"]["toolChoice"] = {kind: {}}
    elif kind == "tool":
        made["toolConfig"]["toolChoice"] = {"tool": {"name": choice.get("name")}}
    elif kind == "none":
        # Converse cannot forbid tools that the conversation has called, and needs to know them.
        left.wish("tool_choice", f"`none` has no counterpart in {API}; leave the tools out")


def _cache_point(holder: Mapping[str, Any]) -> list[Block]:
    control = holder.get("cache_control")
    if not isinstance(control, dict):
        return []
    ttl = {"ttl": control["ttl"]} if "ttl" in control else {}
    return [{"cachePoint": {"type": "default", **ttl}}]


def _blocks(content: Any, where: str, left: LeftOut) -> list[Block]:
    if isinstance(content, str):
        return [{"text": content}] if content.strip() else []  # Converse refuses blank texts
    made: list[Block] = []
    for at, block in enumerate(items(content, f"{where}.content")):
        place = f"{where}.content.{at}"
        made.append(_block(block, place, left))
        made += _cache_point(block)
    return made


def _block(block: Block, where: str, left: LeftOut) -> Block:
    kind = block.get("type")
    if kind == "text":
        _known(block, ("text", "citations"), where, left)
        return {"text": block.get("text")}
    if kind == "image":
        source = mapping(block.get("source"), f"{where}.source")
        if source.get("type") != "base64":
            refuse(f"{where}.source", f"must be base64; {API} loads no address")
        form = str(source.get("media_type")).removeprefix("image/")
        return {"image": {"format": form, "source": {"bytes": source.get("data")}}}
    if kind == "document":
        source = mapping(block.get("source"), f"{where}.source")
        name = "".join(
            letter if letter.isalnum() else " " for letter in str(block.get("title") or "document")
        )
        if source.get("type") == "text":
            return {"document": {"format": "txt", "name": name, "source": {"text": source.get("data")}}}
        if source.get("type") != "base64" or source.get("media_type") != "application/pdf":
            refuse(f"{where}.source", f"must be a text, or a PDF in base64, for {API}")
        return {"document": {"format": "pdf", "name": name, "source": {"bytes": source.get("data")}}}
    if kind == "tool_use":
        _known(block, ("id", "name", "input", "caller"), where, left)
        return {
            "toolUse": {
                "toolUseId": bedrock_id(block.get("id")),
                "name": block.get("name"),
                "input": block.get("input"),
            }
        }
    if kind == "tool_result":
        result: Block = {
            "toolUseId": bedrock_id(block.get("tool_use_id")),
            "content": _blocks(block.get("content") or "", where, left),
        }
        if block.get("is_error"):
            result["status"] = "error"
        return {"toolResult": result}
    if kind == "thinking":
        thought = {"text": block.get("thinking"), "signature": block.get("signature")}
        return {"reasoningContent": {"reasoningText": thought}}
    if kind == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": block.get("data")}}
    return refuse(where, f"`{kind!s:.40}` has no counterpart in {API}")


def _known(block: Block, known: tuple[str, ...], where: str, left: LeftOut) -> None:
    left.others(block, ("type", "cache_control", *known), where, api=API)


def new_message_id() -> str:
    """An id for a message, which Converse has none of."""
    return f"msg_{secrets.token_hex(12)}"


def message_of(answer: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """Anthropic's message of an answer of Converse. RequestError if it is malformed."""
    said = mapping(mapping(answer.get("output"), "output").get("message"), "output.message")
    reason = answer.get("stopReason")
    return {
        "id": new_message_id(),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [
            made for block in items(said.get("content"), "content") if (made := _answered(block)) is not None
        ],
        "stop_reason": STOP_REASONS.get(str(reason), reason),
        "stop_sequence": None,
        "usage": usage_of(answer),
    }


def _answered(block: Block) -> Block | None:
    if isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    if block.get("toolUse") is not None:
        call = mapping(block["toolUse"], "toolUse")
        return {
            "type": "tool_use",
            "id": call.get("toolUseId"),
            "name": call.get("name"),
            "input": call.get("input") or {},
        }
    if block.get("reasoningContent") is not None:
        thought = mapping(block["reasoningContent"], "reasoningContent")
        if thought.get("redactedContent") is not None:
            return {"type": "redacted_thinking", "data": thought["redactedContent"]}
        said = optional(thought.get("reasoningText"), "reasoningText")
        return {
            "type": "thinking",
            "thinking": str(said.get("text") or ""),
            "signature": str(said.get("signature") or ""),
        }
    if block.get("citationsContent") is not None:
        parts = optional_items(
            mapping(block["citationsContent"], "citationsContent").get("content"), "content"
        )
        return {"type": "text", "text": "".join(str(part.get("text", "")) for part in parts)}
    return None


def usage_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Anthropic's usage of an answer, or of the last event of a stream."""
    usage = optional(answer.get("usage"), "usage")
    names = {
        "inputTokens": "input_tokens",
        "outputTokens": "output_tokens",
        "cacheReadInputTokens": "cache_read_input_tokens",
        "cacheWriteInputTokens": "cache_creation_input_tokens",
    }
    told: dict[str, Any] = {made: usage[name] for name, made in names.items() if usage.get(name) is not None}
    written = {"5m": 0, "1h": 0}
    for row in optional_items(usage.get("cacheDetails"), "cacheDetails"):
        if row.get("ttl") in written and isinstance(row.get("inputTokens"), int):
            written[row["ttl"]] += row["inputTokens"]
    tier = optional(answer.get("serviceTier"), "serviceTier").get("type")
    if tier is not None:
        told["service_tier"] = tier
    if optional(answer.get("performanceConfig"), "performanceConfig").get("latency") == "optimized":
        told["speed"] = "optimized"  # which costs more
    if any(written.values()):
        told["cache_creation"] = {f"ephemeral_{ttl}_input_tokens": count for ttl, count in written.items()}
    return told


class ConverseEvents:
    """Translates the events of ConverseStream to Anthropic's events."""

    def __init__(self, *, model: str) -> None:
        self._model = model
        self._kinds: dict[Any, str] = {}
        self._stop_reason: Any = None

    def feed(self, kind: str, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Translate the event named `kind`. RequestError if it is malformed."""
        index = event.get("contentBlockIndex", 0)
        if kind == "messageStart":
            message: Block = {
                "id": new_message_id(),
                "type": "message",
                "role": "assistant",
                "model": self._model,
                "content": [],
            }
            return [{"type": "message_start", "message": {**message, "usage": dict(NO_TOKENS)}}]
        if kind == "contentBlockStart":
            call = optional(optional(event.get("start"), "start").get("toolUse"), "toolUse")
            if not call:
                return []
            block: Block = {
                "type": "tool_use",
                "id": call.get("toolUseId"),
                "name": call.get("name"),
                "input": {},
            }
            return [self._start(index, "tool_use", block)]
        if kind == "contentBlockDelta":
            return self._delta(index, mapping(event.get("delta"), "delta"))
        if kind == "contentBlockStop":
            return [{"type": "content_block_stop", "index": index}] if self._kinds.pop(index, None) else []
        if kind == "messageStop":
            reason = event.get("stopReason")
            self._stop_reason = STOP_REASONS.get(str(reason), reason)
            return []  # the usage is still to come
        if kind == "metadata":
            mapping(event.get("usage"), "usage")
            delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
            return [
                {"type": "message_delta", "delta": delta, "usage": usage_of(event)},
                {"type": "message_stop"},
            ]
        return []

    def _start(self, index: Any, kind: str, block: Block) -> dict[str, Any]:
        self._kinds[index] = kind
        return {"type": "content_block_start", "index": index, "content_block": block}

    def _delta(self, index: Any, delta: Block) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        if isinstance(delta.get("text"), str):
            if index not in self._kinds:
                events.append(self._start(index, "text", {"type": "text", "text": ""}))
            made: dict[str, Any] = {"type": "text_delta", "text": delta["text"]}
        elif delta.get("toolUse") is not None:
            made = {
                "type": "input_json_delta",
                "partial_json": mapping(delta["toolUse"], "toolUse").get("input"),
            }
        elif delta.get("reasoningContent") is not None:
            thought = mapping(delta["reasoningContent"], "reasoningContent")
            if thought.get("redactedContent") is not None:
                block = {"type": "redacted_thinking", "data": thought["redactedContent"]}
                return [self._start(index, "redacted_thinking", block)]
            if index not in self._kinds:
                empty = {"type": "thinking", "thinking": "", "signature": ""}
                events.append(self._start(index, "thinking", empty))
            made = {"type": "thinking_delta", "thinking": thought.get("text") or ""}
            if thought.get("signature") is not None:
                made = {"type": "signature_delta", "signature": thought["signature"]}
        else:
            return []
        return [*events, {"type": "content_block_delta", "index": index, "delta": made}]
