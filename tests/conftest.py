"""Fixtures shared by all suites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from router.providers.fake import FakeProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT: dict[str, Any] = {
    "models": {
        "small": {"answer": "from small", "tokens_input": 1000, "tokens_output": 100},
        "large": {"answer": "from large", "tokens_input": 1000, "tokens_output": 100},
        "down": {"error_rate": 1.0, "error_status": 503},
        "busy": {"error_rate": 1.0, "error_status": 429},
        "picky": {"error_rate": 1.0, "error_status": 400},
        "slow": {"answer": "late", "latency_ms": 30_000},
        "uncounted": {"answer": "no usage"},
    }
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting or .env file of the developer's reaches a test."""
    from router.config import Settings

    for name, _, _ in Settings.describe():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture(scope="session")
def fake_url() -> Iterator[str]:
    """Base URL of a fake provider with the models of SCRIPT."""
    with FakeProvider(SCRIPT) as base_url:
        yield base_url
