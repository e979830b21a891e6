"""Dagster shows the product: both ends of the loop, money, quality, SQL, and the rows that fail."""

from __future__ import annotations

import contextlib
import io
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import pytest

from pipelines import flow
from pipelines.definitions import defs
from pipelines.defs import common, facts, publish
from pipelines.defs.common import QUIET, check_result, statements, whole_result
from pipelines.refresh import LOCATION, open_instance, refresh
from pipelines.warehouse import checks, dictionary
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from tests.pipelines.helpers import NOW, make_feedback, make_record, seal_records
from tests.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.smoke
GRAPH = defs.resolve_asset_graph()
PERSONAL = {"user_id", "session_id", "api_key_id", "tags", "comment", "reason", "error_details", "subject"}

PRINTED = io.StringIO()
"""The standard error of that refresh."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance in which one refresh of three requests ran: one without a known cost, one judged."""
    settings = Settings.load({}, home=tmp_path_factory.mktemp("shown") / "data")
    records = [make_record(NOW, cost_usd=Decimal("0.5")), make_record(NOW, cost_usd=None), make_record(NOW)]
    seal_records(settings, [*records, make_feedback(records[0], 1.0)])
    with open_instance(settings) as instance:
        with contextlib.redirect_stderr(PRINTED):
            assert refresh(settings, instance=instance).success
        yield instance


def metadata(instance: dg.DagsterInstance, asset: str) -> dict[str, Any]:
    """The values of the latest materialisation, or of the latest observation."""
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    if event is None or event.asset_materialization is None:
        (record,) = instance.fetch_observations(dg.AssetKey(asset), limit=1).records
        assert record.asset_observation is not None
        return {name: item.value for name, item in record.asset_observation.metadata.items()}
    found = event.asset_materialization.metadata
    return {name: getattr(item, "records", item.value) for name, item in found.items()}


def test_the_loop_is_in_the_graph() -> None:
    """The router leads to every table of records, and the published scores lead back to it."""
    left = dg.AssetSelection.assets("router").downstream().resolve(GRAPH)
    assert {"journal", "lake", "request_analytics", "task_model_scores", "next_decisions"} <= {
        key.to_user_string() for key in left
    }
    assert GRAPH.get(dg.AssetKey("next_decisions")).parent_keys >= {dg.AssetKey("published_scores")}
    for outside in ("router", "journal", "lake", "documents", "next_decisions"):
        assert GRAPH.get(dg.AssetKey(outside)).is_external


def test_every_asset_says_whose_it_is() -> None:
    """An asset has an owner and a description. A table has its columns and the SQL that makes it."""
    for node in GRAPH.asset_nodes:
        assert node.owners, node.key
        assert node.description, node.key
        name = node.key.to_user_string()
        if name in dictionary.tables():
            assert "```sql" in node.metadata["sql"].value, name
            assert node.metadata["dagster/column_schema"].columns, name


def test_a_table_says_where_it_is(shown: dg.DagsterInstance) -> None:
    """The page of a table names it as one queries it in the published warehouse."""
    file = Path(shown.root_directory).parent / "warehouse" / "intellirouter.duckdb"
    with duckdb.connect(str(file), read_only=True) as published:
        for node in GRAPH.asset_nodes:
            name = node.key.to_user_string()
            place = node.metadata.get("dagster/table_name")
            assert (place is not None) == (name in dictionary.tables()), name
            if place is not None:
                assert place.endswith(f".{name}")
                published.execute(f"select count(*) from {place}")  # noqa: S608 (names of ours)


def test_an_asset_leads_to_its_code() -> None:
    """Its page opens the Python that fills it, and the SQL where a statement does, in an editor."""
    for node in GRAPH.asset_nodes:
        name = node.key.to_user_string()
        if node.is_external:
            continue
        files = [Path(item.file_path) for item in node.metadata["dagster/code_references"].code_references]
        assert all(file.is_file() for file in files), files
        assert any(file.parent == ROOT / "pipelines" / "defs" for file in files), name
        if name in statements():
            assert any(file.suffix == ".sql" for file in files), name
    (line,) = [
        item.line_number
        for item in GRAPH.get(dg.AssetKey("savings")).metadata["dagster/code_references"].code_references
        if item.file_path.endswith(".py")
    ]
    code = (ROOT / "pipelines" / "defs" / "publish.py").read_text().splitlines()
    assert "def savings" in " ".join(code[line - 1 : line + 8])


def test_an_installation_links_to_no_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a container or of site-packages are not where the browser is, or not to be edited."""
    monkeypatch.setattr(common, "CHECKOUT", False)
    asset = common.sourced(publish.savings)
    assert isinstance(asset, dg.AssetsDefinition)
    assert "dagster/code_references" not in asset.get_asset_spec().metadata


def test_every_table_shows_its_rows(shown: dg.DagsterInstance) -> None:
    """The page has the number of rows of each table. A view would be computed for it."""
    tables = {name for name, table in dictionary.tables().items() if table.relation == "table"}
    names = {node.key.to_user_string() for node in GRAPH.asset_nodes} & tables
    assert {name for name in names if "dagster/row_count" not in metadata(shown, name)} == set()


def test_the_saving_is_shown_by_organisation_and_task(settings: Settings) -> None:
    """The page has the rows of the table, the whole first."""
    with Warehouse(settings) as warehouse:
        assert "baseline" not in facts.savings_facts(warehouse)
        known = {"baseline": "large", "environment": "production", "since": NOW, "as_of": NOW}
        known |= {"requests": 9, "supported_share": 1.0, "effective": 3.0, "saved_usd": 1.5, "reason": None}
        rows = [("task", None, "math"), ("organization", "acme", None), ("all", None, None)]
        keys = ("scope", "organization_id", "task_type")
        warehouse.insert("savings", [known | dict(zip(keys, row, strict=True)) for row in rows])
        shown = facts.savings_facts(warehouse)["rows"]
    assert isinstance(shown, dg.TableMetadataValue)
    assert [[row.data[name] for name in ("scope", "subject", "saved_usd")] for row in shown.records] == [
        ["all", "NULL", "1.5"],
        ["organization", "acme", "1.5"],
        ["task", "math", "1.5"],
    ]


def test_every_schedule_and_sensor_says_what_it_does() -> None:
    """A person decides in the UI whether to switch one off."""
    repository = defs.get_repository_def()
    described = {item.name: item.description for item in repository.schedule_defs}
    described |= {item.name: item.description for item in repository.sensor_defs}
    assert all(described.values()), described


def test_a_run_prints_no_events(shown: dg.DagsterInstance) -> None:
    """Dagster would print 150 lines at DEBUG, from a command and from a run of the UI."""
    assert PRINTED.getvalue() == ""
    for name in ("refresh", "retention", "reports", "housekeeping"):
        config = defs.resolve_job_def(name).run_config
        assert config is not None
        assert config["loggers"] == QUIET["loggers"]


def test_a_rehearsal_of_retention_is_one_word_away() -> None:
    """The launchpad of a job that removes records has its options filled in."""
    options = {"dry_run": False, "force": False}
    config = defs.resolve_job_def("retention").run_config
    assert config is not None
    assert config["ops"] == {"retained_records": {"config": options}}


def test_new_rows_and_all_rows_are_apart(shown: dg.DagsterInstance) -> None:
    """A refresh that loads nothing still shows how large the table is."""
    facts = metadata(shown, "request_analytics")
    assert (facts["new_rows"], facts["dagster/row_count"]) == (3, 3)


def test_money_and_quality_are_numbers(shown: dg.DagsterInstance) -> None:
    """Dagster charts numbers. A request of unknown cost is counted, and adds nothing to the sum."""
    found = metadata(shown, "task_cost_daily")
    assert found["unknown_cost_30_days"] == 1
    assert found["requests_30_days"] == 3
    assert isinstance(found["cost_usd_30_days"], float)
    assert found["quality_mean_last_day"] == 1.0
    assert metadata(shown, "lake")["segments"] == 2
    assert metadata(shown, "next_decisions")["requests"] == 3


def test_previews_hold_no_person_and_no_text() -> None:
    """Dagster keeps metadata when a person is erased, so no preview has a column that could name one."""
    for table, (moment, columns) in facts.PREVIEWS.items():
        known = {column.name for column in dictionary.tables()[table].columns}
        assert {moment, *columns} <= known, table
        assert not PERSONAL & {*columns}, table


def test_the_last_rows_are_shown(shown: dg.DagsterInstance) -> None:
    """The preview has the table's newest rows, and an unknown cost is NULL."""
    rows = metadata(shown, "request_analytics")["last_rows"]
    assert sorted(row.data["cost_usd"] for row in rows)[-2:] == ["0.5", "NULL"]


def test_a_check_names_its_window_and_its_failing_rows(settings: Settings) -> None:
    """The UI shows the moments that were checked, in place of the parameters, and the rows as a table."""
    seal_records(settings, [make_record(NOW)])
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
        warehouse.connection.execute("update request_analytics_rows set tokens_input = -5")
        (found,) = checks.check_hours(warehouse, ["amounts_are_not_negative"], [NOW.replace(minute=0)])
    shown = check_result("request_analytics", found)
    assert not shown.passed
    assert "from 2026-06-19 12:00 to 2026-06-19 13:00 UTC" in str(shown.metadata["question"].value)
    assert "$start" not in str(shown.metadata["question"].value)
    rows = shown.metadata["failing_rows"]
    assert isinstance(rows, dg.TableMetadataValue)
    (row,) = rows.records
    assert "-5" in row.data.values()


def test_a_check_of_everything_shows_the_rows_of_each_failure(settings: Settings) -> None:
    """How many checks ran, how many rows fail, and which."""
    seal_records(settings, [make_record(NOW)])
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
        shown = whole_result("retained_records", "everything_reconciles", checks.check_everything(warehouse))
        assert shown.passed
        assert shown.metadata["failures"].value == 0
        warehouse.connection.execute("update request_analytics_rows set cost_usd = -5")
        shown = whole_result("retained_records", "everything_reconciles", checks.check_everything(warehouse))
    assert not shown.passed
    assert shown.metadata["failed_checks"].value == shown.metadata["failures"].value == 2
    rows = shown.metadata["amounts_are_not_negative"]
    assert isinstance(rows, dg.TableMetadataValue)
    assert [row.data["cost_usd"] for row in rows.records] == ["-5"]
    assert "rollup_cost_matches" in shown.metadata


def test_no_check_shows_a_parameter() -> None:
    """The description in the UI has words for the window."""
    for key in GRAPH.asset_check_keys:
        assert "$" not in (GRAPH.get_check_spec(key).description or ""), key


def test_runs_of_commands_are_on_the_timeline(shown: dg.DagsterInstance) -> None:
    """A run names the code location that dagster_home/workspace.yaml and `dg dev` name."""
    (run,) = shown.get_runs()
    assert run.remote_job_origin is not None
    assert run.remote_job_origin.location_name == LOCATION
    for file in ("dagster_home/workspace.yaml", "pyproject.toml"):
        assert re.search(
            rf'(location_name|code_location_name)\W+{LOCATION}"?$', (ROOT / file).read_text(), re.MULTILINE
        )


def test_a_day_is_computed_again(settings: Settings) -> None:
    """A backfill of a day restores its rollups, whatever was done to them, and spares other days."""
    day = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    seal_records(settings, [make_record(NOW), make_record(NOW + timedelta(days=1))])
    query = "select quarter_hour, requests, cost_usd from usage_quarter_hourly order by quarter_hour"
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
        before = warehouse.rows(query)
        warehouse.connection.execute("update usage_quarter_hourly set requests = 7")
        assert flow.recompute(warehouse, day, day + timedelta(days=1)) == 1
        after = warehouse.rows(query)
    assert after[0] == before[0]
    assert after[1] == (before[1][0], 7, before[1][2])
