"""How long a connection stays open between requests, by a clock that the test sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from router.server.protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
KEPT_S = 5


class Timer:
    """A TimerHandle."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call = at, call
        self.is_over = False

    def cancel(self) -> None:
        self.is_over = True


class Loop:
    """An event loop whose time is set; tasks wait until they are run."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.tasks: list[Coroutine[Any, Any, None]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, call))
        return self.timers[-1]

    def call_soon(self, call: Callable[[], None]) -> None:
        self.call_later(0, call)

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> Loop:
        self.tasks.append(coroutine)
        return self

    def add_done_callback(self, _: object) -> None:
        """Of a task."""

    def run_tasks(self) -> None:
        """Run every task to its end."""
        while self.tasks:
            with pytest.raises(StopIteration):
                self.tasks.pop(0).send(None)

    def pass_time(self, until: float) -> None:
        """Set the clock, and call what is due on the way."""
        while due := [timer for timer in self.timers if not timer.is_over and timer.at <= until]:
            timer = min(due, key=lambda each: each.at)
            timer.is_over, self.now = True, max(timer.at, self.now)
            timer.call()
        self.now = until


class Socket:
    """A transport that knows whether it is open."""

    is_open = True

    def get_extra_info(self, _: str) -> None:
        """Nothing is known of the other end."""

    def write(self, data: bytes) -> None:
        assert self.is_open, data

    def close(self) -> None:
        self.is_open = False

    def is_closing(self) -> bool:
        return not self.is_open

    def pause_reading(self) -> None:
        """Flow control."""

    resume_reading = pause_reading


async def app(_: object, __: object, send: Callable[[dict[str, Any]], Coroutine[Any, Any, None]]) -> None:
    """Answers."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def connection() -> tuple[Loop, Socket, Protocol]:
    """A connection on which nothing came yet."""
    loop, socket = Loop(), Socket()
    arguments: Any = (Config(app, timeout_keep_alive=KEPT_S), ServerState(), {}, loop)
    protocol = Protocol(*arguments)
    transport: Any = socket
    protocol.connection_made(transport)
    return loop, socket, protocol


def test_the_wait_for_a_request_begins_with_the_last_answer(
    connection: tuple[Loop, Socket, Protocol],
) -> None:
    """A connection that is used in time stays open, and one that is not is closed, however old it is."""
    loop, socket, protocol = connection
    for at in (0.0, 4.0, 8.0, 12.9):
        loop.pass_time(at)
        assert socket.is_open
        protocol.data_received(REQUEST)
        loop.run_tasks()
    loop.pass_time(12.9 + KEPT_S - 0.1)
    assert socket.is_open
    loop.pass_time(12.9 + KEPT_S + 0.1)
    assert not socket.is_open


def test_a_connection_at_work_is_not_idle(connection: tuple[Loop, Socket, Protocol]) -> None:
    """However long an answer takes, its connection is open for it, and as long as any after it."""
    loop, socket, protocol = connection
    protocol.data_received(REQUEST)
    loop.run_tasks()
    loop.pass_time(1.0)
    protocol.data_received(REQUEST)
    loop.pass_time(60.0)
    assert socket.is_open
    loop.run_tasks()
    loop.pass_time(60.0 + KEPT_S - 0.1)
    assert socket.is_open
    loop.pass_time(60.0 + KEPT_S + 0.1)
    assert not socket.is_open


def test_a_connection_has_one_timer_for_all_its_waits(connection: tuple[Loop, Socket, Protocol]) -> None:
    """A busy connection makes no timer for each answer, and leaves none when it is lost."""
    loop, _, protocol = connection
    for _ in range(50):
        protocol.data_received(REQUEST)
        loop.run_tasks()
    waiting = [timer for timer in loop.timers if timer.call == protocol.timeout_keep_alive_handler]
    assert len(waiting) == 1
    protocol.connection_lost(None)
    assert waiting[0].is_over
