"""A target that is away, wrong, full, read-only or changed by hand: the error says how to go on."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.copies import mirror as mirrors
from pipelines.copies.mirror import is_current
from pipelines.copies.postgres import Target, shown
from pipelines.errors import CopyBusyError, CopyError, WarehouseError
from router.config import Settings
from router.errors import ConfigError
from tests.pipelines.copies.conftest import Mirrored
from tests.pipelines.copies.test_mirror import traffic
from tests.pipelines.helpers import seal_records
from tests.postgres import PASSWORD, USER, PostgresServer, other_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STATEMENTS = 400
"""More than one run sends."""
FREE_BYTES = 1 << 20
"""What a nearly full disk has left: less than the new rows of one table."""
SHORT_STEP = 9
"""The short form stops before every ninth statement, INTELLIROUTER_LONG=1 before each of them."""


@pytest.fixture
def loaded(mirrored: Mirrored) -> Mirrored:
    """A published warehouse, and a target that holds nothing yet."""
    seal_records(mirrored.settings, traffic(6))
    mirrored.refresh()
    return mirrored


def with_url(mirrored: Mirrored, url: str) -> Mirrored:
    """The same data folder with another target."""
    return Mirrored(mirrored.settings.home, url, MIRROR_READER=mirrored.settings.mirror_reader)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://ada:{password}@127.0.0.1:9/x", "`postgresql://127.0.0.1:9/x` could not connect"),
        ("postgresql://ada:{password}%zz@h/x", "could not connect"),
        ("postgresql://ada:{password}@nohost.invalid/x", "nohost.invalid"),
        ("postgresql://ada:{password}@h/x?password={password}&nonsense=1", "could not connect"),
        ("postgresql://ada:{password}@[h/x", "could not connect"),
    ],
)
def test_a_server_that_is_not_there_is_named_without_its_password(
    loaded: Mirrored, url: str, message: str
) -> None:
    """The error names host and database, and says that the next run goes on."""
    with pytest.raises(CopyError) as caught:
        with_url(loaded, url.format(password=PASSWORD)).mirror()
    assert message in str(caught.value)
    assert "the next run goes on" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_wrong_password_is_masked(loaded: Mirrored, postgres_server: PostgresServer) -> None:
    """The server's refusal is shown, the password that was tried is not."""
    with pytest.raises(CopyError, match="password authentication failed") as caught:
        with_url(loaded, postgres_server.url(password="wrong-canary-word")).mirror()
    assert "wrong-canary-word" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["mysql://ada:canary-postgres-password@h/x", "canary-postgres-password", "postgresql://"]
)
def test_another_kind_of_url_is_refused(loaded: Mirrored, url: str) -> None:
    """MIRROR_URL must be PostgreSQL's; the error shows none of it."""
    with pytest.raises(
        ConfigError, match="write `postgresql://HOST:5432/NAME`, with `USER:PASSWORD@` before HOST"
    ) as caught:
        with_url(loaded, url).mirror()
    assert "canary" not in str(caught.value)


def test_without_a_url_the_command_says_which_setting(settings: Settings) -> None:
    """`intellirouter mirror` names MIRROR_URL. An empty variable is an unset one."""
    with pytest.raises(ConfigError, match="set MIRROR_URL to"):
        mirrors.mirror(Settings.load({"MIRROR_URL": ""}, home=settings.home))


def test_before_the_first_refresh_there_is_nothing_to_copy(mirrored: Mirrored) -> None:
    """The error names the command that publishes a warehouse."""
    with pytest.raises(WarehouseError, match="run `intellirouter refresh`"):
        mirrored.mirror()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("alter table request_analytics drop column cost_usd", "column `cost_usd` is missing, not `numeric`"),
        (
            "alter table request_analytics alter column cost_usd type double precision",
            "column `cost_usd` is `double precision`, not `numeric`",
        ),
        ("alter table usage_hourly add column mine text not null default ''", None),
        ("alter table usage_hourly add column mine text", None),
    ],
)
def test_a_table_changed_by_hand_is_named(loaded: Mirrored, change: str, message: str | None) -> None:
    """A column that is missing or has another type is named; a column of one's own is left."""
    loaded.mirror()
    loaded.ask(change)
    if message is None:
        loaded.mirror(full=True)
        return
    with pytest.raises(CopyError, match=message):
        loaded.mirror()
    loaded.ask("drop table request_analytics")
    loaded.mirror()
    assert loaded.differences() == {}


def test_a_required_column_of_a_hand_is_named(loaded: Mirrored) -> None:
    """A column that every insert would have to fill makes the copy stop before it starts."""
    loaded.mirror()
    loaded.ask("delete from usage_hourly")
    loaded.ask("alter table usage_hourly add column mine text not null")
    with pytest.raises(CopyError, match="column `mine` was added and must not be NULL"):
        loaded.mirror()


def test_a_foreign_table_is_left(loaded: Mirrored) -> None:
    """A table of another program, with the name of ours, is neither filled nor dropped."""
    loaded.ask("create schema analytics")
    loaded.ask("create table request_analytics (mine text)")
    with pytest.raises(
        CopyError, match=r"has a table `analytics.request_analytics` that the mirror did not make"
    ):
        loaded.mirror()
    assert loaded.ask("select * from request_analytics") == []


def test_a_view_on_a_copy_is_named_when_the_table_must_go(loaded: Mirrored) -> None:
    """A table cannot be made again while a view of a person needs it."""
    loaded.mirror()
    loaded.ask("create view mine as select * from feedback")
    loaded.ask(
        "update copied_tables set columns = columns || '{\"x\": \"text\"}' where table_name = 'feedback'"
    )
    loaded.ask("alter table feedback add column x text")
    with pytest.raises(CopyError, match="a view of yours depends on the table"):
        loaded.mirror()
    loaded.ask("drop view mine")
    loaded.mirror()
    assert loaded.differences() == {}


def _other_role(mirrored: Mirrored, server: PostgresServer, rights: str) -> Mirrored:
    database = mirrored.url.rpartition("/")[2]
    role = f"other_{database}"
    mirrored.ask(f"create role {role} login password 'other' {rights}")
    return with_url(mirrored, f"postgresql://{role}:other@127.0.0.1:{server.port}/{database}")


def test_a_read_only_role_is_named(loaded: Mirrored, postgres_server: PostgresServer) -> None:
    """A user who may not create or write gets the remedy, before and after the tables are there."""
    other = _other_role(loaded, postgres_server, "")
    with pytest.raises(CopyError, match="grant the user of MIRROR_URL the right to create and to write"):
        other.mirror()
    loaded.mirror()
    with pytest.raises(CopyError, match="grant the user of MIRROR_URL"):
        other.mirror()


def test_a_read_only_server_is_named(loaded: Mirrored, postgres_server: PostgresServer) -> None:
    """A standby refuses to write: the error says to name the primary."""
    other = _other_role(loaded, postgres_server, "superuser")
    database = loaded.url.rpartition("/")[2]
    loaded.ask(f"alter role other_{database} set default_transaction_read_only = on")
    with pytest.raises(CopyError, match="is read-only: name the primary"):
        other.mirror()


def test_a_user_who_may_not_create_roles_copies_all_the_same(
    loaded: Mirrored, postgres_server: PostgresServer
) -> None:
    """The note says which role to create; the copy is complete."""
    other = _other_role(loaded, postgres_server, "nosuperuser")
    database = loaded.url.rpartition("/")[2]
    loaded.ask(f"grant create on database {database} to other_{database}")
    assert ["run `create role " in note for note in other.mirror().notes] == [True]
    assert other.differences() == {}


@pytest.mark.parametrize("sqlstate", ["53100", "53200"])
def test_a_full_disk_leaves_whole_steps(loaded: Mirrored, sqlstate: str) -> None:
    """The step that met the full disk is undone, the remedy is named, and the next run completes."""
    loaded.mirror()
    seal_records(loaded.settings, traffic(4))
    loaded.refresh()
    before = loaded.ask("select id from request_analytics order by id")
    loaded.ask(
        "create function full_disk() returns trigger language plpgsql as"
        f" $$ begin raise exception 'No space left on device' using errcode = '{sqlstate}'; end $$"
    )
    loaded.ask("create trigger disk after insert on request_analytics execute function full_disk()")
    with pytest.raises(
        CopyError, match="disk is full: free space" if sqlstate == "53100" else "too little memory"
    ):
        loaded.mirror()
    assert loaded.ask("select id from request_analytics order by id") == before
    assert not is_current(loaded.settings)
    loaded.ask("drop trigger disk on request_analytics")
    loaded.mirror()
    assert loaded.differences() == {}


@pytest.fixture
def small_disk(postgres_server: PostgresServer) -> Iterator[tuple[Path, str]]:
    """A file system of 64 MB, and the URL of a database whose tables are on it."""
    folder = Path(tempfile.mkdtemp(prefix="intellirouter-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"a file system of its own cannot be mounted: {mounted.stderr.strip()}")
    name = folder.name.replace("-", "_")
    try:
        if (owner := other_user()) is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        postgres_server.execute(f"create tablespace {name} location '{folder}'")
        postgres_server.execute(f"create database {name} tablespace {name}")
        yield folder, postgres_server.url(name)
        postgres_server.execute(f"drop database {name} with (force)")
        postgres_server.execute(f"drop tablespace {name}")
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@pytest.mark.slow
def test_a_disk_that_is_really_full_leaves_whole_steps(
    loaded: Mirrored, small_disk: tuple[Path, str]
) -> None:
    """No table is half written, the remedy is named, publishing goes on, and the next run completes."""
    folder, url = small_disk
    mirrored = with_url(loaded, url)
    mirrored.mirror()
    seal_records(mirrored.settings, traffic(3000))
    mirrored.refresh()
    tables = [name for (name,) in mirrored.ask("select table_name from copied_tables")]
    counts = {name: f'select count(*) from "{name}"' for name in tables}  # noqa: S608 - the names are the test's own
    before = {name: mirrored.ask(query) for name, query in counts.items()}
    after = {name: mirrored.ask_warehouse(query) for name, query in counts.items()}
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(shutil.disk_usage(folder).free - FREE_BYTES))
    with pytest.raises(CopyError, match=r"No space left on device.*disk is full: free space"):
        mirrored.mirror()
    found = {name: mirrored.ask(query) for name, query in counts.items()}
    assert [name for name in tables if found[name] not in (before[name], after[name])] == []
    assert found["request_analytics"] == before["request_analytics"] == [(6,)]
    assert not is_current(mirrored.settings)
    mirrored.refresh()
    assert mirrored.ask_warehouse(counts["request_analytics"]) == [(3006,)]
    ballast.unlink()
    mirrored.mirror()
    assert mirrored.differences() == {}


def test_a_second_mirror_waits_and_is_named(loaded: Mirrored) -> None:
    """Two runs never write together; the one that waits in vain says so."""
    with (
        Target(loaded.url, "analytics"),
        pytest.raises(CopyBusyError, match="another mirror has written"),
    ):
        loaded.mirror(lock_wait_s=0.3)
    loaded.mirror()


def test_an_erasure_names_a_mirror_that_is_away(mirrored: Mirrored) -> None:
    """The erasure is carried out, and the certificate and the error name the copy and the command."""
    from click.testing import CliRunner

    from pipelines.cli import erase_command

    seal_records(mirrored.settings, traffic(4))
    mirrored.refresh()
    environment = {"MIRROR_URL": f"postgresql://ada:{PASSWORD}@127.0.0.1:9/x"}
    words = ["--home", str(mirrored.settings.home), "--user", "u1", "--yes"]
    answer = CliRunner().invoke(erase_command, words, env=environment)
    assert answer.exit_code == 1
    assert "run `intellirouter mirror`" in str(answer.exception).lower()
    assert PASSWORD not in str(answer.exception) + answer.output
    assert mirrored.ask_warehouse("select count(*) from request_analytics where user_id = 'u1'") == [(0,)]


def test_an_erasure_names_a_mirror_that_was_unset(mirrored: Mirrored) -> None:
    """A copy that an earlier MIRROR_URL made still holds the person."""
    from pipelines import flow

    seal_records(mirrored.settings, traffic(4))
    mirrored.refresh()
    mirrored.mirror()
    certificate = flow.erase(Settings.load({}, home=mirrored.settings.home), "u1")
    assert len(certificate.remaining) == 1
    assert "earlier MIRROR_URL" in str(certificate.copies[0].problem)


def _run_until(settings: Settings, stop: int, signal_number: int | None, calls: Any) -> None:
    """Mirror in a process of its own, and end it before the n-th statement."""
    sent = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal sent
            sent += 1
            calls.value = sent
            if sent == stop and signal_number is not None:
                os.kill(os.getpid(), signal_number)
            return method(*arguments, **named)

        return call

    for name in ("execute", "stage"):
        setattr(Target, name, counted(getattr(Target, name)))
    mirrors.mirror(settings)


@pytest.mark.slow
def test_a_kill_before_any_statement_costs_nothing(loaded: Mirrored) -> None:
    """kill -9 before each statement of a run with erased, merged and new rows; the next run is exact."""
    from datetime import timedelta

    from pipelines import flow
    from pipelines.lake import compaction
    from tests.pipelines.helpers import NOW

    seal_records(loaded.settings, traffic(5))
    loaded.refresh()
    loaded.mirror()
    loaded.ask("create table before_parts as table copied_parts")
    tables = [name for (name,) in loaded.ask("select table_name from copied_tables")]
    for name in tables:
        loaded.ask(f'create table "before_{name}" as table "{name}"')
    unmirrored = Settings.load({}, home=loaded.settings.home)
    compaction.compact(loaded.settings.lake, now=NOW + timedelta(days=2))
    flow.erase(unmirrored, "u1")
    seal_records(loaded.settings, traffic(3, NOW + timedelta(hours=6)))
    Mirrored(loaded.settings.home, loaded.url, MIRROR_URL="").refresh()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.pipelines.copies.test_bad_targets", "adbc_driver_postgresql.dbapi"]
    )
    calls = context.Value("i", 0)
    step = 1 if os.environ.get("INTELLIROUTER_LONG") else SHORT_STEP
    for stop in range(1, STATEMENTS, step):
        _put_back(loaded, tables)
        process = context.Process(target=_run_until, args=(loaded.settings, stop, signal.SIGKILL, calls))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        loaded.mirror()
        assert loaded.differences() == {}, stop
        assert loaded.ask("select count(*) from request_analytics where user_id = 'u1'") == [(0,)], stop
        if process.exitcode == 0:
            break
    else:
        pytest.fail("a run sends more statements than were stopped")
    assert stop > 60


def _put_back(mirrored: Mirrored, tables: list[str]) -> None:
    """The copy as it was before the erasure."""
    statements = [
        f'truncate "{name}"; insert into "{name}" table "before_{name}"' for name in (*tables, "parts")
    ]
    mirrored.ask("; ".join(statements).replace('"parts"', "copied_parts"))


@pytest.mark.slow
def test_a_server_that_stops_half_way_costs_nothing(tmp_path: Path) -> None:
    """The server ends in the middle of a run; once it is back the next run leaves no gap and no double."""
    reason = PostgresServer.missing()
    if reason is not None:
        pytest.skip(reason)
    with PostgresServer() as server:
        mirrored = Mirrored(tmp_path / "data", server.create_database())
        seal_records(mirrored.settings, traffic(40))
        mirrored.refresh()
        for stop in (10, 60, 90, 40):
            with pytest.MonkeyPatch.context() as patch:
                _stop_server_at(patch, server, stop)
                with pytest.raises(CopyError, match="the next run goes on") as caught:
                    mirrored.mirror()
            assert PASSWORD not in str(caught.value)
            assert USER not in shown(mirrored.url)
            seal_records(mirrored.settings, traffic(3))
            mirrored.refresh()
            server.start()
        mirrored.mirror()
        assert mirrored.differences() == {}


def _stop_server_at(patch: pytest.MonkeyPatch, server: PostgresServer, stop: int) -> None:
    left = [stop]
    execute = Target.execute

    def stopping(self: Target, text: str, *values: str) -> list[tuple[Any, ...]]:
        left[0] -= 1
        if left[0] == 0:
            server.stop()
        return execute(self, text, *values)

    patch.setattr(Target, "execute", stopping)
