"""Security events: every refusal is counted, no token is kept, and an attack cannot fill the disk."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from router.errors import InvalidKeyError, JournalError
from router.keys.changes import revoke
from router.keys.keys import NOBODY
from router.records import SecurityEvent
from router.server import refusals
from router.server.app import create_app
from router.server.refusals import Refusals
from tests.router.server.test_auth import BODY, ELSEWHERE, bearer, key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.router import Router
    from tests.router.server.test_auth import OpenRouter

SCOPE: dict[str, Any] = {"headers": [], "client": (ELSEWHERE, 1)}


def scope_of(token: str, agent: str = "curl/8") -> dict[str, Any]:
    """A connection that shows a token."""
    headers = [(b"authorization", f"Bearer {token}".encode()), (b"user-agent", agent.encode())]
    return {**SCOPE, "headers": headers}


@pytest.fixture
def noted(tmp_path: Path) -> tuple[Refusals, list[SecurityEvent], Callable[[float], None]]:
    """A counter, the events that it wrote, and a function that sets its clock forward."""
    events: list[SecurityEvent] = []
    moment = [1000.0]
    found = Refusals(events.append, environment="test", key_file=tmp_path / "key", clock=lambda: moment[0])

    def forward(seconds: float) -> None:
        moment[0] += seconds

    return found, events, forward


def refused(router: Router, *requests: dict[str, Any]) -> list[SecurityEvent]:
    """The events of requests to a shim, once the router is closed."""
    app = create_app(router)
    found: list[SecurityEvent] = []
    write = app.shim.refusals._write

    def keep(event: SecurityEvent) -> None:
        found.append(event)
        write(event)

    app.shim.refusals._write = keep

    async def send() -> None:
        transport = httpx.ASGITransport(app, client=(ELSEWHERE, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://shim") as client:
            for request in requests:
                await client.request(**{"method": "POST", "url": "/v1/chat/completions", **request})
        await router.aclose_connections()

    asyncio.run(send())
    router.close()
    return found


@pytest.mark.smoke
def test_each_kind_of_refusal_is_an_event(open_router: OpenRouter, tmp_path: Path) -> None:
    """Keys, scopes, models, bodies and limits, with the key and its organisation where they are known."""
    (tmp_path / "limits.yaml").write_text("limits: [{scope: user, subject: eve, requests: 1, per: day}]")
    router, _ = open_router("small", "large")
    key_id, token = key(tmp_path, "route", organization_id="acme", models=("small",))
    eve_id, eve = key(tmp_path, "route", user_id="eve")
    old_id, old = key(tmp_path, "route", organization_id="globex")
    revoke(tmp_path / "keys.json", old_id)
    events = refused(
        router,
        {"json": BODY},
        {"json": BODY, "headers": bearer("ir_wrong")},
        {"json": BODY, "headers": bearer(old)},
        {"method": "GET", "url": "/health", "headers": bearer(token)},
        {"json": {**BODY, "model": "large"}, "headers": bearer(token)},
        {"content": b"{", "headers": bearer(token)},
        {"json": BODY, "headers": bearer(eve)},
        {"json": BODY, "headers": bearer(eve)},
        {"json": BODY, "headers": bearer(eve)},
    )
    facts = [
        (item.kind, item.status_code, item.api_key_id, item.organization_id, item.path, item.refusals)
        for item in events
    ]
    chat = "/v1/chat/completions"
    assert facts == [
        ("key", 401, None, None, chat, 1),
        ("key", 401, None, None, chat, 1),
        ("key", 401, old_id, "globex", chat, 1),
        ("scope", 403, key_id, "acme", "/health", 1),
        ("model", 403, key_id, "acme", chat, 1),
        ("body", 400, key_id, "acme", chat, 1),
        ("limit", 429, eve_id, None, chat, 2),
    ]
    assert [bool(item.key_fingerprint) for item in events[:3]] == [False, True, False]
    assert {item.ip_address for item in events} == {ELSEWHERE}


def test_no_token_is_kept(open_router: OpenRouter, tmp_path: Path) -> None:
    """Neither in the journal nor in the lake, wherever a client puts it."""
    router, _ = open_router("small")
    key(tmp_path, "route")
    token = "ir_" + "s3cr3tT0ken" * 4
    headers = {**bearer(token), "user-agent": f"agent {token}"}
    (event,) = refused(router, {"json": BODY, "headers": headers})
    assert event.user_agent is not None
    assert token not in event.user_agent
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if token.encode() in path.read_bytes()] == []
    assert [path for path in files if path.suffix == ".parquet" and "security_events" in str(path)] != []


def test_equal_refusals_are_one_event_and_counts_are_exact(noted: Any) -> None:
    """A flood of one wrong key is one row a second, and of many wrong keys a bounded number of rows."""
    found, events, forward = noted
    error = InvalidKeyError("no")
    for _ in range(500):
        found.note(error, scope_of("ir_same"), NOBODY, "/v1/models")
    found.flush()
    assert [event.refusals for event in events] == [500]
    for index in range(10_000):
        found.note(error, scope_of(f"ir_{index}"), NOBODY, "/v1/models")
    found.flush()
    assert len(events) <= refusals.MAX_ROWS + 2
    assert sum(event.refusals for event in events) == 10_500
    forward(refusals.WINDOW_S)
    found.note(error, scope_of("ir_later"), NOBODY, "/v1/models")
    found.close()
    assert events[-1].key_fingerprint is not None


def test_a_flood_of_unknown_keys_hides_no_refusal_of_a_known_one(noted: Any) -> None:
    """Each of the two has its own rows."""
    found, events, _ = noted
    for index in range(1000):
        found.note(InvalidKeyError("no"), scope_of(f"ir_{index}"), NOBODY, "/v1/models")
    found.note(InvalidKeyError("no", key_id="key_1", organization_id="acme"), SCOPE, NOBODY, "/v1/models")
    found.close()
    assert [event.organization_id for event in events if event.api_key_id == "key_1"] == ["acme"]


def test_fingerprints_tell_keys_apart_and_reveal_none(noted: Any, tmp_path: Path) -> None:
    """Equal keys have equal ones, and another folder has others."""
    found, events, _ = noted
    other_events: list[SecurityEvent] = []
    other = Refusals(other_events.append, environment="test", key_file=tmp_path / "other")
    for token in ("ir_a", "ir_a", "ir_b"):
        for counter in (found, other):
            counter.note(InvalidKeyError("no"), scope_of(token), NOBODY, "/v1/models")
    found.close()
    other.close()
    prints = Counter({event.key_fingerprint: event.refusals for event in events})
    assert sorted(prints.values()) == [1, 2]
    assert prints.keys().isdisjoint(event.key_fingerprint for event in other_events)


def test_counts_outlast_a_full_disk(tmp_path: Path) -> None:
    """They are kept in few rows until the disk takes them."""
    events: list[SecurityEvent] = []
    is_full = [True]

    def write(event: SecurityEvent) -> None:
        if is_full[0]:
            raise JournalError("no space left")
        events.append(event)

    found = Refusals(write, environment="test", key_file=tmp_path / "key")
    for index in range(100):
        found.note(InvalidKeyError("no"), scope_of(f"ir_{index}"), NOBODY, "/v1/models")
        if index % 10 == 0:
            found.flush()
    is_full[0] = False
    found.close()
    assert sum(event.refusals for event in events) == 100
    assert len(events) < 20


def test_a_flood_of_wrong_keys_waits_for_its_answers(noted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones are answered at once, and later ones at a rate that leaves the processor to others."""
    found, _, _ = noted
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    # Only its own name: servers of other tests sleep in threads of this process.
    monkeypatch.setattr(refusals, "asyncio", SimpleNamespace(sleep=sleep))
    for _ in range(refusals.BURST):
        asyncio.run(found.pause(InvalidKeyError("no")))
    assert waits == []
    for _ in range(5000):
        asyncio.run(found.pause(InvalidKeyError("no")))
    assert waits[0] == pytest.approx(1 / refusals.ANSWERS_PER_S)
    assert max(waits) <= refusals.LONGEST_PAUSE_S
