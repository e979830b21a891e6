"""Two parallel calls and their results, as servers of Anthropic, Google, Amazon and the responses API do.

Each server refuses a turn that lacks what it demands back, and answers `ANSWER` to the right results.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import orjson

from tests.router.providers.spelled import ANSWER

CITIES = ("Rome", "Oslo")
RESULTS = {"Rome": "sunny", "Oslo": "rainy"}
PLEASE, SENTENCE = "an error, please", "no zebras are allowed"
"""The text of a request that every server refuses, and the reason that it gives."""
SIGNATURE = "c2lnbmVkIGJ5IG1l"


def anthropic(body: dict[str, Any]) -> Any:
    """Anthropic's messages: where thinking is asked for, it must come back before the calls."""
    is_thinking = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    results: dict[str, str] = {}
    calls: dict[str, str] = {}
    for turn in body["messages"]:
        for block in turn["content"] if isinstance(turn["content"], list) else []:
            if block["type"] == "tool_use":
                calls[block["id"]] = block["input"]["city"]
                if is_thinking and turn["content"][0]["type"] != "thinking":
                    return _claude_error("Expected `thinking`, but found `tool_use`")
            if block["type"] == "thinking" and block["signature"] != SIGNATURE:
                return _claude_error("Invalid `signature` in `thinking` block")
            if block["type"] == "tool_result":
                results[calls[block["tool_use_id"]]] = _text(block["content"])
    blocks: list[dict[str, Any]] = [{"type": "text", "text": ANSWER}]
    if not results and "tools" in body:
        blocks = [{"type": "thinking", "thinking": "I should look.", "signature": SIGNATURE}]
        blocks += [
            {"type": "tool_use", "id": f"toolu_{number}", "name": "get_weather", "input": {"city": city}}
            for number, city in enumerate(CITIES)
        ]
    elif results not in ({}, RESULTS):
        return _claude_error(f"wrong results {results}")
    usage = {"input_tokens": 100, "output_tokens": 20}
    reason = "end_turn" if len(blocks) == 1 else "tool_use"
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
    if not body.get("stream"):
        return {**head, "content": blocks, "stop_reason": reason, "stop_sequence": None, "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**head, "content": [], "stop_reason": None, "usage": usage}}
    ]
    for index, block in enumerate(blocks):
        forms: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
            "text": ({"text": ""}, [{"type": "text_delta", "text": block.get("text")}]),
            "thinking": (
                {"thinking": "", "signature": ""},
                [
                    {"type": "thinking_delta", "thinking": block.get("thinking")},
                    {"type": "signature_delta", "signature": block.get("signature")},
                ],
            ),
            "tool_use": (
                {"input": {}},
                [{"type": "input_json_delta", "partial_json": orjson.dumps(block.get("input")).decode()}],
            ),
        }
        empty, deltas = forms[block["type"]]
        events.append({"type": "content_block_start", "index": index, "content_block": {**block, **empty}})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events += [
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return [b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events]


def _claude_error(message: str) -> Any:
    return 400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}}


def gemini(body: dict[str, Any], *, is_streamed: bool) -> Any:
    """Google's generateContent: the first call of a turn must have its thought signature."""
    results: dict[str, str] = {}
    calls: list[str] = []
    for turn in body["contents"]:
        called = [part for part in turn["parts"] if "functionCall" in part]
        if called and called[0].get("thoughtSignature") != SIGNATURE:
            message = "Function call is missing a thought_signature in functionCall parts."
            return 400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
        calls += [part["functionCall"]["args"]["city"] for part in called]
        found = [
            part["functionResponse"]["response"]["result"]
            for part in turn["parts"]
            if "functionResponse" in part
        ]
        results.update(zip(calls, found, strict=False))
    parts: list[dict[str, Any]] = [{"text": ANSWER}]
    if not results and "tools" in body:
        parts = [{"text": "I should look.", "thought": True}]
        parts += [{"functionCall": {"name": "get_weather", "args": {"city": city}}} for city in CITIES]
        parts[1]["thoughtSignature"] = SIGNATURE
    elif results not in ({}, RESULTS):
        return 400, {
            "error": {"code": 400, "message": f"wrong results {results}", "status": "INVALID_ARGUMENT"}
        }
    counts = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 15,
        "thoughtsTokenCount": 5,
        "totalTokenCount": 120,
    }
    head = {"modelVersion": "gemini-3-pro", "responseId": "r1"}

    def portion(said: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": said}, "index": 0}
        if reason is not None:
            candidate["finishReason"] = reason
        return {"candidates": [candidate], "usageMetadata": counts, **head}

    if not is_streamed:
        return portion(parts, "STOP")
    portions = [portion([part], None) for part in parts]
    return [b"data: %b\r\n\r\n" % orjson.dumps(item) for item in (*portions, portion([{"text": ""}], "STOP"))]


def converse(body: dict[str, Any], *, is_streamed: bool) -> Any:
    """Bedrock's Converse: where thinking is asked for, it must come back before the calls."""
    fields = body.get("additionalModelRequestFields", {})
    is_thinking = fields.get("thinking", {}).get("type") in ("enabled", "adaptive")
    results: dict[str, str] = {}
    calls: dict[str, str] = {}
    for turn in body["messages"]:
        for block in turn["content"]:
            if "toolUse" in block:
                calls[block["toolUse"]["toolUseId"]] = block["toolUse"]["input"]["city"]
                first = turn["content"][0].get("reasoningContent", {}).get("reasoningText", {})
                if is_thinking and first.get("signature") != SIGNATURE:
                    return 400, {"message": "Expected `thinking`, but found `tool_use`"}
            if "toolResult" in block:
                results[calls[block["toolResult"]["toolUseId"]]] = block["toolResult"]["content"][0]["text"]
    blocks: list[dict[str, Any]] = [{"text": ANSWER}]
    if not results and "toolConfig" in body:
        thought = {"text": "I should look.", "signature": SIGNATURE}
        blocks = [{"reasoningContent": {"reasoningText": thought}}]
        blocks += [
            {"toolUse": {"toolUseId": f"tooluse_{number}", "name": "get_weather", "input": {"city": city}}}
            for number, city in enumerate(CITIES)
        ]
    elif results not in ({}, RESULTS):
        return 400, {"message": f"wrong results {results}"}
    usage = {"inputTokens": 100, "outputTokens": 20, "totalTokens": 120, "cacheReadInputTokens": 10}
    reason = "end_turn" if len(blocks) == 1 else "tool_use"
    if not is_streamed:
        return {
            "output": {"message": {"role": "assistant", "content": blocks}},
            "stopReason": reason,
            "usage": usage,
        }
    events: list[tuple[str, dict[str, Any]]] = [("messageStart", {"role": "assistant"})]
    for index, block in enumerate(blocks):
        place: dict[str, Any] = {"contentBlockIndex": index}
        if "toolUse" in block:
            call = block["toolUse"]
            start = {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}
            events.append(("contentBlockStart", {**place, "start": start}))
            deltas: list[dict[str, Any]] = [{"toolUse": {"input": orjson.dumps(call["input"]).decode()}}]
        elif "text" in block:
            deltas = [{"text": block["text"][:4]}, {"text": block["text"][4:]}]
        else:
            said = block["reasoningContent"]["reasoningText"]
            deltas = [{"reasoningContent": {name: said[name]}} for name in ("text", "signature")]
        events += [("contentBlockDelta", {**place, "delta": delta}) for delta in deltas]
        events.append(("contentBlockStop", place))
    events += [
        ("messageStop", {"stopReason": reason}),
        ("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]
    return [framed(kind, event) for kind, event in events]


def framed(kind: str, event: dict[str, Any], *, is_error: bool = False) -> bytes:
    """An event in Amazon's binary encoding."""
    payload = orjson.dumps(event)
    names = (":exception-type", "exception") if is_error else (":event-type", "event")
    headers = {names[0]: kind, ":content-type": "application/json", ":message-type": names[1]}
    head = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack("!I", zlib.crc32(message))


def responses(body: dict[str, Any]) -> Any:
    """OpenAI's responses API: the encrypted reasoning must come back before the calls."""
    results: dict[str, str] = {}
    calls: dict[str, str] = {}
    given = body["input"] if isinstance(body["input"], list) else []
    for position, item in enumerate(given):
        if item.get("type") == "function_call":
            calls[item["call_id"]] = orjson.loads(item["arguments"])["city"]
            kinds = [
                other.get("encrypted_content")
                for other in given[:position]
                if other.get("type") == "reasoning"
            ]
            if kinds != ["gAAAAsecret"]:
                message = "Item of type 'function_call' was provided without its required 'reasoning' item"
                return 400, {"error": {"message": message, "type": "invalid_request_error", "param": "input"}}
        if item.get("type") == "function_call_output":
            results[calls[item["call_id"]]] = item["output"]
    output: list[dict[str, Any]]
    if results or not body.get("tools"):
        part = {"type": "output_text", "text": ANSWER, "annotations": [], "logprobs": []}
        output = [
            {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        ]
    else:
        output = [{"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAAsecret"}]
        output += [
            {
                "id": f"fc_{number}",
                "type": "function_call",
                "status": "completed",
                "call_id": f"call_{number}",
                "name": "get_weather",
                "arguments": orjson.dumps({"city": city}).decode(),
            }
            for number, city in enumerate(CITIES)
        ]
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }
    head: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": body["model"],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    done = {**head, "status": "completed", "output": output, "usage": usage}
    if not body.get("stream"):
        return done
    started = {**head, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": started}]
    for index, item in enumerate(output):
        place: dict[str, Any] = {"output_index": index}
        empties: dict[str, Any] = {"message": {"content": []}, "function_call": {"arguments": ""}}
        empty = empties.get(item["type"], {})
        events.append({"type": "response.output_item.added", **place, "item": {**item, **empty}})
        at: dict[str, Any] = {**place, "item_id": item["id"]}
        if item["type"] == "message":
            part = item["content"][0]
            at["content_index"] = 0
            events += [
                {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
                {"type": "response.output_text.delta", **at, "delta": ANSWER, "logprobs": []},
                {"type": "response.output_text.done", **at, "text": ANSWER, "logprobs": []},
                {"type": "response.content_part.done", **at, "part": part},
            ]
        elif item["type"] == "function_call":
            said = item["arguments"]
            events += [
                {"type": "response.function_call_arguments.delta", **at, "delta": said},
                {
                    "type": "response.function_call_arguments.done",
                    **at,
                    "name": item["name"],
                    "arguments": said,
                },
            ]
        events.append({"type": "response.output_item.done", **place, "item": item})
    events.append({"type": "response.completed", "response": done})
    return [
        b"event: %b\ndata: %b\n\n"
        % (event["type"].encode(), orjson.dumps({**event, "sequence_number": number}))
        for number, event in enumerate(events)
    ]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def answer_at(path: str, body: dict[str, Any]) -> Any:
    """The answer at a path other than chat's; None for chat's."""
    if PLEASE in orjson.dumps(body).decode():
        error = {"type": "invalid_request_error", "code": "invalid_value", "message": SENTENCE}
        return 400, {"message": SENTENCE} if "/converse" in path else {"type": "error", "error": error}
    if path.endswith("/messages"):
        return anthropic(body)
    if path.endswith("/responses"):
        return responses(body)
    if ":generateContent" in path:
        return gemini(body, is_streamed=False)
    if ":streamGenerateContent" in path:
        return gemini(body, is_streamed=True)
    if path.endswith("/converse"):
        return converse(body, is_streamed=False)
    return converse(body, is_streamed=True) if path.endswith("/converse-stream") else None
