"""What OpenTelemetry costs: CPU and time a request of the HTTP shim, with a collector named and without.

    python tests/benchmarks/telemetry_cost.py [--smoke]

A fake provider answers at once; shims, provider and collector are processes of their own; bodies are
logged and records written as by default. The shims take turns, so that a busy machine slows all of
them. In one run, for telemetry off, on, and on with a tenth of the traces (OTEL_TRACES_SAMPLER):
1. p50 of a request at one connection;
2. requests/s at 16 connections, and the shim's CPU a request, its exports included.
And by itself what a request's path pays: `Telemetry.observe`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import orjson

from router import Request
from router.catalog.catalog import Catalog
from router.catalog.prices import Usage
from router.providers.base import Answer
from router.providers.fake import FakeProvider
from router.providers.fake.process import ChildProcess
from router.records import Attempt, Candidate, RequestRecord, new_id
from router.telemetry import open_telemetry

CATALOG = """\
providers: {{fake: {{kind: openai, base_url: "{url}"}}}}
models: [{{id: small, provider: fake}}, {{id: large, provider: fake}}]
"""
ANSWER = {"answer": "four", "tokens_input": 10, "tokens_output": 5}
SCRIPT = {"models": {"small": ANSWER, "large": ANSWER}}
COLLECTOR = """
import http.server
class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(f"collector listening on http://127.0.0.1:{server.server_port}", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
"""
CONNECTIONS = 16
BODY = orjson.dumps({"model": "auto", "messages": [{"role": "user", "content": "What is 2 + 2?"}]})
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
POST = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request to its end."""
    writer.write(POST)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"not served: {head!r}")
    length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
    await reader.readexactly(int(length))


async def run(url: str, seconds: float, connections: int) -> list[float]:
    """Seconds of each request of a closed loop."""
    host, _, port = url.removeprefix("http://").partition(":")
    took: list[float] = []
    until = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while (started := time.perf_counter()) < until:
            await answer(reader, writer)
            took.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return took


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(shims: dict[str, ChildProcess], rounds: int, seconds: float) -> None:
    """Print a line a shim."""
    alone: dict[str, list[float]] = {name: [] for name in shims}
    rates: dict[str, list[float]] = {name: [] for name in shims}
    used, done = dict.fromkeys(shims, 0.0), dict.fromkeys(shims, 0)
    for _ in range(rounds):
        for name, shim in shims.items():
            alone[name] += asyncio.run(run(shim.url, seconds / 4, 1))
            before = cpu_s(shim.pid)
            took = asyncio.run(run(shim.url, seconds, CONNECTIONS))
            time.sleep(min(seconds / 2, 1.0))  # its exports go on
            used[name] += cpu_s(shim.pid) - before
            done[name] += len(took)
            rates[name].append(len(took) / seconds)
    for name in shims:
        print(
            f"{name:<12} p50 {1e3 * statistics.median(alone[name]):6.3f} ms"
            f"   {statistics.median(rates[name]):6.0f} requests/s"
            f"   CPU {1e6 * used[name] / done[name]:5.0f} us a request   ({done[name]} requests)"
        )


def observe_us(home: Path, collector: str, requests: int) -> float:
    """Microseconds of a request's own path, p50."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_TRACES_SAMPLER": "always_off"}
    telemetry = open_telemetry(variables, environment="benchmark")
    assert telemetry is not None
    catalog, (request_id, moment) = Catalog.load(home / "catalog.yaml"), new_id()
    record = RequestRecord(
        id=request_id, timestamp=moment, environment="benchmark", task_type="math", task_type_source="rule",
        model_requested="auto", model_selected="small", provider="fake", policy_id="balanced",
        policy_version=1, config_hash="0", strategy="thompson", reason="", success=True, latency_ms=5.0,
        candidates=[Candidate(model="small", is_eligible=True)], tokens_input=10, tokens_output=5,
        attempts=[Attempt(model="small", provider="fake", status_code=200, latency_ms=4.0)],
    )  # fmt: skip
    body = {"id": "chatcmpl-1", "model": "small", "choices": [{"finish_reason": "stop"}]}
    reply = Answer(
        body=body, raw=b"", status_code=200, usage=Usage(), provider_cost_usd=None, finish_reason="stop"
    )
    request = Request(messages=[{"role": "user", "content": "hi"}])
    took = []
    for _ in range(requests):
        started = time.perf_counter()
        telemetry.observe(request, record, reply, catalog, (0.5,))
        took.append(time.perf_counter() - started)
    telemetry.close()
    return 1e6 * statistics.median(took)


def main() -> None:
    """Print a line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few requests, short")
    smoke = parser.parse_args().smoke
    rounds, seconds = (1, 0.3) if smoke else (4, 3.0)
    with tempfile.TemporaryDirectory() as folder, FakeProvider(SCRIPT) as upstream, ExitStack() as running:
        collector = running.enter_context(
            ChildProcess(
                [sys.executable, "-c", COLLECTOR],
                ready="collector listening on ",
                log_file=Path(folder) / "collector.log",
            )
        ).url
        on = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
        tenth = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
        shims = {}
        for name, variables in {"off": {}, "on": on, "on, a tenth": {**on, **tenth}}.items():
            home = Path(folder) / name
            home.mkdir()
            (home / "catalog.yaml").write_text(CATALOG.format(url=upstream))
            command = [sys.executable, "-m", "router.cli", "serve", "--home", str(home), "--port", "0"]
            process = ChildProcess(
                command,
                ready="intellirouter listening on ",
                log_file=home / "shim.log",
                environment={**os.environ, **variables},
            )
            shims[name] = running.enter_context(process)
        measure(shims, rounds, seconds)
        cost = observe_us(Path(folder) / "off", collector, 1000 if smoke else 10_000)
        print(f"Telemetry.observe   p50 {cost:.2f} us")


if __name__ == "__main__":
    main()
