"""A PostgreSQL server of the tests' own, and a fresh database for each test.

`tests/conftest.py` offers the fixtures to every suite: `postgres_server` starts once a session, and
`postgres_url` is the URL of an empty database. Both skip where PostgreSQL's programs are not installed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

USER = "intellirouter"
PASSWORD = "canary-postgres-password"
"""A server that asks for its password shows that the password arrives, and a test can look for its leaks."""
START_S = 60.0
_SETTINGS = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB")
"""A power cut may damage the data. A stop of the server, even at once, must not: tests do that."""


class PostgresServer:
    """Started on a free port in a temporary folder; may be stopped and started again with its data."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def programs() -> Path | None:
        """The folder of PostgreSQL's programs: that of Debian's newest version, or the one on PATH."""
        installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
        newest = max(installed, key=lambda path: float(path.parts[-3]), default=None)
        found = newest or shutil.which("initdb")
        return Path(found).parent if found else None

    @staticmethod
    def missing() -> str | None:
        """Why there can be no server; None when there can."""
        if PostgresServer.programs() is None:
            return "PostgreSQL is not installed (apt-get install postgresql)"
        return None

    def url(self, database: str = "postgres", *, password: str = PASSWORD) -> str:
        """The URL of a database, with its password."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """A fresh, empty database: its URL."""
        name = f"t_{secrets.token_hex(8)}"
        self.execute(f'create database "{name}"')
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement, and return its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        programs = self.programs()
        assert programs is not None, self.missing()
        if self._folder is None:
            self._folder = self._prepare(programs)
        command = [str(programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-k", str(self._folder)]
        for setting in _SETTINGS:
            command += ["-c", setting]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True, **self._as_user()
            )
        deadline = time.monotonic() + START_S
        while not self._answers(programs):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server and its connections at once, as a crash does. Its data stays."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """The server accepts connections and answers nothing more, as a machine that hangs."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _prepare(self, programs: Path) -> Path:
        # pytest's own folders are closed to other users, and PostgreSQL does not run as root.
        folder = Path(tempfile.mkdtemp(prefix="intellirouter-postgres-"))
        password = folder / "password"
        password.write_text(PASSWORD)
        if owner := other_user():
            for path in (folder, password):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        command = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "--no-sync"]
        command += ["--pwfile", str(password), "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **self._as_user())
        return folder

    @staticmethod
    def _as_user() -> dict[str, Any]:
        owner = other_user()
        return {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    def _answers(self, programs: Path) -> bool:
        asked = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def _family(self) -> list[int]:
        """The server's processes, the first one first."""
        if self._process is None:
            return []
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        return [pid, *map(int, children.read_text().split())] if children.exists() else [pid]


def other_user() -> pwd.struct_passwd | None:
    """The user that runs the server when the tests run as root; None: the tests' own."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the whole session. A test that stops it must start one of its own."""
    reason = PostgresServer.missing()
    if reason is not None:
        pytest.skip(reason)
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty database, this test's own."""
    return postgres_server.create_database()
