"""Streamed answers through the HTTP shim, beside going straight to the provider.

    python tests/benchmarks/streaming.py [--smoke]

A fake provider streams 50 chunks; shim and provider are processes of their own, the journal syncs
as by default, bodies are logged as by default. In one run:
1. time to the first chunk at one connection, alternating shim and provider: p50 of each, and the difference;
2. streams/s at 16 connections, and the shim's CPU a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import orjson

from router.providers.fake import FakeProvider
from router.providers.fake.process import ChildProcess

CATALOG = """\
providers: {{fake: {{kind: openai, base_url: "{url}"}}}}
models: [{{id: fast, provider: fake}}, {{id: paced, provider: fake}}]
"""
CHUNKS = 50
COUNTED = {"tokens_input": 10, "tokens_output": CHUNKS}
SCRIPT = {
    "models": {
        "fast": {**COUNTED, "stream": {"chunks": CHUNKS}},
        "paced": {**COUNTED, "stream": {"chunks": CHUNKS, "delay_ms": 1, "first_delay_ms": 5}},
    }
}
CONNECTIONS = 16
END = b"0\r\n\r\n"


class Connection:
    """One keep-alive connection; reads no more of HTTP than where a stream begins and ends."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").removesuffix("/v1").partition(":")
        self._address = host, int(port)

    async def open(self) -> Connection:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self

    async def stream(self, model: str) -> float:
        """Take one stream to its end; the seconds until its first chunk."""
        body = orjson.dumps(
            {"model": model, "stream": True, "messages": [{"role": "user", "content": "Count to fifty."}]}
        )
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        started = time.perf_counter()
        self._writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        seen, first = b"", 0.0
        while not seen.endswith(END):
            part = await self._reader.read(1 << 16)
            if not part:
                raise RuntimeError(f"the stream broke after {seen[-200:]!r}")
            seen += part
            if not first and b"data: " in seen:
                first = time.perf_counter() - started
        if seen.count(b"word") != CHUNKS or b"data: [DONE]" not in seen:
            raise RuntimeError(f"not {CHUNKS} chunks: {seen[-400:]!r}")
        return first

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def first_chunks(urls: list[str], streams: int) -> list[list[float]]:
    """Milliseconds to the first chunk at each of `urls`, in turn."""
    connections = [await Connection(url).open() for url in urls]
    found: list[list[float]] = [[] for _ in urls]
    for turn in range(streams + 5):
        for index, connection in enumerate(connections):
            first = await connection.stream("paced")
            if turn >= 5:  # the first ones open connections and fill caches
                found[index].append(first * 1000)
    for connection in connections:
        connection.close()
    return found


async def rate(url: str, seconds: float) -> tuple[int, float]:
    """(streams, seconds) of a closed loop over CONNECTIONS connections."""
    connections = [await Connection(url).open() for _ in range(CONNECTIONS)]
    for connection in connections:
        await connection.stream("fast")
    started = time.perf_counter()

    async def run(connection: Connection) -> int:
        done = 0
        while time.perf_counter() - started < seconds:
            await connection.stream("fast")
            done += 1
        connection.close()
        return done

    return sum(await asyncio.gather(*map(run, connections))), time.perf_counter() - started


def main() -> None:
    """Print a line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few streams, short")
    smoke = parser.parse_args().smoke
    streams, seconds = (10, 0.5) if smoke else (200, 5.0)
    with tempfile.TemporaryDirectory() as folder, FakeProvider(SCRIPT) as upstream:
        home = Path(folder)
        (home / "catalog.yaml").write_text(CATALOG.format(url=upstream))
        command = [sys.executable, "-m", "router.cli", "serve", "--home", folder, "--port", "0"]
        with ChildProcess(command, ready="intellirouter listening on ", log_file=home / "shim.log") as shim:
            straight, through = asyncio.run(first_chunks([upstream, shim.url], streams))
            p50, p50_through = statistics.median(straight), statistics.median(through)
            print(f"first chunk p50  straight {p50:6.2f} ms   through the shim {p50_through:6.2f} ms")
            print(f"first chunk p50  added    {p50_through - p50:6.2f} ms   {streams} streams, 1 connection")
            done, took = asyncio.run(rate(upstream, seconds))
            print(f"streams/s        straight {done / took:6.0f}      {CONNECTIONS} connections")
            used = cpu_s(shim.pid)
            done, took = asyncio.run(rate(shim.url, seconds))
            used = cpu_s(shim.pid) - used
            print(
                f"streams/s        shim     {done / took:6.0f}      CPU {1e6 * used / done:.0f} us a stream"
            )


if __name__ == "__main__":
    main()
