"""Two machines with one PostgreSQL and one Redis: data folders of their own, and a server on each."""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from router.config import Settings
from router.configuration.changing import apply
from router.configuration.moving import push
from router.configuration.opening import open_source_database
from router.keys import changes
from router.keys.opening import open_key_store
from router.providers.fake import FakeProvider
from tests.factories import write_catalog
from tests.postgres import PostgresServer
from tests.router.limits.servers import RedisServer
from tests.servers import Served

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

MODELS = tuple(f"m-{number}" for number in range(8))
"""Equally good, so that chance decides, and a session that is not kept is seen."""
CALLERS = 8
"""Requests at once."""


class Machines:
    """Enter it: everything is started. `ask` is a request, and `load` many of them in the background."""

    def __init__(self, folder: Path, count: int = 2) -> None:
        self._folder = folder
        self._count = count
        self._opened = ExitStack()
        self.served: list[Served] = []
        self.postgres = PostgresServer()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "redis").mkdir(exist_ok=True)
        self.redis = RedisServer(folder / "redis")

    @staticmethod
    def missing() -> str | None:
        """Why there can be none; None when there can."""
        return PostgresServer.missing() or RedisServer.missing()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            script = {"models": {name: {"answer": name, "tokens_input": 10} for name in MODELS}}
            base_url = opened.enter_context(FakeProvider(script))
            opened.enter_context(self.postgres)
            opened.enter_context(self.redis)
            self._url = self.postgres.create_database()
            self.settings = [self._settings(number) for number in range(self._count)]
            write_catalog(self.settings[0].home, MODELS, base_url=base_url)
            push(self.settings[0])
            self.token = self.make_key("everyone", on=0)[1]
            for number in range(self._count):
                self.served.append(opened.enter_context(self._server(number)))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _settings(self, number: int) -> Settings:
        home = self._folder / f"machine-{number}"
        home.mkdir(parents=True, exist_ok=True)
        return Settings.load(self._variables(), home=home)

    def _variables(self) -> dict[str, str]:
        return {"DATABASE_URL": self._url, "REDIS_URL": self.redis.url, "DB_POOL_SIZE": "2"}

    def _server(self, number: int) -> Served:
        return Served(self.settings[number].home, workers=1, **self._variables())

    def kill_and_restart(self) -> None:
        """SIGKILL for every server, and new ones on the same folders."""
        for number, server in enumerate(self.served):
            server.kill_group()
            self.served[number] = self._opened.enter_context(self._server(number))

    def make_key(self, name: str, *, on: int) -> tuple[str, str]:
        """Id and token of a new key, made on one machine."""
        store = open_key_store(self.settings[on])
        entry, token = changes.create(store, name=name, scopes=["route", "report"])
        store.close()
        return entry.id, token

    def revoke(self, key_id: str, *, on: int) -> None:
        """Revoke a key on one machine."""
        store = open_key_store(self.settings[on])
        changes.revoke(store, key_id)
        store.close()

    def apply(self, documents: dict[str, bytes | None], *, on: int) -> str:
        """Change documents on one machine; the hash that both machines will have."""
        source = open_source_database(self.settings[on])
        version = apply(source, self.settings[on], documents)
        source.database.close()
        return version.config_hash

    def ask(
        self, number: int, client: httpx.Client, *, session: str | None = None, token: str | None = None
    ) -> httpx.Response:
        """One request to a machine."""
        headers = {"authorization": f"Bearer {token or self.token}"}
        if session is not None:
            headers["x-session-id"] = session
        body = {"model": "auto", "messages": [{"role": "user", "content": "go on"}]}
        return client.post(f"{self.served[number].url}/v1/chat/completions", json=body, headers=headers)

    def health(self, number: int, client: httpx.Client) -> dict[str, Any]:
        """What a machine says of itself."""
        reply = client.get(
            f"{self.served[number].url}/health", headers={"authorization": f"Bearer {self.token}"}
        )
        found: dict[str, Any] = reply.json()
        return found

    def answers(self, sessions: list[str], number: int) -> list[str]:
        """The model of each session's next answer on a machine."""
        local = threading.local()

        def one(session: str) -> str:
            if not hasattr(local, "client"):
                local.client = self._opened.enter_context(httpx.Client(timeout=30))
            reply = self.ask(number, local.client, session=session)
            assert reply.status_code == 200, reply.text
            model: str = reply.json()["model"]
            return model

        with ThreadPoolExecutor(CALLERS) as pool:
            return list(pool.map(one, sessions))

    def load(self, during: Callable[[], None]) -> tuple[int, list[str]]:
        """Requests to every machine, in sessions, while `during` runs: how many, and those that failed."""
        stop = threading.Event()
        done = [0] * CALLERS
        failures: list[str] = []

        def caller(place: int) -> None:
            with httpx.Client(timeout=30) as client:
                while not stop.is_set():
                    reply = self.ask(done[place] % self._count, client, session=f"load-{place}")
                    done[place] += 1
                    if reply.status_code != 200:
                        failures.append(f"{reply.status_code} {reply.text:.200}")

        threads = [threading.Thread(target=caller, args=(place,)) for place in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            during()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        return sum(done), failures


def seconds_until(holds: Callable[[], bool], *, timeout_s: float = 30.0) -> float:
    """How long it takes until something holds."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < timeout_s, "it did not come to pass"
        time.sleep(0.02)
    return time.monotonic() - started


def names(count: int) -> list[str]:
    """Session ids."""
    return [f"{secrets.token_hex(4)}-{number}" for number in range(count)]
