"""The fake provider's answers in the shape of OpenAI's responses API, and its vectors.

It is written only from OpenAI's reference, so that it tests the router's own reading of that API.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from router.providers.fake.stream import CutError, deltas

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from router.providers.fake.answers import Answer

    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DIMENSIONS = 4
FAULTY_EVENTS = {
    "truncated": b'event: response.output_text.delta\ndata: {"type":"response.outp',
    "not-json": b"data: <html>\n\n",
    "error": (
        b'event: error\ndata: {"type":"error","code":"scripted_error","message":"The script fails this'
        b' stream","param":null,"sequence_number":9}\n\n'
    ),
    "ended": b"",
}


def response(request: dict[str, Any], answer: Answer) -> Answer:
    """The answer as a response object."""
    return replace(answer, body=orjson.dumps(_response(request, answer, "completed", _items(answer))))


def embeddings(request: dict[str, Any], answer: Answer) -> Answer:
    """A vector for each input, which depends only on the model and the input."""
    given = request["input"]
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    rows = []
    for index, item in enumerate(inputs):
        digest = hashlib.sha256(orjson.dumps([request["model"], item])).digest()
        vector = [byte / 256 for byte in digest[: request.get("dimensions", DIMENSIONS)]]
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        told: Any = packed if request.get("encoding_format") == "base64" else vector
        rows.append({"object": "embedding", "index": index, "embedding": told})
    body: dict[str, Any] = {"object": "list", "data": rows, "model": request["model"]}
    tokens = orjson.loads(answer.usage).get("prompt_tokens") if answer.usage else None
    if tokens is not None:
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return replace(answer, body=orjson.dumps(body), text=None)


async def send_events(send: Send, request: dict[str, Any], answer: Answer) -> None:
    """The answer as the API streams it, with the delays and the faults of its script."""
    script, number = answer.stream, 0

    async def event(kind: str, **members: Any) -> None:
        nonlocal number
        data = orjson.dumps({"type": kind, "sequence_number": number, **members})
        number += 1
        content = b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
        await send({"type": "http.response.body", "body": content, "more_body": True})

    started = _response(request, answer, "in_progress", [])
    await event("response.created", response=started)
    await event("response.in_progress", response=started)
    items = _items(answer)
    pieces = [delta["content"] for delta in deltas(answer) if "content" in delta]
    message = items[0]
    where = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    await event(
        "response.output_item.added", output_index=0, item={**message, "content": [], "status": "in_progress"}
    )
    await event("response.content_part.added", **where, part=_text(""))
    for position, piece in enumerate(pieces):
        if position == script.fault_after:
            break
        if delay_ms := script.delay_ms if position else script.first_delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        await event("response.output_text.delta", **where, delta=piece, logprobs=[])
    if script.fault is not None:
        if script.fault == "cut":
            await asyncio.sleep(0.05)  # so that the sent bytes arrive
            raise CutError("the script cuts this stream")
        await send({"type": "http.response.body", "body": FAULTY_EVENTS[script.fault]})
        return
    await event("response.output_text.done", **where, text=answer.text, logprobs=[])
    await event("response.content_part.done", **where, part=_text(answer.text or ""))
    await event("response.output_item.done", output_index=0, item=message)
    for index, item in enumerate(items[1:], 1):
        begun = {**item, "arguments": "", "status": "in_progress"}
        place = {"item_id": item["id"], "output_index": index}
        await event("response.output_item.added", output_index=index, item=begun)
        arguments = item["arguments"]
        half = len(arguments) // 2
        for piece in (arguments[:half], arguments[half:]):
            await event("response.function_call_arguments.delta", **place, delta=piece)
        await event("response.function_call_arguments.done", **place, name=item["name"], arguments=arguments)
        await event("response.output_item.done", output_index=index, item=item)
    await event("response.completed", response=_response(request, answer, "completed", items))
    await send({"type": "http.response.body", "body": b""})


def _items(answer: Answer) -> list[dict[str, Any]]:
    message = {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [_text(answer.text or "")],
    }
    calls = [
        {
            "id": f"fc_fake_{index}",
            "type": "function_call",
            "status": "completed",
            "call_id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
        }
        for index, call in enumerate(answer.tools or ())
    ]
    return [message, *calls]


def _text(content: str) -> dict[str, Any]:
    return {"type": "output_text", "text": content, "annotations": [], "logprobs": []}


def _response(
    request: dict[str, Any], answer: Answer, status: str, output: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 0,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "metadata": request.get("metadata") or {},
        "model": request["model"],
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": request.get("tools") or [],
        "usage": _usage(answer) if status == "completed" else None,
    }


def _usage(answer: Answer) -> dict[str, Any] | None:
    counted = orjson.loads(answer.usage) if answer.usage else {}
    if "prompt_tokens" not in counted or "completion_tokens" not in counted:
        return None
    told: dict[str, Any] = {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            **counted.get("prompt_tokens_details", {}),
        },
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": counted.get("completion_tokens_details", {"reasoning_tokens": 0}),
        "total_tokens": counted["prompt_tokens"] + counted["completion_tokens"],
    }
    return {**told, "cost": orjson.Fragment(str(counted["cost"]))} if "cost" in counted else told
