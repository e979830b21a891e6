"""Every command that prints data speaks one dialect to programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipelines.reports.output import render
from pipelines.reports.reports import Answer
from router import cli
from router.errors import ConfigError
from router.settings.printing import RowOutput, encode
from tests.factories import write_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.smoke
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {
        "name": "=a",
        "cost_usd": Decimal("1.50"),
        "at": MOMENT,
        "share": 0.5,
        "none": None,
    },
    {"name": "b", "cost_usd": Decimal("0.000000012"), "at": None, "share": None, "none": None},
]
SILENT = {
    "init", "serve", "dagster", "demo", "replay", "schema", "backup", "restore", "publish-reports",
    "config apply", "config pull", "config push", "config rollback", "config show", "config diff",
    "import litellm-config", "import litellm-logs", "import tensorzero-logs", "export litellm-config",
}  # fmt: skip
"""Commands that serve, write files, or show documents."""


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_every_command_that_prints_data_has_a_format() -> None:
    """A program reads each of them the same way."""
    without = {
        name
        for name, command in commands(cli._group())
        if not any("--format" in option.opts or "--json" in option.opts for option in command.params)
    }
    assert without <= SILENT


@pytest.mark.parametrize("form", ["csv", "json"])
def test_rows_are_written_as_reports_are(form: Literal["csv", "json"]) -> None:
    """One dialect: money with all digits, NULL, and no formula for a spreadsheet."""
    table = pa.Table.from_pylist(ROWS)
    assert encode(ROWS, form).decode() == render(Answer(table=table), form)


def test_parquet_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name a file with --output"):
        RowOutput(format="parquet")
    RowOutput(format="parquet", file=tmp_path / "rows.parquet").write(ROWS, [])
    assert pq.read_table(tmp_path / "rows.parquet").column("name").to_pylist() == ["=a", "b"]


def test_keys_are_listed_for_programs(tmp_path: Path) -> None:
    """The token is in the answer of `create`, and never in the list."""
    write_catalog(tmp_path)
    home = ("--home", str(tmp_path))
    run = CliRunner()
    made = run.invoke(cli._group(), ["keys", "create", "--name", "ci", "--format", "json", *home])
    (key,) = json.loads(made.stdout)
    listed = run.invoke(cli._group(), ["keys", "list", "--output", str(tmp_path / "listed.json"), *home])
    assert (listed.exit_code, listed.stdout) == (0, "")
    (row,) = json.loads((tmp_path / "listed.json").read_text())
    assert (row["id"], row["name"], row["state"]) == (key["id"], "ci", "active")
    assert key["token"] not in (tmp_path / "listed.json").read_text()


def test_an_unclear_suffix_is_refused(tmp_path: Path) -> None:
    write_catalog(tmp_path)
    arguments = ["keys", "list", "--output", "keys.xlsx", "--home", str(tmp_path)]
    refused = CliRunner().invoke(cli._group(), arguments)
    assert isinstance(refused.exception, ConfigError)
    assert "the format of `keys.xlsx` is not clear" in str(refused.exception)
