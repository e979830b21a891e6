"""What the shim writes, as it reaches the socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from router.server.protocol import _JoiningTransport

if TYPE_CHECKING:
    from collections.abc import Callable


class Socket:
    """A transport that keeps what happens to it."""

    def __init__(self) -> None:
        self.seen: list[bytes | str] = []
        self.is_reading = True

    def write(self, data: bytes) -> None:
        self.seen.append(data)

    def close(self) -> None:
        self.seen.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.seen

    def pause_reading(self) -> None:
        self.is_reading = False


def seen_after(act: Callable[[Any], None]) -> list[bytes | str]:
    """What a socket sees of `act` and of the turn of the event loop that follows."""

    async def run() -> list[bytes | str]:
        socket: Any = Socket()
        act(_JoiningTransport(socket, asyncio.get_running_loop()))
        await asyncio.sleep(0)
        seen: list[bytes | str] = socket.seen
        return seen

    return asyncio.run(run())


def test_what_is_written_in_one_turn_leaves_together() -> None:
    """Head and body are one packet; what nobody joins is written all the same."""

    def write(transport: Any) -> None:
        transport.write(b"head ")
        transport.write(b"body")

    assert seen_after(write) == [b"head body"]
    assert seen_after(lambda transport: transport.write(b"alone")) == [b"alone"]


def test_turns_are_written_one_by_one() -> None:
    """An event of a stream does not wait for the next one."""

    async def run() -> list[bytes | str]:
        socket: Any = Socket()
        transport = _JoiningTransport(socket, asyncio.get_running_loop())
        for event in (b"first", b"second"):
            transport.write(event)
            await asyncio.sleep(0)
        seen: list[bytes | str] = socket.seen
        return seen

    assert asyncio.run(run()) == [b"first", b"second"]


def test_what_was_written_leaves_before_the_connection_closes() -> None:
    """A refusal that hangs up is read; after that nothing is written."""

    def refuse(transport: Any) -> None:
        transport.write(b"no")
        transport.close()
        transport.write(b"more")

    assert seen_after(refuse) == [b"no", "closed"]


def test_everything_else_is_the_sockets() -> None:
    """Flow control reaches the transport itself."""

    def pause(transport: Any) -> None:
        transport.pause_reading()
        assert not transport.is_reading

    assert seen_after(pause) == []
