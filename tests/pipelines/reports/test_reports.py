"""What people ask the warehouse, and what they are told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import dagster as dg
import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipelines import flow
from pipelines.cli import COMMANDS
from pipelines.errors import QueryError, WarehouseError
from pipelines.refresh import refresh
from pipelines.reports import reports
from pipelines.reports.columns import UNKNOWN
from pipelines.reports.report_command import COMMANDS as REPORT
from pipelines.reports.sql_command import COMMANDS as SQL
from pipelines.warehouse import publishing, sqlfiles
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.errors import IntelliRouterError
from router.records import Candidate, new_id
from router.serving.recording import REDIRECTED
from tests.pipelines.helpers import make_feedback, make_record, seal_records

Invoke = Callable[..., str]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, instance: dg.DagsterInstance) -> Path:
    """A data folder with a published warehouse and traffic of the last two days."""
    settings = Settings.load({}, home=tmp_path_factory.mktemp("filled") / "data")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    dear = make_record(
        now - timedelta(hours=3),
        cost_usd=Decimal("0.000000000001"),
        model_answered="another",
        reason=f"test; {REDIRECTED} `another`",
    )
    seal_records(
        settings,
        [
            dear,
            make_feedback(dear, 0.5),
            make_record(now - timedelta(hours=40), task_type="code", cost_usd=None, tokens_input=None),
            make_record(now - timedelta(hours=2), organization_id="globex"),
        ],
    )
    assert refresh(settings, instance=instance).success
    return settings.home


@pytest.fixture
def filled(settings: Settings, template: Path) -> Settings:
    """A copy of the template that a test may change."""
    shutil.copytree(template, settings.home)
    return settings


@pytest.fixture
def invoke(settings: Settings) -> Invoke:
    """Run a command of the CLI on the data folder; its standard output."""

    def run(*arguments: str) -> str:
        group = click.Group(commands=[*COMMANDS, *REPORT, *SQL])
        result = CliRunner().invoke(group, [*arguments, "--home", str(settings.home)])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return run


@pytest.mark.parametrize("name", reports.report_names())
def test_every_report_runs_without_filters(filled: Settings, name: str) -> None:
    """A report has a default for each of its variables."""
    assert reports.report(filled, name).columns


def test_cost_per_task_runs_unbound_in_a_plain_shell(filled: Settings) -> None:
    """A person reads the file into any DuckDB session as it is, and may set its variables."""
    text = sqlfiles.load("reports/cost_per_task").text
    with duckdb.connect(str(filled.warehouse_file), read_only=True) as shell:
        assert len(shell.execute(text).fetchall()) == 2
        shell.execute("set variable since = now() - interval 24 hours")
        assert [row[0] for row in shell.execute(text).fetchall()] == ["math"]


@pytest.mark.smoke
def test_unknown_is_a_dash_and_money_is_exact(filled: Settings, invoke: Invoke) -> None:
    """A NULL never looks like zero, and no digit of an amount is lost."""
    table = invoke("report", "cost-per-task", "--since", "7d", "--organization", "acme")
    (code,) = (line for line in table.splitlines() if "code" in line)
    assert [part.strip() for part in code.split("│")[3:6]] == ["1", "0", UNKNOWN]
    assert "0.000000000001" in table
    assert invoke("report", "cost-per-task", "--format", "csv").splitlines()[1] == "code,large,1,0,,,0,,"


def test_since_and_until_bound_a_report(filled: Settings) -> None:
    """Only the hours asked for are counted."""
    now = datetime.now(UTC)
    recent = reports.report(filled, "daily-usage", since=now - timedelta(hours=24))
    older = reports.report(filled, "daily-usage", until=now - timedelta(hours=24))
    counts = [sum(row[3] for row in answer.rows()) for answer in (recent, older)]
    assert counts == [2, 1]


def test_an_unknown_report_lists_the_known(filled: Settings) -> None:
    """A name like none of them is answered with the names there are."""
    with pytest.raises(QueryError, match=r"unknown report `zzz`: known: .*`cost-per-task`"):
        reports.report(filled, "zzz")


def test_a_misspelt_organisation_is_no_empty_report(filled: Settings) -> None:
    """Without rows it would read as no cost."""
    with pytest.raises(QueryError, match=r"unknown organisation `acmee`: nearest known: `acme`"):
        reports.report(filled, "cost-per-organization", organization="acmee")


def test_a_failed_check_is_exit_code_1(filled: Settings) -> None:
    """A segment that was changed after its sealing is missing data. A stray file is a warning."""
    (filled.lake / "request_analytics" / "stray.parquet").write_bytes(b"?")
    command = next(item for item in COMMANDS if item.name == "refresh")
    result = CliRunner().invoke(command, ["--home", str(filled.home)])
    assert (result.exit_code, "check lake_is_clean warns: " in result.stderr) == (0, True)
    segment = next((filled.lake / "request_analytics").rglob("date=*/**/*.parquet"))
    segment.chmod(0o644)
    segment.write_bytes(segment.read_bytes()[:-1])
    command = next(item for item in COMMANDS if item.name == "rebuild")
    result = CliRunner().invoke(command, ["--home", str(filled.home)])
    assert (result.exit_code, "check lake_is_clean failed: " in result.stderr) == (1, True)


def test_a_misspelt_folder_is_not_made(settings: Settings, invoke: Invoke) -> None:
    """An empty warehouse in a new folder would pass for a refresh."""
    with pytest.raises(IntelliRouterError, match="there is no data folder"):
        invoke("refresh")
    assert not settings.home.exists()


def test_without_a_warehouse_the_remedy_is_named(settings: Settings) -> None:
    """Asking before the first refresh says to run one."""
    with pytest.raises(WarehouseError, match="run `intellirouter refresh`"):
        reports.query(settings, "select 1")


@pytest.mark.parametrize(
    "hostile",
    [
        "select * from '/etc/passwd'",
        "select * from read_csv('/etc/passwd')",
        "copy (select 1) to '/tmp/x.csv'",
        "copy (select 1) to '{segments}/request_analytics/x.parquet'",
        "explain analyze copy (select 1) to '{segments}/request_analytics/x.parquet'",
        "prepare a as copy (select 1) to '{segments}/request_analytics/x.parquet'; execute a",
        "copy (pivot (select 1 as a) on a using count(*)) to '{segments}/request_analytics/x.parquet'",
        "export database '{segments}/request_analytics'",
        "from read_parquet('{segments}/../../lake/request_analytics/*/*/*.parquet')",
        "attach '/tmp/other.duckdb'",
        "create table x (a int)",
        "delete from request_analytics",
        "set enable_external_access = true",
        "install httpfs",
        "select * from settings",
        "selec 1",
    ],
)
def test_a_query_reads_the_warehouse_and_nothing_else(filled: Settings, hostile: str) -> None:
    """Files, other databases, settings, writes and Python's variables are out of reach."""
    segments = filled.warehouse_file.parent / "segments" / "request_analytics"
    segments.mkdir(parents=True, exist_ok=True)
    before = sorted(segments.iterdir())
    with pytest.raises(QueryError, match="cannot be run"):
        reports.query(filled, hostile.replace("{segments}", str(segments.parent)))
    assert sorted(segments.iterdir()) == before


def test_rows_of_large_segments_are_in_reach(settings: Settings) -> None:
    """Views that read files answer, though a person's SQL may open no file."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    seal_records(settings, [make_record(now - timedelta(hours=1)) for _ in range(1000)])
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
        publishing.publish_warehouse(warehouse)
    (file,) = (settings.warehouse_file.parent / "segments").rglob("*.parquet")
    assert file.stat().st_nlink == 2
    answer = reports.query(settings, "select count(*), sum(tokens_input) from request_analytics")
    assert list(answer.rows()) == [(1000, 100_000)]
    assert list(reports.report(settings, "cost-per-user").rows())


def test_a_long_query_is_stopped(filled: Settings) -> None:
    """A query ends after its timeout, with a word on what to do."""
    with pytest.raises(QueryError, match=r"longer than 0.2 s"):
        reports.query(filled, "select count(*) from range(10000000000) a, range(1000000) b", timeout_s=0.2)


def test_formats_hold_the_same_rows(filled: Settings, invoke: Invoke, tmp_path: Path) -> None:
    """CSV, JSON and Parquet carry the same values; Parquet needs a file."""
    statement = "select id, cost_usd, tokens_input from request_analytics order by timestamp"
    text = invoke("sql", statement, "--format", "json")
    as_json: list[dict[str, Any]] = json.loads(text, parse_float=Decimal)
    assert [row["tokens_input"] for row in as_json] == [None, 100, 100]
    assert as_json[1]["cost_usd"] == Decimal("0.000000000001")
    assert len(invoke("sql", statement, "--format", "csv").splitlines()) == 4
    file = tmp_path / "answer.parquet"
    invoke("sql", statement, "--format", "parquet", "--output", str(file))
    assert pq.read_table(file).column("id").to_pylist() == [row["id"] for row in as_json]
    with pytest.raises(IntelliRouterError, match="--output"):
        invoke("sql", statement, "--format", "parquet")


def test_refresh_and_retention_run_from_the_command_line(settings: Settings, invoke: Invoke) -> None:
    """The commands run the real jobs in the data folder's own Dagster home, and say what they did."""
    settings.home.mkdir()
    assert "nothing new to load; no scores yet" in invoke("refresh")
    seal_records(settings, [make_record()])
    assert "loaded 1 segments (1 rows of request_analytics" in invoke("refresh")
    assert "would remove 1 rows of request_analytics" in invoke(
        "retention", "--dry-run", "--now", "2027-06-01"
    )
    assert (settings.dagster_home / "dagster.yaml").exists()


def test_a_decision_is_explained_from_the_warehouse(
    settings: Settings, instance: dg.DagsterInstance, invoke: Invoke
) -> None:
    """The stored row alone says why, gives the same model again, and shows when it was changed."""
    candidates = [
        Candidate(model="small", is_eligible=True, utility=0.5, probability=0.75),
        Candidate(model="large", is_eligible=True, utility=0.4, probability=0.25),
    ]
    kept = make_record(model_decided="small", draw=0.7, candidates=candidates)
    changed = make_record(model_decided="small", draw=0.8, candidates=candidates)
    seal_records(settings, [kept, changed])
    assert refresh(settings, instance=instance).success
    text = invoke("explain", kept.id)
    assert f"request {kept.id}: small\npolicy `balanced` version 1" in text
    assert "`large` for a random number from 0.7500 to 1.0000" in text
    with pytest.raises(QueryError, match="choose `large`, the record says `small`"):
        invoke("explain", changed.id)


def test_an_unknown_request_is_told_from_a_wrong_id(filled: Settings) -> None:
    """An id that is none, and one that is not here, are different errors."""
    with pytest.raises(QueryError, match="`x` is no request id"):
        reports.record(filled, "x")
    with pytest.raises(QueryError, match="holds no request"):
        reports.record(filled, new_id()[0])
