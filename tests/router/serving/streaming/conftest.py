"""A provider that streams in every way the tests need, and routers over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from router.providers.fake import FakeProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS: list[dict[str, Any]] = [
    {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'}},
    {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
]
COUNTED = {"answer": "it is four", "tokens_input": 1000, "tokens_output": 100}


def streaming(**stream: Any) -> dict[str, Any]:
    """A model that answers `it is four` and counts, and streams as said."""
    return {**COUNTED, "stream": stream}


STREAMS: dict[str, Any] = {
    "plain": streaming(),
    "crlf": streaming(line_end="\r\n"),
    "tools": {**COUNTED, "tools": TOOLS},
    "announced": streaming(is_usage_announced=True),
    "undone": streaming(is_done_sent=False),
    "uncounted": streaming(is_usage_sent=False),
    "late": streaming(role_first=True, first_delay_ms=300),
    "stuck": streaming(role_first=True, first_delay_ms=30_000),
    "long": streaming(chunks=200, delay_ms=50),
    "down": {"error_rate": 1.0, "error_status": 503},
    "busy": {"error_rate": 1.0, "error_status": 429, "retry_after": "7"},
    "whole": {"body": "no-choices"},
    "empty": streaming(chunks=0),
    **{f"early-{fault}": streaming(role_first=True, fault=fault, fault_after=0)
       for fault in ("cut", "truncated", "ended", "error", "not-json")},
    **{f"late-{fault}": streaming(fault=fault, fault_after=2)
       for fault in ("cut", "truncated", "ended", "error", "not-json")},
}  # fmt: skip
PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
MESSAGES: list[Any] = [{"role": "user", "content": "2 + 2?"}]


@pytest.fixture(scope="session")
def provider() -> Iterator[FakeProvider]:
    """The running provider."""
    fake = FakeProvider({"models": STREAMS})
    with fake:
        yield fake


@pytest.fixture(scope="session")
def fake_url(provider: FakeProvider) -> str:
    """Takes the place of the fixture of all suites, so that `open_router` opens over this provider."""
    return provider.base_url
