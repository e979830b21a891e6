"""Fixtures shared by all suites."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from router import Router
from router.providers.fake import FakeProvider
from tests.factories import write_catalog
from tests.postgres import postgres_server, postgres_url
from tests.recording import Recorder
from tests.router.limits.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from router.records import Record

__all__ = ["postgres_server", "postgres_url"]

SCRIPT: dict[str, Any] = {
    "models": {
        "small": {"answer": "from small", "tokens_input": 1000, "tokens_output": 100},
        "large": {"answer": "from large", "tokens_input": 1000, "tokens_output": 100},
        "down": {"error_rate": 1.0, "error_status": 503},
        "busy": {"error_rate": 1.0, "error_status": 429},
        "refusing": {"error_rate": 1.0, "error_status": 401},
        "picky": {"error_rate": 1.0, "error_status": 400},
        "slow": {"answer": "late", "latency_ms": 30_000},
        "uncounted": {"answer": "no usage"},
    }
}

# Tests check no speed, and draw the same examples each time; `--hypothesis-profile=default` draws others.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting or .env file of the developer's reaches a test."""
    from router.config import Settings

    for name, _, _ in Settings.describe():
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture(scope="session")
def fake_url() -> Iterator[str]:
    """Base URL of a fake provider with the models of SCRIPT."""
    with FakeProvider(SCRIPT) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server on a free port, stopped with the session."""
    reason = RedisServer.missing()
    if reason is not None:
        pytest.skip(reason)
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def open_router(tmp_path: Path, fake_url: str) -> Iterator[Callable[..., tuple[Router, list[Record]]]]:
    """Opens routers over the fake provider; each comes with the list of its records."""
    opened: list[Router] = []

    def open_one(*models: str | dict[str, Any], **settings: Any) -> tuple[Router, list[Record]]:
        write_catalog(tmp_path, models or ("small", "large"), base_url=fake_url)
        router = Router.open(home=tmp_path, seed=1, **settings)
        recorder = Recorder()
        router.observe(recorder)
        opened.append(router)
        return router, recorder.records

    yield open_one
    for router in opened:
        router.close()
