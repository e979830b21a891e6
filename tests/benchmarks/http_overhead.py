"""What the HTTP shim adds to a call, beside a forwarder that does nothing else on the same stack.

    python tests/benchmarks/http_overhead.py [--smoke | --long | --against FOLDER]

Provider, forwarder (raw ASGI on uvicorn with the shim's protocol and provider client) and shim (as
`intellirouter serve`, everything recorded and logged, JOURNAL_SYNC=os) are processes of their own;
where the machine has two cores the server that is measured has the first to itself. Turn by turn in one run:
1. whole answers: what one connection waits more than without them (p50), requests/s at 64 connections
   and the server's CPU for each;
2. streams of 50 chunks: the same for the first chunk (p50), and streams/s at 16 connections;
3. 256 and 1,000 in flight behind a provider that takes 200 ms: the shim's CPU by call, and with
   `--long` its resident memory every 20,000 of 200,000 calls.

`--against` compares the shim's CPU by call with that of another checkout: both serve at once, and each is
measured eight times in turn. Neighbours on the machine only add, so the least of eight says most.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import uvicorn
import uvloop

from router.providers.fake.process import ChildProcess
from router.providers.http.client import Client
from router.server.protocol import protocol_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.server.http import AsgiScope, Receive, Send

CATALOG = """\
providers: {{fake: {{kind: openai, base_url: "{url}"}}}}
models: [{{id: m, provider: fake, prices: [{{start: 2024-01-01, {rates}}}]}}]
"""
RATES = "input_usd_per_mtok: 0.15, output_usd_per_mtok: 0.6"
PATH = "/v1/chat/completions"
READY = "listening on "
ROUNDS = 3
SEALED_AFTER_S = 7.0
"""The default interval, and the sealing."""
CHUNKS = 50
TEXT = "a piece of text "
USAGE = {"prompt_tokens": 48, "completion_tokens": 32, "total_tokens": 80}
IDENTITY = {"id": "chatcmpl-1", "created": 1, "model": "m"}
ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "What is the capital of France, and what is it known for?"}],
    "max_tokens": 64,
}


def request(body: dict[str, Any]) -> bytes:
    """A body as it goes over the wire."""
    content = orjson.dumps(body)
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


def answer() -> bytes:
    """A whole answer as it goes over the wire."""
    message = {"role": "assistant", "content": TEXT * 8}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    content = orjson.dumps({**IDENTITY, "object": "chat.completion", "choices": [choice], "usage": USAGE})
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


def stream() -> tuple[bytes, bytes]:
    """A streamed answer as it goes over the wire: its first event, and the others."""
    deltas: list[Any] = [{"choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": None}]}]
    ends: list[Any] = [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    ends.append({"choices": [], "usage": USAGE})
    chunks = [{**IDENTITY, "object": "chat.completion.chunk", **each} for each in deltas * CHUNKS + ends]
    events = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    first, *others = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    return head + first, b"".join(others) + END


END = b"0\r\n\r\n"
WHOLE, STREAMED = request(ASKED), request({**ASKED, "stream": True})


class Upstream(asyncio.Protocol):
    """The provider; a request is over with its last brace."""

    latency_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not data.endswith(b"}"):
            return
        is_streaming = b'"stream":true' in data
        self._later(self.latency_s, FIRST_EVENT if is_streaming else ANSWER)
        if is_streaming:
            self._later(self.latency_s + PAUSE_S, OTHER_EVENTS)

    def _later(self, seconds: float, reply: bytes) -> None:
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._transport.write, reply)
        else:
            self._transport.write(reply)


ANSWER = answer()
FIRST_EVENT, OTHER_EVENTS = stream()
PAUSE_S = 0.002
"""Between the first event of a stream and the others, which come at once."""


async def provide(latency_s: float) -> None:
    """Be the provider until killed."""
    Upstream.latency_s = latency_s
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=2000)
    print(f"{READY}http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def forward(url: str) -> None:
    """Be the forwarder until killed."""
    client = Client(max_connections=2000)
    headers = {"content-type": "application/json", "authorization": "Bearer key"}

    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        is_streaming = bool(orjson.loads(body).get("stream"))  # a router must look at it
        reply = await client.request(b"POST", url + PATH, headers=headers, content=body)
        kept = [(name.lower(), value) for name, value in reply.headers]
        kept = [item for item in kept if item[0] in (b"content-type", b"content-length")]
        await send({"type": "http.response.start", "status": reply.status_code, "headers": kept})
        while part := await reply.read():
            await send({"type": "http.response.body", "body": part, "more_body": is_streaming})
        if is_streaming:
            await send({"type": "http.response.body", "body": b""})

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(f"{READY}http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}", flush=True)

    options: dict[str, Any] = {"loop": "uvloop", "http": protocol_of(30.0), "lifespan": "off"}
    Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False, **options)).run()


class Caller(asyncio.Protocol):
    """One keep-alive connection; reads no more of HTTP than where an answer begins and ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport: Any = transport
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over.set_result(None)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self._seen:
            self._first_at = time.perf_counter()
        self._seen += data
        if self._seen.endswith(END if self._is_streaming else b"}"):
            self._over.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if not self._over.done():
            self._over.set_exception(exc or ConnectionError("the connection was closed"))

    async def ask(self, content: bytes) -> tuple[float, float]:
        """Seconds to the answer's first byte, and to its end."""
        self._seen, self._is_streaming = b"", content is STREAMED
        self._over = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        self._transport.write(content)
        await self._over
        ended = time.perf_counter()
        pieces = self._seen.count(TEXT.encode())
        if not self._seen.startswith(b"HTTP/1.1 200") or pieces != (CHUNKS if self._is_streaming else 8):
            raise RuntimeError(f"not the answer: {self._seen[:400]!r}")
        return self._first_at - started, ended - started

    def close(self) -> None:
        """Disconnect."""
        self._transport.close()


async def connect(url: str) -> Caller:
    """A connection to a server."""
    host, _, port = url.removeprefix("http://").partition(":")
    _, caller = await asyncio.get_running_loop().create_connection(Caller, host, int(port))
    return caller


async def waits_ms(urls: dict[str, str], content: bytes, calls: int) -> dict[str, tuple[float, float]]:
    """Median milliseconds (to the first byte, to the end) at each of `urls`, asked in turn."""
    callers = {name: await connect(url) for name, url in urls.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in urls}
    for turn in range(calls + 20):
        for name, caller in callers.items():
            took = await caller.ask(content)
            if turn >= 20:  # the first ones open connections and fill caches
                found[name].append(took)
    for caller in callers.values():
        caller.close()
    return {
        name: (statistics.median(s[0] for s in took) * 1e3, statistics.median(s[1] for s in took) * 1e3)
        for name, took in found.items()
    }


async def rate(url: str, content: bytes, connections: int, *, seconds: float = 0, calls: int = 0) -> float:
    """Answers a second of a closed loop, for so long or until so many are there."""
    callers = [await connect(url) for _ in range(connections)]
    started, done = time.perf_counter(), 0

    async def run(caller: Caller) -> None:
        nonlocal done
        while done < calls if calls else time.perf_counter() - started < seconds:
            done += 1
            await caller.ask(content)
        caller.close()

    await asyncio.gather(*map(run, callers))
    return done / (time.perf_counter() - started)


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """What the kernel says a process holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measure_rate(
    child: ChildProcess, content: bytes, connections: int, seconds: float
) -> tuple[float, float]:
    """(answers/s, the server's CPU microseconds by answer)."""
    used, started = cpu_s(child.pid), time.perf_counter()
    per_second = uvloop.run(rate(child.url, content, connections, seconds=seconds))
    used = cpu_s(child.pid) - used
    return per_second, 1e6 * used / (per_second * (time.perf_counter() - started))


@contextmanager
def servers(
    latency_s: float, names: tuple[str, ...], against: Path | None = None
) -> Iterator[dict[str, ChildProcess]]:
    """The provider, and the `forwarder` and shims that are named, each in a process of its own."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def start(name: str, ready: str, *command: str, code: Path = CODE) -> ChildProcess:
            log_file = home / f"{name}.log"
            environment = {**env, "PYTHONPATH": str(code)}
            child = ChildProcess(
                [sys.executable, *command], ready=ready, log_file=log_file, environment=environment
            )
            stack.enter_context(child)
            os.sched_setaffinity(child.pid, {CORES[0]} if name in names else {CORES[-1]})
            return child

        env = {**os.environ, "JOURNAL_SYNC": "os", "MAX_CONNECTIONS": "2000", "MAX_IN_FLIGHT": "2000"}
        started = {"direct": start("direct", READY, __file__, "--provide", str(latency_s))}
        url = started["direct"].url
        for name in names:
            if name == "forwarder":
                started[name] = start(name, READY, __file__, "--forward", url)
                continue
            data = home / name
            data.mkdir()
            (data / "catalog.yaml").write_text(CATALOG.format(url=f"{url}/v1", rates=RATES))
            serve = ("-m", "router.cli", "serve", "--home", str(data), "--port", "0")
            code = against if against and name == OTHER else CODE
            started[name] = start(name, "intellirouter listening on ", *serve, code=code)
        yield started


def warm(url: str, calls: int) -> None:
    """Fill the caches; after many calls wait until their segment is sealed, which loads pyarrow."""
    uvloop.run(rate(url, WHOLE, 64, calls=calls))
    if calls >= 1000:
        time.sleep(SEALED_AFTER_S)


def overhead(children: dict[str, ChildProcess], *, calls: int, seconds: float) -> None:
    """Figures 1 and 2."""
    urls = {name: child.url for name, child in children.items()}
    warm(urls["shim"], calls)
    for what, content, connections, at in (("whole", WHOLE, 64, 1), ("stream", STREAMED, 16, 0)):
        waits = uvloop.run(waits_ms(urls, content, calls))
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in urls if name != "direct"}
        for name in list(rates) * ROUNDS:
            rates[name].append(measure_rate(children[name], content, connections, seconds / ROUNDS))
        for name, found in rates.items():
            per_second, used = (statistics.median(column) for column in zip(*found, strict=True))
            added = waits[name][at] - waits["direct"][at]
            print(
                f"{what:7} {name:10} adds {added:6.3f} ms p50 {'to the first chunk' if not at else ''}"
                f" at 1 connection   {per_second:7.0f} /s at {connections}   CPU {used:5.0f} us each"
            )


def in_flight(connections: int, *, calls: int, steps: int) -> None:
    """Figure 3: the memory after each of `steps` times 20,000 calls."""
    with servers(0.2, ("shim",)) as children:
        shim = children["shim"]
        warm(shim.url, calls // 10)
        used = cpu_s(shim.pid)
        per_second = uvloop.run(rate(shim.url, WHOLE, connections, calls=calls))
        used = 1e6 * (cpu_s(shim.pid) - used) / calls
        print(f"{connections:5} in flight behind 200 ms   {per_second:6.0f} /s   CPU {used:5.0f} us a call")
        for step in range(1, steps + 1):
            uvloop.run(rate(shim.url, WHOLE, connections, calls=20_000))
            gc.collect()
            print(f"{connections:5} in flight  {resident_mib(shim.pid):6.1f} MiB after {20_000 * step:7}")


def compare(against: Path, *, calls: int, turns: int, seconds: float) -> None:
    """The shim's CPU by call, as a ratio to the shim of the checkout `against`."""
    with servers(0.0, (OTHER, "shim"), against) as children:
        for name in (OTHER, "shim"):
            warm(children[name].url, calls)
        for what, content, connections in (("whole", WHOLE, 64), ("stream", STREAMED, 16)):
            used: dict[str, list[float]] = {OTHER: [], "shim": []}
            for name in [*used, *reversed(used)] * (turns // 2):
                used[name].append(measure_rate(children[name], content, connections, seconds)[1])
            least = {name: min(each) for name, each in used.items()}
            median = {name: statistics.median(each) for name, each in used.items()}
            print(
                f"{what:7} CPU {least['shim']:5.0f} us each, {least[OTHER]:5.0f} there"
                f"   ratio {least['shim'] / least[OTHER]:.3f} (least of {turns}),"
                f" {median['shim'] / median[OTHER]:.3f} (median)"
            )


OTHER = "other shim"
CODE = Path(__file__).resolve().parents[2]
CORES = sorted(os.sched_getaffinity(0))


def main() -> None:
    """Print a line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few calls, short")
    parser.add_argument("--long", action="store_true", help="200,000 calls for the memory")
    parser.add_argument("--against", type=Path, help="folder of another checkout")
    parser.add_argument("--provide", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--forward", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.provide is not None:
        uvloop.run(provide(options.provide))
    elif options.forward is not None:
        forward(options.forward)
    elif options.against is not None:
        os.sched_setaffinity(0, {CORES[-1]})
        if not (options.against / "router" / "cli.py").is_file():
            parser.error(f"`{options.against}` holds no router: name the folder of a checkout")
        short = options.smoke
        compare(
            options.against.resolve(), calls=30 if short else 1000, turns=8, seconds=0.1 if short else 2.5
        )
    else:
        os.sched_setaffinity(0, {CORES[-1]})
        with servers(0.0, ("forwarder", "shim")) as children:
            overhead(children, calls=30 if options.smoke else 1000, seconds=0.3 if options.smoke else 9.0)
        for connections in (64,) if options.smoke else (256, 1000):
            in_flight(connections, calls=300 if options.smoke else 20_000, steps=10 if options.long else 0)


if __name__ == "__main__":
    main()
