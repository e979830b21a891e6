"""A router on PostgreSQL: it follows changes, and serves without the server from its last copy."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router import Request, Router
from router.config import Settings
from router.configuration.backups import backup, restore
from router.configuration.changing import apply
from router.configuration.folder import StateFolder
from router.configuration.moving import pull, push
from router.configuration.opening import open_source_database
from router.errors import ConfigConflictError, ConfigError, DatabaseUnavailableError
from router.keys import changes
from router.keys.keys import KeyFile
from router.keys.opening import open_key_store
from router.server.auth import Keys
from router.stores import polling
from tests.factories import write_catalog
from tests.postgres import PASSWORD, PostgresServer
from tests.servers import until

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICY = b"policies: [{id: support, version: %d, cost_weight: 1.0}]\n"
LIMITS = b"budgets: [{id: few, scope: user, subject: '*', usd: 1, period: day, mode: hard}]\n"


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """A server that this test may stop."""
    if reason := PostgresServer.missing():
        pytest.skip(reason)
    with PostgresServer() as server:
        yield server


def pushed(home: Path, url: str, fake_url: str) -> Settings:
    """A data folder whose documents are in the database."""
    home.mkdir(exist_ok=True)
    write_catalog(home, ["small", "large"], base_url=fake_url)
    settings = Settings.load({"DATABASE_URL": url, "DB_POOL_SIZE": "2"}, home=home)
    push(settings)
    return settings


def machine(folder: Path, settings: Settings) -> Settings:
    """Settings of another machine on the same database."""
    folder.mkdir(exist_ok=True)
    return settings.model_copy(update={"home": folder})


def change(settings: Settings, documents: dict[str, bytes | None]) -> int:
    """Apply a change on the database, as `intellirouter config apply` does."""
    source = open_source_database(settings)
    try:
        return apply(source, settings, documents).number
    finally:
        source.database.close()


def knows(router: Router, policy: str) -> bool:
    """Whether the router has the policy."""
    return policy in router._parts.refresher.knowledge.state.policies.by_id


def ask(router: Router, policy: str | None = None) -> str:
    """The policy that decides a request."""
    return router.route(Request(messages=[{"role": "user", "content": "hi"}], policy=policy)).policy_id


@pytest.mark.smoke
def test_routers_follow_a_change(postgres_url: str, tmp_path: Path, fake_url: str) -> None:
    """Two machines with empty data folders have the documents, and a new policy soon after its change."""
    settings = pushed(tmp_path / "first", postgres_url, fake_url)
    second = machine(tmp_path / "second", settings)
    with Router.open(settings) as one, Router.open(second) as two:
        assert {ask(one), ask(two)} == {"balanced"}
        assert change(settings, {"policies.yaml": POLICY % 1}) == 2
        for router in (one, two):
            until(partial(knows, router, "support"))
            assert ask(router, policy="support") == "support"
        assert one.health()["configuration"] == two.health()["configuration"]
        assert one.health()["configuration"]["error"] is None


def test_limits_come_from_the_database(postgres_url: str, tmp_path: Path, fake_url: str) -> None:
    """limits.yaml of the database binds, and a file of that name in the data folder does not."""
    settings = pushed(tmp_path / "first", postgres_url, fake_url)
    (settings.home / "limits.yaml").write_bytes(LIMITS)
    with Router.open(settings) as router:
        assert not router._parts.limits.is_active
        change(settings, {"limits.yaml": LIMITS})
        until(lambda: router._parts.limits.is_active)


def test_a_database_without_documents_names_the_way_out(
    postgres_url: str, tmp_path: Path, fake_url: str
) -> None:
    """The router does not start on the files of the folder by mistake."""
    write_catalog(tmp_path, base_url=fake_url)
    settings = Settings.load({"DATABASE_URL": postgres_url}, home=tmp_path)
    with pytest.raises(ConfigError, match="intellirouter config push") as failure:
        Router.open(settings)
    assert PASSWORD not in str(failure.value)


def test_serving_goes_on_without_the_server(mortal: PostgresServer, tmp_path: Path, fake_url: str) -> None:
    """Requests succeed, health names the moment of the copy, and changes are followed again later."""
    settings = pushed(tmp_path / "first", mortal.create_database(), fake_url)
    request = Request(messages=[{"role": "user", "content": "hi"}])
    with Router.open(settings) as router:
        mortal.stop()
        error = until(lambda: router.health()["configuration"]["error"])
        assert "does not answer" in error
        assert " UTC" in error
        assert PASSWORD not in error
        assert router.health()["status"] == "degraded"
        answer = router.complete_sync(request)
        assert "the newest configuration cannot be used" in answer.decision.reason
        mortal.start()
        change(settings, {"policies.yaml": POLICY % 1})
        until(partial(knows, router, "support"))
        until(lambda: router.health()["configuration"]["error"] is None)
        assert "cannot be used" not in router.complete_sync(request).decision.reason


def test_a_router_starts_from_its_last_copy(mortal: PostgresServer, tmp_path: Path, fake_url: str) -> None:
    """With the same configuration, keys and history; it says how old they are."""
    settings = pushed(tmp_path / "first", mortal.create_database(), fake_url)
    store = open_key_store(settings)
    _, token = changes.create(store, name="ci", scopes=["route"])
    store.close()
    with Router.open(settings) as router:
        before = router.health()["configuration"]["config_hash"]
    Keys.open(settings).close()
    mortal.stop()
    with Router.open(settings) as router:
        health = router.health()["configuration"]
        assert health["config_hash"] == before
        assert "as they were at " in health["error"]
        assert router.complete_sync(Request(messages=[{"role": "user", "content": "hi"}])).model
    keys = Keys.open(settings)
    assert keys.caller(_scope(token)).scopes == {"route"}
    assert "does not answer" in until(lambda: keys.health()["error"])
    keys.close()
    for path in (settings.home / "database").iterdir():
        assert path.stat().st_mode & 0o077 == 0
        assert token.encode() not in path.read_bytes()


def test_without_server_and_copy_nothing_starts(tmp_path: Path, fake_url: str) -> None:
    """The message says that both are missing, without the password."""
    write_catalog(tmp_path, base_url=fake_url)
    settings = Settings.load({"DATABASE_URL": f"postgresql://u:{PASSWORD}@127.0.0.1:9/n"}, home=tmp_path)
    with pytest.raises(ConfigError, match=r"does not answer.*no copy") as failure:
        Router.open(settings)
    assert PASSWORD not in str(failure.value)


def test_another_databases_copy_is_not_taken(mortal: PostgresServer, tmp_path: Path, fake_url: str) -> None:
    """A changed DATABASE_URL must not serve the configuration of the old one."""
    settings = pushed(tmp_path / "first", mortal.create_database(), fake_url)
    Router.open(settings).close()
    other = Settings.load({"DATABASE_URL": mortal.url("other")}, home=settings.home)
    mortal.stop()
    with pytest.raises(ConfigError, match="another server's"):
        Router.open(other)


def test_a_server_that_hangs_is_reported(
    mortal: PostgresServer, tmp_path: Path, fake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts connections and answers nothing: requests go on, and health says so."""
    monkeypatch.setattr(polling, "SILENT_S", 0.2)
    settings = pushed(tmp_path / "first", mortal.create_database(), fake_url)
    with Router.open(settings) as router:
        mortal.pause()
        until(lambda: router.health()["configuration"]["error"])
        assert router.complete_sync(Request(messages=[{"role": "user", "content": "hi"}])).model
        mortal.resume()
        until(lambda: router.health()["configuration"]["error"] is None)


def test_the_age_of_a_copy_is_its_last_confirmation(postgres_url: str, tmp_path: Path, fake_url: str) -> None:
    """The copy's time moves while the server confirms it, without a new content."""
    settings = pushed(tmp_path / "first", postgres_url, fake_url)
    path = settings.home / "database" / "state.json"
    with Router.open(settings):
        content = until(lambda: path.exists() and path.read_bytes())
        # Times of files come from the kernel's clock, which may differ from the one of the tests.
        confirmed = path.stat().st_mtime
        os.utime(path, (1, 1))
        until(lambda: path.stat().st_mtime >= confirmed)
    assert path.read_bytes() == content


def test_push_and_pull_move_everything(postgres_url: str, tmp_path: Path, fake_url: str) -> None:
    """Documents, the whole history, and keys: an empty folder and an empty database become equal."""
    first = tmp_path / "first"
    first.mkdir()
    write_catalog(first, ["small", "large"], base_url=fake_url)
    (first / "policies.yaml").write_bytes(POLICY % 1)
    Router.open(Settings.load({}, home=first)).close()
    (first / "policies.yaml").write_bytes(POLICY % 2)
    Router.open(Settings.load({}, home=first)).close()
    (first / "limits.yaml").write_bytes(LIMITS)
    entry, _ = changes.create(first / "keys.json", name="ci", scopes=["route"])
    settings = Settings.load({"DATABASE_URL": postgres_url}, home=first)
    moved = push(settings)
    assert (moved.versions, moved.version.number, moved.keys) == (3, 3, 1)
    other = machine(tmp_path / "second", settings)
    pulled = pull(other)
    assert (pulled.versions, pulled.version, pulled.keys) == (3, moved.version, 1)
    for name in ("catalog.yaml", "policies.yaml", "limits.yaml"):
        assert (other.home / name).read_bytes() == (first / name).read_bytes()
    assert KeyFile(other.home / "keys.json").read().keys == (entry,)
    again = push(settings)
    assert (again.versions, again.version, again.keys) == (0, moved.version, 0)


def test_a_key_that_is_revoked_anywhere_stays_revoked(
    postgres_url: str, tmp_path: Path, fake_url: str
) -> None:
    """A push of an older keys.json does not bring it back."""
    settings = pushed(tmp_path / "first", postgres_url, fake_url)
    entry, _ = changes.create(settings.keys_file, name="ci", scopes=["route"])
    push(settings)
    store = open_key_store(settings)
    changes.revoke(store, entry.id)
    push(settings)
    assert store.read().keys[0].revoked_at is not None
    pull(settings)
    assert KeyFile(settings.keys_file).read().keys == store.read().keys
    store.close()


def test_a_push_takes_no_change_back(postgres_url: str, tmp_path: Path, fake_url: str) -> None:
    """A folder without the database's newest documents is refused, until it has pulled or is forced."""
    settings = pushed(tmp_path / "first", postgres_url, fake_url)
    change(settings, {"policies.yaml": POLICY % 1})
    with pytest.raises(ConfigConflictError, match="config pull"):
        push(settings)
    pull(settings)
    assert (settings.home / "policies.yaml").read_bytes() == POLICY % 1
    (settings.home / "policies.yaml").write_bytes(POLICY % 2)
    assert push(settings).version.number == 3
    change(settings, {"policies.yaml": None})
    assert push(settings, is_forced=True).version.number == 5


def test_the_commands_work_on_the_database(
    postgres_url: str, tmp_path: Path, fake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`config push`, `history`, `apply`, `pull` and `keys` act on DATABASE_URL, and print no password."""
    from click.testing import CliRunner

    from router.cli import _group

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    home = tmp_path / "first"
    home.mkdir()
    write_catalog(home, ["small"], base_url=fake_url)
    policies = tmp_path / "policies.yaml"
    policies.write_bytes(POLICY % 1)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(_group(), [*arguments, "--home", str(home)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert PASSWORD not in done.output
        return done.output

    assert "version 1" in run("config", "push")
    assert "version 2" in run("config", "apply", str(policies))
    assert run("config", "history").splitlines()[0].split()[0] == "2"
    token = run("keys", "create", "--name", "ci", "--models", "small").splitlines()[-1]
    assert token.startswith("ir_")
    assert not (home / "keys.json").exists()
    assert "ci" in run("keys", "list")
    checked = run("config", "check")
    assert "DATABASE_URL: 1 keys" in checked
    assert "2 policies" not in checked.partition("catalog, policies")[0]
    assert "version 2" in run("config", "pull")
    assert (home / "policies.yaml").read_bytes() == POLICY % 1
    assert KeyFile(home / "keys.json").read().keys[0].name == "ci"


def test_a_backup_holds_the_documents_of_the_database(
    postgres_server: PostgresServer, tmp_path: Path, fake_url: str
) -> None:
    """Documents, history and keys come back as files, and from there into another database, all equal."""
    settings = pushed(tmp_path / "first", postgres_server.create_database(), fake_url)
    (settings.home / "policies.yaml").write_bytes(POLICY % 7)  # what the database holds counts
    (settings.home / "keys.json").write_text('{"keys": []}')
    assert change(settings, {"policies.yaml": POLICY % 1, "limits.yaml": LIMITS}) == 2
    source, store = open_source_database(settings), open_key_store(settings)
    entry, _ = changes.create(store, name="ci", scopes=["route"])
    source.forget("support")
    file = tmp_path / "backup.tar.gz"
    backup(settings, file)
    restored = tmp_path / "restored"
    restore(file, restored)
    folder = StateFolder(restored)
    digests = {digest for version in source.versions() for digest in version.documents.values()}
    assert folder.read() == source.read()
    assert list(folder.versions()) == list(source.versions())
    assert {digest: folder.document(digest) for digest in digests} == {
        digest: source.document(digest) for digest in digests
    }
    assert KeyFile(restored / "keys.json").read().keys == (entry,)
    assert KeyFile(restored / "keys.json").events() == store.events()
    third = machine(tmp_path / "third", settings)
    pull(third)
    assert KeyFile(third.keys_file).events() == store.events()
    with Router.open(home=restored) as router:
        assert ask(router) == "balanced"
    other = Settings.load({"DATABASE_URL": postgres_server.create_database()}, home=restored)
    push(other)
    again, keys = open_source_database(other), open_key_store(other)
    assert (again.read(), again.versions()) == (source.read(), source.versions())
    assert keys.read() == store.read()
    for opened in (source, store, again, keys):
        opened.close()
    assert not list(settings.home.glob("*saved*"))


def test_a_backup_without_the_server_is_refused(tmp_path: Path) -> None:
    """A backup that lacks the documents in force would be found out too late."""
    settings = Settings.load({"DATABASE_URL": f"postgresql://u:{PASSWORD}@127.0.0.1:9/n"}, home=tmp_path)
    with pytest.raises(DatabaseUnavailableError, match="does not answer") as failure:
        backup(settings, tmp_path / "backup.tar.gz")
    assert PASSWORD not in str(failure.value)
    assert not (tmp_path / "backup.tar.gz").exists()


def test_a_push_of_a_broken_document_changes_nothing(
    postgres_url: str, tmp_path: Path, fake_url: str
) -> None:
    """The set is checked as a whole before anything is written."""
    settings = pushed(tmp_path / "first", postgres_url, fake_url)
    (settings.home / "catalog.yaml").write_text("models: 3\n")
    with pytest.raises(ConfigError, match=r"catalog\.yaml"):
        push(settings)
    source = open_source_database(settings)
    assert len(source.versions()) == 1
    assert source.read()["catalog.yaml"] != b"models: 3\n"
    source.database.close()


def test_a_command_without_the_server_says_so(tmp_path: Path) -> None:
    """`keys` and `config` work on the server, and never on a copy."""
    settings = Settings.load({"DATABASE_URL": f"postgresql://u:{PASSWORD}@127.0.0.1:9/n"}, home=tmp_path)
    with pytest.raises(DatabaseUnavailableError, match="check DATABASE_URL"):
        open_key_store(settings).read()


def _scope(token: str) -> dict[str, object]:
    return {
        "type": "http",
        "client": ("127.0.0.1", 1),
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }
