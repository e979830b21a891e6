"""The client side of a replay: sends requests as an OpenAI client would, and judges the answers.

Bandit feedback only: the driver reads the quality from the answer it got, so it knows nothing of
the models that were not chosen.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.replay.errors import ReplayError
from pipelines.replay.http import Connection, HttpError, Reply
from pipelines.replay.workspace import POLICY, label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipelines.replay.outcomes import World

CONCURRENCY = 32
"""Most requests in flight; arrivals beyond wait for a free connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request."""

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
    """As the answer says."""
    has_feedback: bool


class Driver:
    """Sends arrivals to the shim at `url`."""

    def __init__(self, url: str, world: World, *, on_request: Callable[[], None]) -> None:
        self._url = url
        self._world = world
        self._on_request = on_request
        self._columns = {label(model): column for column, model in enumerate(world.models)}
        self.late_s = 0.0
        """Longest time a request had to wait for a free connection."""

    async def send(self, arrivals: Sequence[Arrival]) -> list[Sent]:
        """Send a batch at its pace, its first request at once; returns when all are answered.

        The arrival clock stands still between batches: while a refresh runs, nothing arrives.
        """
        if not arrivals:
            return []
        started = time.perf_counter() - arrivals[0].due_s
        waiting = iter(arrivals)
        sent: list[Sent] = []
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(CONCURRENCY, len(arrivals))):
                workers.create_task(self._work(waiting, started, sent))
        return sorted(sent, key=lambda item: item.step)

    async def health(self) -> dict[str, Any]:
        """What the shim says of itself."""
        connection = await Connection.open(self._url)
        try:
            answer: dict[str, Any] = _expect(await connection.get("/health"), 200).json()
            return answer
        finally:
            await connection.close()

    async def _work(self, waiting: Iterator[Arrival], started: float, sent: list[Sent]) -> None:
        """Take arrivals in order until none is left, on a connection of its own."""
        connection = await Connection.open(self._url)
        try:
            for arrival in waiting:
                delay = started + arrival.due_s - time.perf_counter()
                if delay > 0:
                    await asyncio.sleep(delay)
                self.late_s = max(self.late_s, -delay)
                sent.append(await self._one(connection, arrival))
                self._on_request()
        except (HttpError, OSError, TimeoutError) as error:
            raise ReplayError(f"the shim at `{self._url}` did not answer: {error or 'timeout'}") from error
        finally:
            await connection.close()

    async def _one(self, connection: Connection, arrival: Arrival) -> Sent:
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
        reply = _expect(await connection.post("/v1/chat/completions", body, headers), 200)
        sent = Sent(
            step=arrival.step,
            item=arrival.item,
            request_id=reply.headers["x-request-id"],
            model=self._columns[reply.headers["x-intellirouter-model"]],
            quality=_quality(reply),
            has_feedback=arrival.has_feedback,
        )
        if arrival.has_feedback:
            feedback = {
                "request_id": sent.request_id,
                "metric": "quality",
                "value": sent.quality,
                "source": "program",
            }
            _expect(await connection.post("/v1/feedback", feedback), 200, 201)
        return sent


def _quality(reply: Reply) -> float:
    text = reply.json()["choices"][0]["message"]["content"]
    return float(json.loads(text)["quality"])


def _expect(reply: Reply, *statuses: int) -> Reply:
    if reply.status not in statuses:
        raise ReplayError(f"the shim answered {reply.status}: {reply.body[:500].decode(errors='replace')}")
    return reply
