"""A shim before a provider that replays whatever a test puts into it, for every API of the shim."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import yaml

from router import Router
from tests.recording import Recorder
from tests.router.providers.scripted import ScriptedServer
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.records import RequestRecord
    from tests.router.providers.scripted import Exchange

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
PRICE = {
    "start": "2025-01-01",
    "input_usd_per_mtok": "1",
    "output_usd_per_mtok": "10",
    "cached_input_usd_per_mtok": "0.1",
    "cache_write_usd_per_mtok": "1.25",
}
PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    "messages": ("/v1/messages", {"max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}),
    "responses": ("/v1/responses", {"input": "Hi"}),
    "embeddings": ("/v1/embeddings", {"input": ["a", "b"]}),
}
CHATS = ("chat", "messages", "responses")


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "choices": [choice], **more}


def whole(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    """A completion."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion", "created": 1, "choices": [choice], "usage": USAGE}
    return {**body, **more}


def sse(event: Any) -> bytes:
    """An event; bytes are sent as they are."""
    if isinstance(event, bytes):
        return event
    name = f"event: {event['type']}\n".encode() if "type" in event and "object" not in event else b""
    return name + b"data: " + orjson.dumps(event) + b"\n\n"


@dataclass(frozen=True)
class Reply:
    """What the provider sends: a whole body, or pieces of a stream. A number is a pause in seconds."""

    content: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, exchange: Exchange) -> None:
        """Send it over the connection, and close it after a stream."""
        if not isinstance(self.content, list):
            body = self.content if isinstance(self.content, bytes) else orjson.dumps(self.content)
            names = {"content_type": "application/json", **self.headers}
            await exchange.answer(f"{self.status} Said", body, **names)
            return
        names = {"content-type": "text/event-stream", "connection": "close", **self.headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in names.items())
        await exchange.send(f"HTTP/1.1 {self.status} Said\r\n{lines}\r\n".encode())
        for piece in self.content:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                await exchange.send(sse(piece))
        exchange.writer.close()


@dataclass(frozen=True)
class Seen:
    """What the client got, and the record."""

    status: int
    headers: httpx.Headers
    text: str
    record: RequestRecord

    @property
    def body(self) -> Any:
        """The JSON of a whole answer."""
        return orjson.loads(self.text)

    @property
    def is_whole(self) -> bool:
        """Whether the client may take the answer for whole."""
        if self.status != 200:
            return False
        ends = (
            "data: [DONE]",
            "event: message_stop",
            "event: response.completed",
            "event: response.incomplete",
        )
        if self.headers["content-type"].startswith("text/event-stream"):
            return any(end in self.text for end in ends)
        return True


class World:
    """The shim, the provider behind it, and the records."""

    def __init__(self, url: str, provider: ScriptedServer, recorder: Recorder, router: Router) -> None:
        self.url = url
        self.provider = provider
        self.router = router
        self.answers: dict[str, Any] = {}
        """Model to its reply: a Reply, or one for each request in turn. A body alone is sent with 200."""
        self._recorder = recorder
        self._client = httpx.Client(timeout=20)

    def calls(self, model: str) -> int:
        """How often the provider was asked for the model."""
        return sum(orjson.loads(item.body)["model"] == model for item in self.provider.requests)

    def ask(self, api: str = "chat", model: str = "one", **members: Any) -> Seen:
        """Ask the shim. A streamed answer is read to its end."""
        path, body = PATHS[api]
        headers = {"anthropic-version": "2023-06-01"}
        before = len(self._recorder.records)
        reply = self._client.post(self.url + path, json={"model": model, **body, **members}, headers=headers)
        until = time.monotonic() + 5
        while len(self._recorder.records) == before and time.monotonic() < until:
            time.sleep(0.005)
        record: Any = self._recorder.records[-1] if len(self._recorder.records) > before else None
        return Seen(reply.status_code, reply.headers, reply.text, record)

    def served(self, content: Any, api: str = "chat", model: str = "one", **members: Any) -> Seen:
        """Let the provider send `content` for the model, and ask for it."""
        self.answers[model] = content
        return self.ask(api, model, **members)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


@contextmanager
def replaying(
    home: Path,
    *,
    models: dict[str, dict[str, Any]] | None = None,
    files: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[World]:
    """A world. `models` extends or adds entries of catalog.yaml, `files` are other documents."""
    world: list[World] = []

    async def behave(exchange: Exchange) -> None:
        request = orjson.loads(exchange.body)
        content = world[0].answers[request["model"]]
        if callable(content):
            content = content(request)
        await (content if isinstance(content, Reply) else Reply(content)).send(exchange)

    with ScriptedServer(behave) as provider:
        given: dict[str, dict[str, Any]] = {
            "one": {},
            "two": {},
            "claude": {"provider": "ant"},
            "native": {"apis": ["chat", "responses"]},
            "vectors": {"vectors": "v1"},
        }
        for name, entry in (models or {}).items():
            given[name] = {**given.get(name, {}), **entry}
        catalog = {
            "providers": {
                "up": {"kind": "openai", "base_url": provider.url},
                "ant": {"kind": "anthropic", "base_url": provider.url},
            },
            "models": [
                {"id": name, "provider": "up", "prices": [PRICE], **entry} for name, entry in given.items()
            ],
        }
        (home / "catalog.yaml").write_text(yaml.safe_dump(catalog))
        for name, content in (files or {}).items():
            (home / name).write_text(yaml.safe_dump(content))
        defaults: dict[str, Any] = {
            "max_retries": 0,
            "health_max_ejected_share": 0.0,
            "default_policy": "balanced",
        }
        router = Router.open(home=home, **{**defaults, **settings})
        recorder = Recorder()
        router.observe(recorder)
        with serving(router) as url:
            world.append(World(url, provider, recorder, router))
            try:
                yield world[0]
            finally:
                world[0].close()
