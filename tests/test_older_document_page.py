"""Each line of the older document has a command that works."""

from __future__ import annotations

import ast
import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from pipelines import flow
from pipelines.reports.sql_command import sql_command
from pipelines.warehouse.warehouse import Warehouse
from router import cli
from router.config import Settings
from tests.pipelines.helpers import make_log, make_record, seal_records
from tests.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "tests" / "older_document.md").read_text()
LINES = re.findall(r"^\| (?!line |---)(.*?) \| `((?:intellirouter|pytest) .*)` \|$", PAGE, re.MULTILINE)
COMMANDS = sorted({command for _, command in LINES})
STATEMENTS = [command for command in COMMANDS if command.startswith("intellirouter sql ")]
TESTS = [command for command in COMMANDS if command.startswith("pytest ")]
OTHERS = [command for command in COMMANDS if command not in {*STATEMENTS, *TESTS}]


def test_every_line_has_a_command() -> None:
    """No row of the page's tables is without one, and no two rows are about the same line."""
    rows = re.findall(r"^\| (?!line |---)(.*?) \|", PAGE, re.MULTILINE)
    assert [line for line, _ in LINES] == rows
    assert len(rows) == len(set(rows)) > 40


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one request in its published warehouse."""
    settings = Settings.load({}, home=tmp_path_factory.mktemp("page") / "data")
    request = make_record()
    seal_records(settings, [request, make_log(request)])
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
    return settings.home


@pytest.mark.parametrize("command", STATEMENTS)
def test_a_statement_runs(command: str, home: Path) -> None:
    """As the page prints it, on a warehouse with traffic."""
    answer = CliRunner().invoke(sql_command, [*shlex.split(command)[2:], "--home", str(home)])
    assert answer.exit_code == 0, answer.exception


@pytest.mark.parametrize("command", TESTS)
def test_a_test_exists(command: str) -> None:
    """The file or folder is there, and has the test that the page names."""
    place, _, name = shlex.split(command)[-1].partition("::")
    assert (ROOT / place).exists(), place
    if name:
        tree = ast.parse((ROOT / place).read_text())
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("command", OTHERS)
def test_a_command_exists(command: str) -> None:
    """The command line knows the command and its options."""
    words = shlex.split(command)[1:]
    group: click.Command = cli._group()
    context = click.Context(group, info_name="intellirouter")
    while isinstance(group, click.Group) and not words[0].startswith("-"):
        found = group.get_command(context, words.pop(0))
        assert found is not None, command
        group, context = found, click.Context(found, parent=context)
    group.make_context(group.name, words, parent=context.parent)
