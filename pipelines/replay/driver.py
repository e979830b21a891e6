"""The client of a replay: sends requests as an OpenAI client would, and judges the answers.

Feedback is bandit feedback: the driver reads the quality from the answer it got, so it knows nothing
about the models that were not chosen.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from pipelines.replay.errors import ReplayError
from pipelines.replay.workspace import POLICY, label
from router.providers.http.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.replay.outcomes import World

CONCURRENCY = 32
"""At most this many requests are in flight. Further arrivals wait for a free connection."""
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The sender of a request."""

    user: str
    organization: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request to send."""

    step: int
    item: int
    """The item's row in the world."""
    due_s: float
    caller: Caller
    has_feedback: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request as it was answered."""

    step: int
    item: int
    request_id: str
    model: int
    """The chosen model's column in the world."""
    quality: float
    """The quality in the answer."""
    has_feedback: bool


class Driver:
    """Sends arrivals to the shim at `url`."""

    def __init__(self, url: str, world: World, *, on_request: Callable[[], None]) -> None:
        self._url = url
        self._world = world
        self._on_request = on_request
        self._columns = {label(model): column for column, model in enumerate(world.models)}
        self.late_s = 0.0
        """The longest time that a request waited for a free connection."""

    async def send(self, arrivals: Sequence[Arrival]) -> list[Sent]:
        """Send a batch at its pace, the first request at once. Returns when all are answered.

        The clock of the arrivals stops between batches: no request arrives while a refresh runs.
        """
        if not arrivals:
            return []
        started = time.perf_counter() - arrivals[0].due_s
        waiting = iter(arrivals)
        sent: list[Sent] = []
        client = Client(max_connections=CONCURRENCY)
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(CONCURRENCY, len(arrivals))):
                    workers.create_task(self._work(client, waiting, started, sent))
        finally:
            await client.aclose()
        return sorted(sent, key=lambda item: item.step)

    async def health(self) -> dict[str, Any]:
        """The health report of the shim."""
        client = Client(max_connections=1)
        try:
            _, report = await self._call(client, b"GET", "/health", 200)
            return report
        finally:
            await client.aclose()

    async def _work(
        self, client: Client, waiting: Iterator[Arrival], started: float, sent: list[Sent]
    ) -> None:
        """Send arrivals in order until none is left."""
        for arrival in waiting:
            delay = started + arrival.due_s - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            self.late_s = max(self.late_s, -delay)
            sent.append(await self._one(client, arrival))
            self._on_request()

    async def _one(self, client: Client, arrival: Arrival) -> Sent:
        world = self._world
        item_id = world.items[arrival.item]
        headers = {
            "x-intellirouter-task": label(world.tasks[world.task_of[arrival.item]]),
            "x-intellirouter-policy": POLICY,
        }
        if arrival.caller.organization is not None:
            headers["openai-organization"] = arrival.caller.organization
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": f"item {item_id}"}],
            "metadata": {"item_id": item_id, "step": str(arrival.step)},
            "user": arrival.caller.user,
        }
        replied, answer = await self._call(client, b"POST", "/v1/chat/completions", 200, body, headers)
        sent = Sent(
            step=arrival.step,
            item=arrival.item,
            request_id=replied["x-request-id"],
            model=self._columns[replied["x-intellirouter-model"]],
            quality=_quality(answer),
            has_feedback=arrival.has_feedback,
        )
        if arrival.has_feedback:
            feedback = {
                "request_id": sent.request_id,
                "metric": "quality",
                "value": sent.quality,
                "source": "program",
            }
            await self._call(client, b"POST", "/v1/feedback", 201, feedback)
        return sent

    async def _call(
        self,
        client: Client,
        method: bytes,
        path: str,
        expected: int,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Mapping[str, str], dict[str, Any]]:
        """Headers and JSON of an answer. ReplayError if there is no answer, or one with another status."""
        named = {"content-type": "application/json", **(headers or {})}
        content = b"" if body is None else orjson.dumps(body)
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reply = await client.request(method, self._url + path, headers=named, content=content)
                try:
                    while part := await reply.read():
                        parts.append(part)
                finally:
                    reply.close()
        except (httpx.HTTPError, TimeoutError) as error:
            what = str(error) or f"no answer within {TIMEOUT_S:g} s"
            raise ReplayError(f"the shim at `{self._url}` did not answer: {what}") from error
        answer = b"".join(parts)
        if reply.status_code != expected:
            said = answer[:500].decode(errors="replace")
            raise ReplayError(f"the shim answered {reply.status_code}: {said}")
        return httpx.Headers(reply.headers), orjson.loads(answer)


def _quality(answer: Mapping[str, Any]) -> float:
    return float(json.loads(answer["choices"][0]["message"]["content"])["quality"])
