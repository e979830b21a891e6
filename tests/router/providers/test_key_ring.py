"""Keys, addresses and the ways in which providers say how long to wait."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from router import ConfigError, ProviderError, Request, Router
from router.catalog.catalog import Catalog
from router.providers.http.retry_after import MAX_RETRY_AFTER_S, retry_after_s
from router.providers.key_ring import LIMITED_COOLDOWN_S, REFUSED_COOLDOWN_S, ProviderKeyRing
from router.request.preferences import Preferences
from tests.factories import write_catalog
from tests.recording import Recorder, only_request
from tests.router.providers.scripted import Exchange, ScriptedServer, completion

if TYPE_CHECKING:
    from pathlib import Path

    from router.records import RequestRecord

MESSAGES = [{"role": "user", "content": "hi"}]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("status", "asked_s", "rest_s"),
    [
        (401, None, REFUSED_COOLDOWN_S),
        (403, 5.0, REFUSED_COOLDOWN_S),
        (429, None, LIMITED_COOLDOWN_S),
        (429, 30.0, 30.0),
        (429, 0.0, 1.0),
        (429, 86_400.0, 3600.0),
    ],
)
def test_a_refused_key_rests_while_the_next_is_used(
    status: int, asked_s: float | None, rest_s: float
) -> None:
    """The first key that does not rest is taken; a rested one comes back in its place."""
    clock = Clock()
    ring = ProviderKeyRing(["one", "two"], clock=clock)
    assert ring.take() == "one"
    assert ring.refused("one", status, asked_s)
    assert ring.take() == "two"
    clock.now = rest_s - 0.001
    assert ring.take() == "two"
    clock.now = rest_s
    assert ring.take() == "one"


@pytest.mark.smoke
def test_when_every_key_rests_the_one_that_is_soonest_is_taken() -> None:
    """A ring never leaves a provider without a key; it only says that no other is ready."""
    ring = ProviderKeyRing(["one", "two"], clock=Clock())
    assert ring.refused("one", 429, 20.0)
    assert not ring.refused("two", 429, 5.0)
    assert ring.take() == "two"
    assert not ProviderKeyRing(["only"]).refused("only", 401, None)
    assert ProviderKeyRing().take() is None


@pytest.mark.parametrize("status", [400, 404, 408, 500, 503])
def test_other_failures_are_not_the_key_s(status: int) -> None:
    """They leave it in use."""
    ring = ProviderKeyRing(["one", "two"], clock=Clock())
    assert not ring.refused("one", status, None)
    assert ring.take() == "one"


@pytest.mark.smoke
def test_keys_come_from_the_variables_that_are_set() -> None:
    """Space around a key, as files leave it, is no part of it; twice the same is once."""
    environment = {"A": " one\n", "B": "", "C": "two", "D": "one"}
    ring = ProviderKeyRing.read(["A", "B", "C", "D", "E"], environment)
    assert ring.take() == "one"
    ring.refused("one", 401, None)
    assert ring.take() == "two"


@pytest.mark.parametrize("key", ["a b", "clé", "a\r\nx: y"])
def test_a_key_that_no_header_carries_is_named_by_its_variable(key: str) -> None:
    """The message does not repeat it."""
    with pytest.raises(ConfigError, match="`A_KEY`") as raised:
        ProviderKeyRing.read(["A_KEY"], {"A_KEY": key})
    assert key not in str(raised.value)


KEYS = {"KEY_1": "secret-of-the-first", "KEY_2": "secret-of-the-second"}


def complete(
    home: Path, url: str, *, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...] = (), **provider: Any
) -> Any:
    """(answer or error, record) of a request for the model `m` of a provider with both keys."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    write_catalog(home, ["m", *others], base_url=url, api_key_env=list(KEYS), **provider)
    with Router.open(home=home, max_retries=0, request_log_body_mode="full") as router:
        recorder = Recorder()
        router.observe(recorder)
        try:
            request = Request(messages=MESSAGES, preferences=Preferences(order=("m",)))
            said: Any = router.complete_sync(request).text
        except ProviderError as error:
            said = error
        return said, only_request(recorder.records)


def tries(record: RequestRecord) -> list[Any]:
    return [(attempt.status_code, attempt.error_type) for attempt in record.attempts]


@pytest.mark.parametrize(("status", "error_type"), [(401, "authentication"), (429, "rate_limited")])
def test_a_request_goes_on_with_the_next_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, error_type: str
) -> None:
    """Each try is recorded; the model is not left out for a fault of one of its keys."""

    async def behave(exchange: Exchange) -> None:
        if "first" in (exchange.header("authorization") or ""):
            await exchange.answer(f"{status} No", retry_after="60")
        else:
            await exchange.answer("200 OK", completion())

    with ScriptedServer(behave) as server:
        said, record = complete(tmp_path, server.url, monkeypatch=monkeypatch, others=("other",))
    assert said == "fine"
    assert tries(record) == [(status, error_type), (200, None)]
    assert [attempt.model for attempt in record.attempts] == ["m", "m"]


def test_no_key_is_told_when_all_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider that quotes every key in its errors is not repeated: to caller, record, file or log."""
    caplog.set_level(logging.DEBUG)

    async def behave(exchange: Exchange) -> None:
        quoted = f"{exchange.header('authorization')} and {' '.join(KEYS.values())}"
        body = b'{"error": {"message": "%s", "code": "%s"}}' % (quoted.encode(), KEYS["KEY_2"].encode())
        await exchange.answer("401 Who", body)

    with ScriptedServer(behave) as server:
        said, record = complete(tmp_path, server.url, monkeypatch=monkeypatch)
        used = [exchange.header("authorization") for exchange in server.requests]
    assert used == [f"Bearer {key}" for key in KEYS.values()]
    assert isinstance(said, ProviderError)
    assert "[key]" in str(said)
    assert tries(record) == [(401, "authentication")] * 2
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for key in KEYS.values():
        assert key not in str(said) + repr(record) + caplog.text
        assert key.encode() not in files


def test_a_model_is_left_out_only_when_none_of_its_keys_is_set(tmp_path: Path) -> None:
    """The exclusion names every variable that would do."""
    write_catalog(tmp_path, ["m"], api_key_env=["KEY_1", "KEY_2"])
    from router.decision.eligibility import standing_exclusions

    catalog = Catalog.load(tmp_path / "catalog.yaml")
    assert standing_exclusions(catalog, {"KEY_2": "x"}) == {}
    assert standing_exclusions(catalog, {}) == {
        "m": "the key of provider `fake` is missing: set `KEY_1` or `KEY_2`"
    }


def test_azure_is_asked_by_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address names deployment and version, and the key goes in a header of its own."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer("200 OK", completion())

    with ScriptedServer(behave) as server:
        url = server.url.removesuffix("/v1")
        said, _ = complete(tmp_path, url, monkeypatch=monkeypatch, kind="azure", api_version="2024-10-21")
        (request,) = server.requests
    assert said == "fine"
    assert request.head.split(b"\r\n")[0] == (
        b"POST /openai/deployments/m/chat/completions?api-version=2024-10-21 HTTP/1.1"
    )
    assert request.header("api-key") == KEYS["KEY_1"]
    assert request.header("authorization") is None


@pytest.mark.parametrize(
    "provider",
    [{"kind": "azure"}, {"kind": "openai", "api_version": "1"}, {"kind": "azure", "api_version": "1&key=2"}],
)
def test_a_provider_s_fields_belong_to_its_kind(tmp_path: Path, provider: dict[str, str]) -> None:
    """Azure needs an `api_version` that is one; OpenAI has none."""
    content = {"providers": {"p": {"base_url": "http://127.0.0.1:9", **provider}}, "models": []}
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="api_version"):
        Catalog.load(tmp_path / "catalog.yaml")


NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT", "date": "Mon, 23 Nov 2026 12:00:20 GMT"}, 10.0),
        ({"retry-after": "Wed, 25 Nov 2026 12:00:00 GMT"}, MAX_RETRY_AFTER_S),
        ({"retry-after": "9999999"}, MAX_RETRY_AFTER_S),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_every_form_of_retry_after_is_understood(headers: dict[str, str], expected: float | None) -> None:
    """Seconds, milliseconds, dates by the provider's own clock; nonsense is as if it said nothing."""
    assert retry_after_s(headers, now=NOW) == expected
