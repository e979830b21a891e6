"""The fake provider's HTTP server. It is raw ASGI, because it shares the machine with its clients."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any

import orjson

from router.providers.fake.answers import Answer, Answerer, refusal
from router.providers.fake.responses import embeddings, response, send_events
from router.providers.fake.stream import stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from router.providers.fake.script import Script

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

READY = "fake provider listening on "
"""The text that the process prints before its base URL when you can call it."""
MAX_BODY_BYTES = 64 << 20
ANSWERED = {"/v1/chat/completions": "messages", "/v1/responses": "input", "/v1/embeddings": "input"}
"""The paths that models answer, and the member that holds the question."""


class FakeApp:
    """Serves chat completions, responses, embeddings and models. `GET /seen` shows tests what arrived."""

    def __init__(self, script: Script) -> None:
        self._answerer = Answerer(script)
        self._last: dict[str, Any] | None = None
        self._abandoned = 0
        """Streams that a client left before their end."""
        self._connections: set[tuple[Any, ...]] = set()
        """Addresses of the clients that asked for completions."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        route = scope["method"], scope["path"]
        if scope["method"] == "POST" and scope["path"] in ANSWERED:
            await self._complete(scope, receive, send)
        elif route == ("GET", "/v1/models"):
            await _reply(send, Answer(body=self._models()))
        elif route == ("GET", "/seen"):
            seen = {
                "calls": dict(self._answerer.calls),
                "last": self._last,
                "abandoned": self._abandoned,
                "connections": len(self._connections),
            }
            await _reply(send, Answer(body=orjson.dumps(seen)))
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
        self._connections.add(tuple(scope["client"] or ()))
        self._last = {"headers": _text(scope["headers"]), "body": request, "path": scope["path"]}
        asked, sender = ANSWERED[scope["path"]], None
        answer = self._answerer.answer(request, asked=asked)
        if answer.delay_s > 0:
            await asyncio.sleep(answer.delay_s)
        if asked == "input" and answer.text is not None:
            if scope["path"] == "/v1/embeddings":
                answer = embeddings(request, answer)
            else:
                answer, sender = response(request, answer), send_events
        if request.get("stream") and answer.text is not None:
            self._abandoned += await stream(receive, send, request, answer, sender)
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


def _text(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def serve(script: Script, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. It prints READY and the base URL once you can call it."""
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
