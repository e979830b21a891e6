"""`intellirouter sql`: files, standard input, comments, parameters and several statements."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from pipelines.errors import QueryError
from pipelines.refresh import refresh
from pipelines.reports.sql_command import sql_command
from router.config import Settings
from tests.pipelines.helpers import make_record, seal_records


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, instance: dg.DagsterInstance) -> Path:
    """A published warehouse with one request."""
    settings = Settings.load({}, home=tmp_path_factory.mktemp("sql") / "data")
    seal_records(settings, [make_record(organization_id="acme")])
    assert refresh(settings, instance=instance).success
    return settings.home


def run(home: Path, *arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(sql_command, [*arguments, "--home", str(home), "--format", "csv"], input=given)


@pytest.mark.smoke
def test_a_statement_may_start_with_a_comment(home: Path) -> None:
    """It is no option."""
    assert run(home, "-- how many?\nselect 1 as one -- all\n").output == "one\n1\n"
    assert run(home, "/* x */ select ';' as one; -- it's the end").output == "one\n;\n"


def test_a_misspelt_option_is_no_statement(home: Path) -> None:
    result = run(home, "select 1", "--formt=csv")
    assert result.exit_code == 2
    assert "No such option" in result.output


def test_each_statement_is_printed(home: Path) -> None:
    """Those without rows print nothing, and later ones see what they did."""
    text = "set variable n = 3; select getvariable('n') as n; select count(*) as c from request_analytics"
    assert run(home, text).output == "n\n3\nc\n1\n"


def test_statements_come_from_a_file_or_standard_input(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "question.sql"
    file.write_text("-- a comment\nselect 1 as one;\n")
    assert run(home, "-f", str(file)).output == "one\n1\n"
    assert run(home, "-", given="select 2 as two").output == "two\n2\n"
    assert run(home, "-f", "-", given="select 2 as two").output == "two\n2\n"
    assert "cannot be read as text" in str(run(home, "-f", str(tmp_path / "none.sql")).exception)


def test_parameters_are_bound(home: Path) -> None:
    """By name or by number. A number is a number unless it is quoted."""
    named = "select count(*) as c from request_analytics where organization_id = $org"
    assert run(home, named, "--param", "org=acme").output == "c\n1\n"
    assert run(home, "select $2 - $1 as d", "--param", "1=1", "--param", "2=3").output == "d\n2\n"
    assert run(home, "select typeof($x) as t", "--param", "x='7'").output == "t\nVARCHAR\n"
    assert run(home, "select $x as t", "--param", "x=null").output == 't\n""\n'


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ([], "needs a value for `$org`: add --param org=VALUE"),
        (
            ["--param", "org=a", "--param", "ogr=b"],
            "no statement uses the parameter `ogr`: nearest known: `org`",
        ),
        (["--param", "org"], "`org` is no parameter: write NAME=VALUE"),
        (["--param", "org=a", "--param", "org=b"], "the parameter `org` is given twice"),
    ],
)
def test_a_wrong_parameter_is_named(home: Path, given: list[str], fault: str) -> None:
    error = run(home, "select $org as o", *given).exception
    assert isinstance(error, QueryError)
    assert fault in str(error)


def test_a_file_takes_one_answer(home: Path, tmp_path: Path) -> None:
    result = run(home, "select 1; select 2", "--output", str(tmp_path / "x.csv"))
    assert "2 statements have rows" in str(result.exception)
    assert run(home, "; -- nothing").exception is not None


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM request_analytics WHERE timestamp < '2026-06-20'",
        "delete from usage_hourly",
        "update feedback set value = 1",
        "insert into models (id) values ('new')",
    ],
)
def test_a_change_of_records_names_the_way(home: Path, statement: str) -> None:
    """The published warehouse is a copy: retention and erasure remove records where they are kept."""
    message = str(run(home, statement).exception)
    assert "`intellirouter retention` removes those past ANALYTICS_RETENTION_DAYS" in message


def test_a_table_of_the_session_can_be_changed(home: Path) -> None:
    text = "create temp table mine as select 1 as one; delete from mine; select count(*) as c from mine"
    assert run(home, text).output.endswith("c\n0\n")
