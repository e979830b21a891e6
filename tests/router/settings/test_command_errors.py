"""Failures of the machine are one line: what failed, the path or the package, what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from router import Router
from router.errors import ConfigError
from router.settings.command_errors import ADVICE, EXTRAS, as_line, hidden_by, hiding_line
from tests.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


@pytest.mark.smoke
@pytest.mark.parametrize("number", ADVICE)
def test_a_failure_of_the_system_names_path_and_remedy(number: int) -> None:
    line = as_line(OSError(number, os.strerror(number), "/data/x"))
    assert line is not None
    assert line.startswith(f"`/data/x` cannot be used: {os.strerror(number)}; ")


def test_a_mistake_of_the_program_keeps_its_traceback() -> None:
    assert as_line(OSError(errno.EBADF, "bad descriptor")) is None
    assert as_line(ModuleNotFoundError("x", name="router.nothing")) is None
    assert as_line(ValueError("x")) is None


def test_a_damaged_database_of_dagster_is_one_line(tmp_path: Path) -> None:
    """It holds only the history of the runs."""
    (tmp_path / "runs.db").write_bytes(b"no database" * 100)
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as connection,
        pytest.raises(sqlite3.DatabaseError) as caught,
    ):
        connection.execute("select * from runs")
    line = as_line(caught.value)
    assert line is not None
    assert line.startswith("Dagster's history of runs cannot be used: file is not a database; move `dagster`")


def test_every_package_of_an_extra_is_named_with_it() -> None:
    """The extras are those of pyproject.toml."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        listed = {re.split(r"[\[><=; ]", line)[0].replace("-", "_").lower() for line in extras[extra]}
        assert any(name.startswith(package) for name in listed), package


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (["refresh"], "dagster", "pipelines"),
        (["sql", "select 1"], "duckdb", "pipelines"),
        (["report", "daily-usage"], "duckdb", "pipelines"),
        (["evaluate", "--policy", "quality"], "numpy", "pipelines"),
        (["doctor"], "duckdb", "pipelines"),
        (["serve"], "uvicorn", "server"),
        (["serve"], "httptools", "server"),
    ],
)
def test_a_command_names_its_own_extra(
    tmp_path: Path, arguments: list[str], package: str, extra: str
) -> None:
    """click is there, as in an application on FastAPI, and the package is not."""
    home = ["--home", str(tmp_path)]
    hide = f"import sys; sys.modules[{package!r}] = None; sys.argv[0] = 'intellirouter'"
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}; from router.cli import main; main()", *arguments, *home],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"intellirouter: this command needs `{package}`, which is not installed:"
        f" pip install 'intellirouter[{extra}]'\n"
    )


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """From Python it is a ConfigError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be used: .*; "):
        Router.open(home=tmp_path / "file" / "data")


def test_a_folder_of_the_users_that_hides_us_is_named(tmp_path: Path) -> None:
    """Many projects have a folder `pipelines`: Python would import it in place of ours."""
    assert hidden_by("pipelines") is None
    assert hidden_by("pipelines", also=ROOT) is None
    (tmp_path / "pipelines").mkdir()
    hiding = hidden_by("pipelines", also=tmp_path)
    assert hiding == tmp_path / "pipelines"
    assert hiding_line(hiding) == (
        f"`{tmp_path}/pipelines` hides the package `pipelines` of IntelliRouter: rename it, or start from"
        " another folder"
    )
