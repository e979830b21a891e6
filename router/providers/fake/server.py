"""The fake provider's HTTP face: raw ASGI, because it shares its machine with what it serves."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any

import orjson

from router.providers.fake.answers import Answer, Answerer, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from router.providers.fake.script import Script

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

READY = "fake provider listening on "
"""What the process prints when it can be called, followed by its base URL."""
MAX_BODY_BYTES = 64 << 20


class FakeApp:
    """OpenAI's chat completions and models; `GET /seen` tells tests what arrived."""

    def __init__(self, script: Script) -> None:
        self._answerer = Answerer(script)
        self._last: dict[str, Any] | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        route = scope["method"], scope["path"]
        if route == ("POST", "/v1/chat/completions"):
            await self._complete(scope, receive, send)
        elif route == ("GET", "/v1/models"):
            await _reply(send, Answer(body=self._models()))
        elif route == ("GET", "/seen"):
            body = orjson.dumps({"calls": dict(self._answerer.calls), "last": self._last})
            await _reply(send, Answer(body=body))
        else:
            await _reply(send, refusal(404, f"no `{scope['path']}` here", "not_found"))

    async def _complete(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            request = orjson.loads(await _read(receive))
        except (orjson.JSONDecodeError, ValueError) as error:
            await _reply(send, refusal(400, f"the body is not usable: {error}", "invalid_request_error"))
            return
        if not isinstance(request, dict):
            await _reply(send, refusal(400, "the body must be an object", "invalid_request_error"))
            return
        self._last = {"headers": _text(scope["headers"]), "body": request}
        answer = self._answerer.answer(request)
        if answer.delay_s > 0:
            await asyncio.sleep(answer.delay_s)
        if request.get("stream") and answer.text is not None:
            await _stream(send, request, answer)
        else:
            await _reply(send, answer)

    def _models(self) -> bytes:
        rows = [
            {"id": model, "object": "model", "created": 0, "owned_by": "fake"}
            for model in self._answerer.models
        ]
        return orjson.dumps({"object": "list", "data": rows})


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ValueError("the client left")
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"larger than {MAX_BODY_BYTES} bytes")
        if not message.get("more_body"):
            return body


async def _reply(send: Send, answer: Answer) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer.body))]
    if answer.retry_after is not None:
        headers.append((b"retry-after", answer.retry_after.encode("latin-1")))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _stream(send: Send, request: dict[str, Any], answer: Answer) -> None:
    """Server-sent events: one for each word, the finish, usage when asked for, [DONE]."""
    head = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": request["model"]}
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/event-stream; charset=utf-8")],
        }
    )
    words = (answer.text or "").split(" ")
    deltas = [
        {"role": "assistant", "content": words[0]},
        *({"content": f" {word}"} for word in words[1:]),
    ]
    for delta in deltas:
        await _event(send, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    await _event(send, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    options = request.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage") and answer.usage is not None:
        await _event(send, {**head, "choices": [], "usage": orjson.Fragment(answer.usage)})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _event(send: Send, value: dict[str, Any]) -> None:
    await send(
        {"type": "http.response.body", "body": b"data: " + orjson.dumps(value) + b"\n\n", "more_body": True}
    )


def _text(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def serve(script: Script, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; prints READY and the base URL once it can be called."""
    import uvicorn

    app = FakeApp(script)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if sockets:
                address, bound = sockets[0].getsockname()[:2]
                sys.stdout.write(f"{READY}http://{address}:{bound}/v1\n")
                sys.stdout.flush()

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    Server(config).run(sockets=[listener])
