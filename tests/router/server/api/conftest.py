"""A shim before servers of three kinds: one of the responses API, one of chat alone, and Anthropic's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest
import yaml

from router import Router
from router.providers.fake import FakeProvider
from tests.recording import Recorder
from tests.router.providers.anthropic_server import KEY, AnthropicServer, anthropic_server
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.records import Record

TOOLS: list[dict[str, Any]] = [
    {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}},
]
COUNTED = {
    "answer": "it is four",
    "tokens_input": 1000,
    "tokens_output": 100,
    "tokens_cached_input": 400,
    "tokens_reasoning": 30,
}


def streaming(**stream: Any) -> dict[str, Any]:
    """A model that answers `it is four` and counts, and streams as said."""
    return {**COUNTED, "stream": stream}


SCRIPT: dict[str, Any] = {
    "plain": COUNTED,
    "calls": {**COUNTED, "tools": TOOLS},
    "long": streaming(chunks=200, delay_ms=50),
    "down": {"error_rate": 1.0, "error_status": 503},
    "picky": {"error_rate": 1.0, "error_status": 400},
    "hollow": {"body": "no-choices"},
    **{f"early-{fault}": streaming(fault=fault, fault_after=0) for fault in ("cut", "ended", "error")},
    **{
        f"late-{fault}": streaming(fault=fault, fault_after=2)
        for fault in ("cut", "ended", "error", "not-json", "truncated")
    },
}
PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
CLAUDES = ("text", "thinks", "calls", "json", "cut", "fails")
KINDS = ("native-plain", "chat-plain", "claude-text")
"""A model of each kind of server."""


class Shim:
    """A running shim, what it recorded, and the servers behind it."""

    def __init__(
        self, router: Router, recorder: Recorder, url: str, provider: FakeProvider, claude: AnthropicServer
    ) -> None:
        self.router = router
        self.records: list[Record] = recorder.records
        self.logs = recorder.logs
        self.url = url
        self.provider = provider
        self.claude = claude

    def last(self) -> dict[str, Any]:
        """The body of the last request that the fake provider saw, and its path under `path`."""
        seen = self.provider.seen()["last"]
        return {**seen["body"], "path": seen["path"]}

    def add_model(self, entry: str) -> None:
        """Put a model into the catalog; `entry` in YAML."""
        path = self.router.settings.home / "catalog.yaml"
        path.write_text(path.read_text().replace("models:\n", f"models:\n- {entry}\n"))
        assert self.router.refresh()


@pytest.fixture(scope="session")
def provider() -> Iterator[FakeProvider]:
    """The running provider."""
    fake = FakeProvider({"models": SCRIPT})
    with fake:
        yield fake


@contextmanager
def running(home: Path, provider: FakeProvider) -> Iterator[Shim]:
    """A shim over a router of its own."""
    with anthropic_server() as claude, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTHROPIC_KEY", KEY)
        catalog = {
            "providers": {
                "native": {"kind": "openai", "base_url": provider.base_url, "apis": ["chat", "responses"]},
                "chat": {"kind": "openai", "base_url": provider.base_url},
                "anthropic": {
                    "kind": "anthropic", "base_url": claude.base_url, "api_key_env": "ANTHROPIC_KEY",
                },
            },
            "models": [
                *(
                    {"id": f"{kind}-{name}", "provider": kind, "provider_model": name, **PRICED}
                    for kind in ("native", "chat")
                    for name in SCRIPT
                ),
                *({"id": f"claude-{name}", "provider": "anthropic", **PRICED} for name in CLAUDES),
            ],
            "tasks": ["math", "chat", "tool-use"],
            "aliases": {"gpt-somewhere": "native-plain"},
        }  # fmt: skip
        (home / "catalog.yaml").write_text(yaml.safe_dump(catalog))
        (home / "limits.yaml").write_text(
            "limits: [{scope: user, subject: hurried, requests: 1, per: hour}]\n"
            "budgets: [{id: small, scope: user, subject: poor, usd: 1, period: day, mode: hard}]"
        )
        router = Router.open(
            home=home,
            seed=1,
            task_sample_share=0,
            max_retries=0,
            max_body_bytes=100_000,
            health_max_ejected_share=0,  # what fails here fails on purpose
        )
        recorder = Recorder()
        router.observe(recorder)
        with serving(router) as url:
            yield Shim(router, recorder, f"{url}/v1", provider, claude)


@pytest.fixture(scope="session")
def shared_shim(tmp_path_factory: pytest.TempPathFactory, provider: FakeProvider) -> Iterator[Shim]:
    """The shim of all tests that leave it as it was."""
    with running(tmp_path_factory.mktemp("home"), provider) as shim:
        yield shim


@pytest.fixture
def shim(shared_shim: Shim) -> Shim:
    """The shim, with nothing recorded."""
    for seen in (shared_shim.records, shared_shim.logs, shared_shim.claude.bodies):
        seen.clear()
    return shared_shim


@pytest.fixture
def own_shim(tmp_path: Path, provider: FakeProvider) -> Iterator[Shim]:
    """A shim of this test alone, whose configuration it may change."""
    with running(tmp_path, provider) as shim:
        yield shim


@pytest.fixture
def client(shim: Shim) -> Iterator[openai.OpenAI]:
    """The openai package, unchanged but for its base URL."""
    with openai.OpenAI(base_url=shim.url, api_key="unused", max_retries=0) as client:
        yield client
