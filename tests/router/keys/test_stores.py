"""What every KeyStore promises: `keys.json` and PostgreSQL run the same suite."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from router.config import Settings
from router.errors import ConfigError, InvalidKeyError
from router.keys import changes
from router.keys.audit_trail import ERASED, read_events
from router.keys.keys import now
from router.keys.opening import open_key_source, open_key_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from router.keys.keys import KeyStore

    Open = Callable[[], KeyStore]


@pytest.fixture(params=["file", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of each kind of store."""
    variables: dict[str, str] = {}
    if request.param == "postgres":
        variables["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    return Settings.load(variables, home=tmp_path / "home")


@pytest.fixture
def open_store(settings: Settings) -> Iterator[Open]:
    """Opens the store, as another process would."""
    opened: list[KeyStore] = []

    def open_one() -> KeyStore:
        opened.append(open_key_store(settings))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.mark.smoke
def test_a_new_key_is_there_for_others(open_store: Open) -> None:
    """Another process finds it with everything that it may do, and its token opens."""
    entry, token = changes.create(
        open_store(), name="ci", scopes=["route"], models=["small"], organization_id="acme", user_id="ada"
    )
    other = open_store()
    assert other.read().keys == (entry,)
    caller = other.load().caller(token, at=now())
    assert (caller.key_id, caller.organization_id, caller.user_id) == (entry.id, "acme", "ada")
    assert caller.models == frozenset({"small"})


def test_a_revoked_key_opens_nothing(open_store: Open) -> None:
    """It stays in the list, and the version of the keys is another one."""
    entry, token = changes.create(open_store(), name="ci", scopes=["route"])
    before = open_store().version()
    changes.revoke(open_store(), entry.id)
    assert open_store().version() != before
    with pytest.raises(InvalidKeyError, match="revoked"):
        open_store().load().caller(token, at=now())


def test_a_rotated_key_has_both_tokens_for_a_while(open_store: Open) -> None:
    """The id stays, and the old token ends with its grace."""
    entry, old = changes.create(open_store(), name="ci", scopes=["route"])
    rotated, new = changes.rotate(open_store(), entry.id, grace=timedelta(hours=1))
    ring = open_store().load()
    assert rotated.id == entry.id
    assert {ring.caller(token, at=now()).key_id for token in (old, new)} == {entry.id}
    with pytest.raises(InvalidKeyError, match="rotated"):
        ring.caller(old, at=now() + timedelta(hours=2))


def test_an_unknown_key_is_named(open_store: Open) -> None:
    """The message names the nearest id, and no change and no event follows."""
    entry, _ = changes.create(open_store(), name="ci", scopes=["route"])
    with pytest.raises(ConfigError, match=entry.id):
        changes.revoke(open_store(), entry.id[:-1] + ("0" if entry.id[-1] != "0" else "1"))


def test_keys_made_at_once_are_all_there(open_store: Open, settings: Settings) -> None:
    """Ten processes make one key each: ten keys, ten events."""
    stores = [open_store() for _ in range(10)]
    start = threading.Barrier(10)

    def make(store: KeyStore) -> None:
        start.wait()
        changes.create(store, name="ci", scopes=["route"])

    threads = [threading.Thread(target=make, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(open_store().read().keys) == 10
    assert len(read_events(settings.compliance_file)) == 10


def test_a_machine_has_the_events_of_every_machine(
    open_store: Open, settings: Settings, tmp_path: Path
) -> None:
    """Each once, in order, and an erased person leaves all of them."""
    entry, _ = changes.create(open_store(), name="ci", scopes=["route"], user_id="ada")
    shared = settings.home if settings.database_url is None else tmp_path / "other"
    shared.mkdir(exist_ok=True)
    with closing(open_key_store(settings.model_copy(update={"home": shared}))) as other:
        changes.revoke(other, entry.id, actor="grace")
        for store in (open_store(), other):
            events = store.events()
            assert [(event.action, event.subject) for event in events] == [
                ("key.created", entry.id),
                ("key.revoked", entry.id),
            ]
            assert events[1].actor == "grace"
        other.forget("ada")
    assert [event.after["user_id"] for event in open_store().events()][-1] == ERASED


def test_a_change_that_fails_leaves_no_event(
    open_store: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is on disk before the change, and gone again if the change was not made."""
    store = open_store()
    entry, _ = changes.create(store, name="ci", scopes=["route"])
    with store.held() as held:
        monkeypatch.setattr(type(held), "write", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        changes.revoke(open_store(), entry.id)
    assert [event.action for event in read_events(settings.compliance_file)] == ["key.created"]
    assert open_store().read().keys == (entry,)


def test_a_server_sees_changes(open_store: Open, settings: Settings) -> None:
    """A source that serves has a new version and the new keys within two seconds of a change."""
    from tests.servers import until

    source, interval_s = open_key_source(settings)
    try:
        before = source.version()
        assert not source.load().entries
        entry, token = changes.create(open_store(), name="ci", scopes=["route"])
        until(lambda: source.version() != before, timeout_s=20)
        assert source.load().caller(token, at=now()).key_id == entry.id
        assert interval_s <= 2.0
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()
