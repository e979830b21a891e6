"""Stream the fake provider's answer: its words as events, and the faults of its script."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping

    from router.providers.fake.answers import Answer

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Sender = Callable[[Send, dict[str, Any], Answer], Coroutine[Any, Any, None]]

FAULTY_EVENTS = {
    "truncated": b'data: {"id":"chatcmpl-fake","choi',
    "not-json": b"data: <html>\n\n",
    "error": b'data: {"error":{"message":"The script fails this stream","code":"scripted_error"}}\n\n',
    "ended": b"",
}


class CutError(Exception):
    """Raised to make the server break the connection."""


async def stream(
    receive: Receive, send: Send, request: dict[str, Any], answer: Answer, sender: Sender | None = None
) -> bool:
    """Send events as `answer.stream` says, and return whether the client left before their end.

    If `sender` is None, it sends chat's chunks.
    """
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    sending = asyncio.ensure_future((sender or _send_events)(send, request, answer))
    leaving = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_over = sending.done()
        for task in (sending, leaving):
            task.cancel()
    with suppress(asyncio.CancelledError):
        await sending
    return not is_over


async def _send_events(send: Send, request: dict[str, Any], answer: Answer) -> None:
    script = answer.stream
    options = request.get("stream_options")
    is_asked = isinstance(options, dict) and bool(options.get("include_usage"))
    announced = {"usage": None} if is_asked and script.is_usage_announced else {}
    head = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": request["model"]}

    async def event(content: bytes, *, is_last: bool = False) -> None:
        content = content.replace(b"\n", script.line_end.encode())
        await send({"type": "http.response.body", "body": content, "more_body": not is_last})

    async def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        await event(_data({**head, "choices": [choice], **announced}))

    if script.role_first:
        await chunk({"role": "assistant", "content": ""})
    for position, delta in enumerate(deltas(answer)):
        if position == script.fault_after:
            break
        if delay_ms := script.delay_ms if position else script.first_delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        await chunk(delta)
    if script.fault is not None:
        if script.fault == "cut":
            await asyncio.sleep(0.05)  # so that the sent bytes arrive
            raise CutError("the script cuts this stream")
        await event(FAULTY_EVENTS[script.fault], is_last=True)
        return
    if script.chunks != 0:
        await chunk({}, "stop" if answer.tools is None else "tool_calls")
    if is_asked and script.is_usage_sent and answer.usage is not None:
        await event(_data({**head, "choices": [], "usage": orjson.Fragment(answer.usage)}))
    await event(b"data: [DONE]\n\n" if script.is_done_sent else b"", is_last=True)


def deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    """The answer in pieces: its words, or the script's number of pieces, then its tool calls."""
    count = answer.stream.chunks
    words = (answer.text or "").split(" ") if count is None else [f"word{n}" for n in range(count)]
    for position, word in enumerate(words):
        yield {"content": f" {word}"} if position else {"role": "assistant", "content": word}
    for index, call in enumerate(answer.tools or ()):
        yield {"tool_calls": [{"index": index, **call, "function": {**call["function"], "arguments": ""}}]}
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        for piece in (arguments[:half], arguments[half:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _data(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"
