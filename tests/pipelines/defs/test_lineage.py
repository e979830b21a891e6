"""The graph shows where each asset's rows come from: its parents are the tables that its step reads."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from pipelines.definitions import defs
from pipelines.defs.common import statements
from pipelines.refresh import refresh
from pipelines.warehouse import dictionary, sqlfiles
from router.config import Settings
from tests.pipelines.helpers import make_feedback, make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

GRAPH = defs.resolve_asset_graph()
STEPS = {
    asset.op.name: {key.to_user_string() for key in asset.keys}
    for asset in GRAPH.assets_defs
    if asset.is_executable
}
"""The assets that each step fills."""

ASIDE = ("pipelines.warehouse.checks", "pipelines.defs.facts")
OPENING = ("pipelines.warehouse.warehouse", "connection")
"""The step that comes first opens the database, and migrates it."""


def parents(asset: str) -> set[str]:
    """The assets that the graph draws before this one."""
    return {key.to_user_string() for key in GRAPH.get(dg.AssetKey(asset)).parent_keys}


def ancestors(asset: str) -> set[str]:
    """All assets that lead to this one."""
    before = dg.AssetSelection.assets(asset).upstream(include_self=False).resolve(GRAPH)
    return {key.to_user_string() for key in before}


def assets_of(tables: frozenset[str]) -> set[str]:
    """The assets among the tables. A part of a view of records counts as the view."""
    return {table.removesuffix("_rows") for table in tables} & _names()


def _names() -> set[str]:
    return {key.to_user_string() for key in GRAPH.get_all_asset_keys()}


def _callers() -> Iterator[tuple[str, str]]:
    """The module and the name of every function under way, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame.f_globals.get("__name__", ""), frame.f_code.co_name
        frame = frame.f_back


@pytest.fixture
def reads(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, set[str]]:
    """The tables that each step reads in a refresh, without its checks and the facts that it shows."""
    records = [make_record(), make_record()]
    seal_records(settings, [*records, make_feedback(records[0], 1.0)])
    found: dict[str, set[str]] = defaultdict(set)
    load = sqlfiles.load

    def noting(key: str, /, **names: str | tuple[str, ...]) -> sqlfiles.SqlFile:
        file = load(key, **names)
        callers = [*_callers()]
        steps = [name for room, name in callers if room.startswith("pipelines.defs.") and name in STEPS]
        is_aside = any(room in ASIDE or (room, name) == OPENING for room, name in callers)
        if steps and not is_aside:
            found[steps[0]] |= assets_of(file.reads)
        return file

    monkeypatch.setattr(sqlfiles, "load", noting)
    with dg.DagsterInstance.ephemeral() as instance:
        assert refresh(settings, instance=instance).success
    return found


@pytest.mark.smoke
def test_a_step_comes_after_every_table_that_it_reads(reads: Mapping[str, set[str]]) -> None:
    """A table that a step reads, and that another step fills, is upstream of what the step fills."""
    missing = {}
    for step, tables in reads.items():
        filled = STEPS[step]
        before = set[str]().union(*map(ancestors, filled))
        if late := tables - filled - before:
            missing[step] = late
    assert missing == {}


@pytest.mark.smoke
def test_a_table_follows_from_the_tables_of_its_statement() -> None:
    """The parents of a table that one statement fills are the tables that the statement reads."""
    wrong = {}
    for table, files in statements().items():
        expected = assets_of(files[0].reads)
        if files[0].key.startswith("migrations/") or not expected:  # it reads a temporary table
            continue
        if found := (parents(table) - {"honoured_erasures"}) ^ expected:
            wrong[table] = found
    assert wrong == {}


@pytest.mark.parametrize(
    ("asset", "keys"),
    [
        ("task_model_scores", ["marts/task_model_totals", "marts/quality_outcomes"]),
        ("score_changes", ["marts/quality_blocks"]),
        ("savings", ["marts/scored_environment", "evaluation/propensity_sums"]),
        ("budget_status", ["marts/budget_spend", "marts/budget_spend_of_organizations"]),
        (
            "anomalies",
            ["marts/watched", "marts/contributors", "marts/quality_incidents", "marts/priced_models"],
        ),
        ("published_usage", ["marts/published_usage", "marts/days_with_usage", "marts/published_savings"]),
        ("billing_records", ["marts/billing_usage_of_months"]),
    ],
)
def test_what_python_fills_follows_from_the_tables_that_it_reads(asset: str, keys: list[str]) -> None:
    """Its parents are the tables of its statements, whatever the data folder holds, and the documents."""
    read = assets_of(frozenset[str]().union(*(sqlfiles.load(key).reads for key in keys)))
    assert parents(asset) - {"documents"} == read


def test_the_hourly_usage_follows_from_the_quarters() -> None:
    """It is a view of them."""
    assert parents("usage_hourly") == {"usage_quarter_hourly"}


def test_the_published_warehouse_holds_every_table() -> None:
    """The published file is a copy: each table of the graph leads to it directly."""
    tables = _names() & dictionary.tables().keys()
    assert tables - parents("published_warehouse") == set()


def test_what_reads_the_lake_follows_from_the_lake() -> None:
    """Kept results of reconciliations are in the lake, and retention removes records from it."""
    assert parents("reconciliations") == parents("reconciliation_differences") == {"lake"}
    assert parents("retained_records") >= {"request_analytics", "feedback", "request_logs", "security_events"}


def test_the_router_reads_the_documents() -> None:
    """Catalog and policies decide with the scores."""
    assert parents("router") == {"documents"}


def test_the_sql_of_a_table_fills_it() -> None:
    """A statement that reads the table itself is a question to it."""
    asking = {
        table: file.key
        for table, files in statements().items()
        for file in files
        if not file.key.startswith("migrations/") and table in file.reads
    }
    assert asking == {}
