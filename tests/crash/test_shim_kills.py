"""The server killed under a load that keeps it busy: every request that was answered has its record, once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from router.providers.fake import FakeProvider
from tests.crash import forks, recovery
from tests.crash.reporting import is_long, show
from tests.factories import write_catalog
from tests.servers import Served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.recovery import Findings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("library")]
KILLS = 40 if is_long() else 4
CONNECTIONS = 32
STREAM_SHARE = 4
"""One connection in so many asks for streams."""
LIFE_S = (0.5, 2.5)
SCRIPT = {"models": {"small": {"answer": "four", "tokens_input": 10, "tokens_output": 10}}}
PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}


@dataclass(slots=True)
class Load:
    """Clients that each ask again as soon as they are answered."""

    port: int
    notes: int
    """A descriptor: whole answers are noted there by the id in their headers."""
    answered: int = 0
    refused: int = 0
    is_busy: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once as many were answered as ask at once."""

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(*(self._ask_forever(n % STREAM_SHARE == 0) for n in range(CONNECTIONS)))

    async def _ask_forever(self, is_streaming: bool) -> None:
        request = _request(is_streaming)
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    while True:
                        writer.write(request)
                        await self._read(reader)
                finally:
                    writer.close()
            await asyncio.sleep(0.01)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        if "content-length" in headers:
            await reader.readexactly(int(headers["content-length"]))
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        if " 200 " in status:
            self.answered += 1
            if self.answered > CONNECTIONS:
                self.is_busy.set()
            os.write(self.notes, f"request_analytics\t{headers['x-request-id']}\t-\n".encode())
        else:
            self.refused += 1


def _request(is_streaming: bool) -> bytes:
    stream = b', "stream": true' if is_streaming else b""
    body = b'{"model": "auto", "messages": [{"role": "user", "content": "2 + 2?"}]' + stream + b"}"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


@pytest.mark.parametrize("workers", [1, 4])
def test_kills_under_load_lose_no_answered_request(tmp_path: Path, workers: int) -> None:
    """The whole process group is killed again and again; where there are four workers, one of them before."""
    home, acknowledged = tmp_path / "home", tmp_path / "acknowledged"
    rng = random.Random(workers)
    notes = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    answered = refused = 0
    seconds = 0.0
    with FakeProvider(SCRIPT) as base_url:
        write_catalog(home, [{"id": "small", **PRICED}], base_url=base_url)
        for _ in range(KILLS):
            with Served(home, workers=workers, JOURNAL_SEAL_INTERVAL_S="0.3") as server:
                life_s = rng.uniform(*LIFE_S)
                load = Load(server.port, notes)
                asyncio.run(_until_killed(load, server, life_s, one_first=workers > 1))
            answered, refused, seconds = answered + load.answered, refused + load.refused, seconds + life_s
    os.close(notes)
    findings: Findings = forks.call(recovery.recover, home, acknowledged, timeout_s=600)
    show(
        f"{workers} worker(s), {KILLS} kills of the group under {CONNECTIONS} connections:"
        f" {answered} answered ({answered / seconds:.0f}/s), {refused} refused,"
        f" lost {findings.lost}, twice {findings.twice}, other problems {len(findings.problems)}"
    )
    assert findings.problems == []
    assert (findings.lost, findings.twice) == (0, 0)
    assert answered > CONNECTIONS * KILLS


async def _until_killed(load: Load, server: Served, life_s: float, *, one_first: bool) -> None:
    asking = asyncio.create_task(load.run())
    await load.is_busy.wait()
    await asyncio.sleep(life_s / 2)
    if one_first:
        os.kill(server.workers()[-1], signal.SIGKILL)
    await asyncio.sleep(life_s / 2)
    server.kill_group()
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
