"""A restart keeps the sessions: from their file, or from the records where the file is missing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from router import Request, Router
from router.request.preferences import Preferences
from router.sessions.opening import SESSIONS_FILE
from router.sessions.sessions import Session
from router.sessions.shared import SharedSessions
from tests.factories import write_catalog

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ("small", "large", "uncounted")


@pytest.fixture
def home(tmp_path: Path, fake_url: str) -> Path:
    """A data folder with models that are equally good, so that chance decides."""
    path = tmp_path / "data"
    path.mkdir()
    write_catalog(path, MODELS, base_url=fake_url)
    return path


def turn(router: Router, number: int, **members: Any) -> tuple[str, str]:
    """The model of a session's next answer, and how it was chosen."""
    request = Request(
        messages=[{"role": "user", "content": "go on"}], session_id=f"chat-{number}", task_type="chat"
    )
    for name, value in members.items():
        object.__setattr__(request, name, value)
    answer = router.complete_sync(request)
    return answer.model, answer.decision.strategy


def test_a_restart_keeps_every_session(home: Path) -> None:
    """Each of 40 sessions has the same model after a restart as before it."""
    with Router.open(home=home, seed=1) as router:
        before = [turn(router, number)[0] for number in range(40)]
    assert len(set(before)) > 1
    with Router.open(home=home, seed=2) as router:
        assert [turn(router, number) for number in range(40)] == [(model, "sticky") for model in before]


def test_a_restart_keeps_a_sessions_policy_and_preferences(home: Path) -> None:
    """Those that were set without a request, too."""
    wishes = Preferences(only=frozenset({"large"}))
    with Router.open(home=home, seed=1) as router:
        router.open_session("chat-1", policy="cheapest", preferences=wishes)
    with Router.open(home=home, seed=1) as router:
        decision = router.route(Request(messages=[{"role": "user", "content": "go on"}], session_id="chat-1"))
    assert (decision.policy_id, decision.model) == ("cheapest", "large")


@pytest.mark.parametrize("is_sealed", [False, True])
def test_without_the_file_the_records_give_the_sessions(home: Path, *, is_sealed: bool) -> None:
    """From the journal and from the lake; a request without an answer starts none."""
    router = Router.open(home=home, seed=1, journal_seal_interval_s=3600)
    before = [turn(router, number)[0] for number in range(10)]
    if is_sealed:
        router.close()
    for path in home.glob(f"{SESSIONS_FILE}*"):
        path.unlink()
    with Router.open(home=home, seed=2) as again:
        assert [turn(again, number) for number in range(10)] == [(model, "sticky") for model in before]
        assert turn(again, 10)[1] != "sticky"
    router.close()


def test_a_session_that_was_idle_for_too_long_is_not_restored(home: Path) -> None:
    """SESSION_TTL_S counts from the last answer, whether the file or the records tell of it."""
    with Router.open(home=home, seed=1) as router:
        turn(router, 1)
    for is_removed in (False, True):
        if is_removed:
            for path in home.glob(f"{SESSIONS_FILE}*"):
                path.unlink()
        time.sleep(0.02)
        with Router.open(home=home, seed=1, session_ttl_s=0.01) as router:
            assert router._parts.sessions.get("chat-1") is None


@pytest.mark.parametrize("content", [b"not a database, by far" * 100, b""])
def test_a_damaged_file_is_replaced_from_the_records(home: Path, content: bytes) -> None:
    """A router starts on it, keeps the sessions, and shares them again."""
    with Router.open(home=home, seed=1) as router:
        model, _ = turn(router, 1)
    for path in home.glob(f"{SESSIONS_FILE}*"):
        path.unlink()
    (home / SESSIONS_FILE).write_bytes(content)
    with Router.open(home=home, seed=2) as router, Router.open(home=home, seed=3) as other:
        assert turn(router, 1) == (model, "sticky")
        assert turn(other, 1) == (model, "sticky")


def test_a_file_that_cannot_be_opened_leaves_sessions_in_memory(home: Path) -> None:
    """A folder in its place stops no router; sessions last as long as the process, and the reason is told."""
    (home / SESSIONS_FILE).mkdir()
    with Router.open(home=home, seed=1) as router:
        model, _ = turn(router, 1)
        assert turn(router, 1) == (model, "sticky")
        store = router._parts.sessions
        assert isinstance(store, SharedSessions)
        assert SESSIONS_FILE in str(store.error)


def test_a_session_whose_policy_is_gone_goes_on(home: Path) -> None:
    """A policy that was removed since the session began is not asked for again."""
    (home / "policies.yaml").write_text("policies: [{id: mine, version: 1, cost_weight: 1.0}]\n")
    with Router.open(home=home, seed=1) as router:
        router.open_session("chat-1", policy="mine")
    (home / "policies.yaml").unlink()
    with Router.open(home=home, seed=1) as router:
        decision = router.route(Request(messages=[{"role": "user", "content": "go on"}], session_id="chat-1"))
    assert decision.policy_id == "balanced"


def test_a_clock_that_was_ahead_keeps_no_session_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of tomorrow counts from the moment at which the file is opened again."""
    real, ahead = time.time, 86_400.0
    path = tmp_path / "sessions.db"
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    store = SharedSessions(path, ttl_s=60, max_sessions=3)
    store.update("a", model="small")
    store.close()
    monkeypatch.setattr(time, "time", real)
    store = SharedSessions(path, ttl_s=60, max_sessions=3)
    assert store.get("a") == Session(model="small")
    monkeypatch.setattr(time, "time", lambda: real() + 61)
    assert store.get("a") is None
    store.close()
