"""Reports on one environment: a load test of staging is not in the figures of production."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from pipelines.errors import QueryError
from pipelines.refresh import refresh
from pipelines.reports import reports
from pipelines.reports.pages.questions import question_of
from pipelines.reports.report_command import COMMANDS
from router.config import Settings
from router.records import FeedbackRecord, RequestRecord
from tests.pipelines.helpers import make_feedback, make_record, seal_records

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
PRODUCTION, STAGING = "production", "staging"
BY_ENVIRONMENT = [name for name in reports.report_names() if question_of(name).is_by_environment]


def folder(path: Path, instance: dg.DagsterInstance, *environments: str) -> Settings:
    """A published warehouse with the traffic of these environments, the same in each folder."""
    settings = Settings.load({}, home=path)
    records: list[RequestRecord | FeedbackRecord] = []
    for hours in (30, 4, 3):
        for environment, model, cost in ((PRODUCTION, "small", "0.25"), (STAGING, "large", "8")):
            if environment not in environments:
                continue
            made = make_record(
                NOW - timedelta(hours=hours),
                environment=environment,
                model_selected=model,
                model_decided=model,
                cost_usd=Decimal(cost) if hours != 3 else None,
                organization_id="acme",
                user_id="ada",
                success=hours != 4,
            )
            records += [made, make_feedback(made, 0.5)]
    seal_records(settings, records)
    assert refresh(settings, instance=instance).success
    return settings


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, instance: dg.DagsterInstance) -> Settings:
    """Production and staging in one folder."""
    return folder(tmp_path_factory.mktemp("both") / "data", instance, PRODUCTION, STAGING)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, instance: dg.DagsterInstance) -> Settings:
    """The same traffic of production, in a folder of its own."""
    return folder(tmp_path_factory.mktemp("alone") / "data", instance, PRODUCTION)


@pytest.mark.parametrize("name", BY_ENVIRONMENT)
def test_a_report_on_an_environment_is_that_of_a_folder_without_the_others(
    name: str, both: Settings, alone: Settings
) -> None:
    """Every figure of every report is the same, to the last digit."""
    narrowed = reports.report(both, name, environment=PRODUCTION)
    own = reports.report(alone, name)
    columns = [column for column in own.columns if column != "anomaly_id"]
    assert narrowed.table.select(columns).to_pylist() == own.table.select(columns).to_pylist()


def test_the_environments_add_up_to_the_report_on_all(both: Settings) -> None:
    """Nothing is counted twice or left out."""
    whole, *parts = (
        sum(row[0] or 0 for row in answer.table.select(["cost_usd"]).to_pandas().itertuples(index=False))
        for answer in (
            reports.report(both, "cost-per-model"),
            reports.report(both, "cost-per-model", environment=PRODUCTION),
            reports.report(both, "cost-per-model", environment=STAGING),
        )
    )
    assert (whole, parts) == (Decimal("16.5"), [Decimal("0.5"), Decimal(16)])


def test_a_misspelt_environment_is_no_empty_report(both: Settings) -> None:
    """Without rows it would read as no cost."""
    with pytest.raises(QueryError, match=r"unknown environment `prodution`: nearest known: `production`"):
        reports.report(both, "cost-per-model", environment="prodution")


@pytest.mark.parametrize("name", sorted(set(reports.report_names()) - set(BY_ENVIRONMENT)))
def test_a_report_without_environments_says_so(name: str, both: Settings) -> None:
    """It would show the figures of all of them."""
    with pytest.raises(QueryError, match=rf"the report `{name}` is not kept by environment"):
        reports.report(both, name, environment=PRODUCTION)


def test_month_has_the_reports_by_environment_and_names_it(both: Settings, tmp_path: Path) -> None:
    """The page and the tables say which environment they are about."""
    page = tmp_path / "month.html"
    options = ["month", "--environment", STAGING, "--home", str(both.home), "--since", "3d"]
    printed = CliRunner().invoke(COMMANDS[0], options)
    drawn = CliRunner().invoke(COMMANDS[0], [*options, "--html", str(page)])
    assert (printed.exit_code, drawn.exit_code) == (0, 0), printed.output + drawn.output
    assert ", environment staging" in printed.output
    assert "small" not in printed.output
    text = page.read_text()
    assert ", environment staging" in text
    assert all((f'id="{name}"' in text) == (name in BY_ENVIRONMENT) for name in reports.report_names())


def test_a_report_that_is_no_single_statement_says_so(both: Settings) -> None:
    """`moving-in` compares whole logs."""
    import_module("pipelines.importing.import_commands")  # its room adds the report
    options = ["moving-in", "--environment", PRODUCTION, "--home", str(both.home)]
    found = CliRunner().invoke(COMMANDS[0], options)
    assert isinstance(found.exception, QueryError), found.output
    assert "is not kept by environment" in str(found.exception)
