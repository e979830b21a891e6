"""CPU of a provider call, and memory over many: our client beside a plain `httpx.AsyncClient`.

    python tests/benchmarks/provider_client.py [--smoke | --long]

Each line has so many calls in flight, without a pause, behind an upstream that answers after
200 ms in a process of its own; the figure is this process's CPU time by call. `client` is
`router.providers.http.client`, `httpx` an `httpx.AsyncClient` with its own pool, which is given
fewer calls: it takes minutes otherwise. Then the resident memory
over 20,000 calls, or with `--long` over 200,000, printed ten times on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from router.providers.http.client import Client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Call = Callable[[str], Awaitable[int]]

LATENCY_S = 0.2
HEADERS = {"content-type": "application/json", "accept-encoding": "identity", "authorization": "Bearer key"}
CONTENT = b'{"model": "m", "messages": [{"role": "user", "content": "%s"}]}' % (b"hello " * 50)
ANSWER = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "%s"}}]}' % (b"fine " * 100)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(ANSWER)
RESPONSE = HEAD + b"".join(b"x-header-%d: some value\r\n" % number for number in range(10)) + b"\r\n" + ANSWER


class Upstream(asyncio.Protocol):
    """Answers each request after LATENCY_S; a request is over with its last brace."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if data.endswith(b"}"):
            asyncio.get_running_loop().call_later(self.latency_s, self._transport.write, RESPONSE)

    latency_s = LATENCY_S


async def serve(latency_s: float) -> None:
    """Print the port, and answer until killed."""
    Upstream.latency_s = latency_s
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=2000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def upstream(latency_s: float) -> Iterator[str]:
    """The address of an upstream in a process of its own."""
    command = [sys.executable, __file__, "--serve", str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1/chat/completions"
        finally:
            process.kill()


def resident_mib() -> float:
    """What the kernel says this process holds."""
    status = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def in_flight(call: Call, url: str, width: int, rounds: int) -> float:
    """CPU microseconds by call of `rounds` for each of `width`, after one that opens connections."""

    async def work(count: int) -> None:
        for _ in range(count):
            assert await call(url) == len(ANSWER)

    await asyncio.gather(*(work(1) for _ in range(width)))
    started = time.process_time()
    await asyncio.gather(*(work(rounds) for _ in range(width)))
    return (time.process_time() - started) / (width * rounds) * 1e6


def by_client(client: Client) -> Call:
    """Calls as providers make them."""

    async def call(url: str) -> int:
        reply, size = await client.request(b"POST", url, headers=HEADERS, content=CONTENT), 0
        while part := await reply.read():
            size += len(part)
        return size

    return call


def by_httpx(client: httpx.AsyncClient) -> Call:
    """The same over httpx's client."""

    async def call(url: str) -> int:
        async with client.stream("POST", url, headers=HEADERS, content=CONTENT) as response:
            return sum([len(part) async for part in response.aiter_bytes()])

    return call


async def measure(kind: str, url: str, width: int, rounds: int) -> float:
    """One figure of the table."""
    if kind == "client":
        client = Client(max_connections=width)
        figure = await in_flight(by_client(client), url, width, rounds)
        await client.aclose()
        return figure
    limits = httpx.Limits(max_connections=width, max_keepalive_connections=width)
    async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as plain:
        return await in_flight(by_httpx(plain), url, width, rounds)


async def grow(url: str, calls: int) -> None:
    """Print the memory ten times over so many calls, 256 in flight."""
    client = Client(max_connections=256)
    call = by_client(client)
    await in_flight(call, url, 256, 4)
    gc.collect()
    print(f"memory {resident_mib():7.1f} MiB after {256 * 5:7} calls (warm)")
    for part in range(1, 11):
        await in_flight(call, url, 256, max(calls // 10 // 256, 1))
        gc.collect()
        print(f"memory {resident_mib():7.1f} MiB after {part * calls // 10:7} more")
    await client.aclose()


def main() -> None:
    """Print a line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few calls")
    parser.add_argument("--long", action="store_true", help="200,000 calls for the memory")
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve))
        return
    widths = (16, 64) if arguments.smoke else (16, 64, 256, 1000)
    kinds = ("client", "httpx")
    print("in flight " + "".join(f"{kind:>10}" for kind in kinds) + "   CPU us a call")
    with upstream(LATENCY_S) as url:
        for width in widths:
            rounds = 2 if arguments.smoke else max(2000 // width, 4)
            figures = [
                asyncio.run(measure(kind, url, width, min(rounds, 2) if kind == "httpx" else rounds))
                for kind in kinds
            ]
            print(f"{width:9} " + "".join(f"{figure:10.0f}" for figure in figures), flush=True)
    with upstream(0.02) as url:  # the memory does not depend on it, the patience does
        asyncio.run(grow(url, 2_560 if arguments.smoke else 200_000 if arguments.long else 20_000))


if __name__ == "__main__":
    main()
