"""The statements of the document that describes the database, on DuckDB and on the mirror: equal results."""

from __future__ import annotations

import re
import shutil
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from pipelines import flow
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.records import Candidate, Record
from tests.factories import write_catalog
from tests.pipelines.copies.conftest import Mirrored
from tests.pipelines.helpers import NOW, make_feedback, make_log, make_record, seal_records
from tests.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

STATEMENTS = {
    name: (kind, text.strip().rstrip(";"))
    for kind, name, text in re.findall(
        r"^-- (create|query|delete): (\w+)\n(.*?)(?=^-- |\Z)",
        (ROOT / "tests" / "fixtures" / "older_document.sql").read_text(),
        re.DOTALL | re.MULTILINE,
    )
}
CREATED = [name for name, (kind, _) in STATEMENTS.items() if kind == "create"]
NAMED_TABLES = ("model_performance_history", "routing_experiments", "compliance_logs")
"""Tables that the document names without their columns."""
CUTOFF = (NOW + timedelta(days=1)).replace(hour=0)
"""Retention removes whole days in UTC."""
PARAMETERS: dict[str, tuple[Any, ...]] = {
    "usage_report": ("acme", NOW - timedelta(days=1), NOW + timedelta(days=2)),
    "cleanup": (CUTOFF,),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, postgres_server: Any) -> Mirrored:
    """Three days of traffic of two organisations with odd tokens, failures and unknown costs, mirrored."""
    mirrored = Mirrored(tmp_path_factory.mktemp("older") / "data", postgres_server.create_database())
    write_catalog(mirrored.settings.home, ["small", "large"])
    records: list[Record] = []
    for number in range(60):
        request = make_record(
            NOW + timedelta(minutes=61 * number),
            organization_id="acme" if number % 3 else "umbrella",
            task_type=("math", "code")[number % 2],
            model_selected=("small", "large", None)[number % 7 % 3],
            cost_usd=None if number % 11 == 0 else Decimal(7 * number + 1).scaleb(-9),
            tokens_input=0 if number % 13 == 0 else 3 + number % 5,
            tokens_output=2 + number % 9,
            success=number % 5 != 0,
            latency_ms=0.5 * number,
            candidates=[Candidate(model="small", is_eligible=True)],
        )
        records += [
            request,
            make_log(request, ip_address="10.1.2.3", error_details="x"),
            make_feedback(request, 1.0),
        ]
    seal_records(mirrored.settings, records)
    mirrored.refresh()
    mirrored.mirror()
    return mirrored


def equal(here: list[tuple[Any, ...]], there: list[tuple[Any, ...]]) -> bool:
    """Whether two results are equal. DuckDB's averages are doubles, PostgreSQL's have more digits."""
    return len(here) == len(there) and all(
        (pytest.approx(float(one), rel=1e-13) == float(other))
        if isinstance(one, float) and other is not None
        else one == other
        for row, other_row in zip(here, there, strict=True)
        for one, other in zip(row, other_row, strict=True)
    )


def test_every_statement_is_known() -> None:
    """The fixture has five tables, four queries and the cleanup."""
    kinds = [kind for kind, _ in STATEMENTS.values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {"create": 5, "query": 4, "delete": 1}


@pytest.mark.parametrize("name", [name for name, (kind, _) in STATEMENTS.items() if kind == "query"])
def test_a_query_gives_equal_results(copy: Mirrored, name: str) -> None:
    """As written, with the parameters of the document's code."""
    from pipelines.reports.reports import opened

    text, parameters = STATEMENTS[name][1], PARAMETERS.get(name, ())
    with opened(copy.settings) as connection:
        here = connection.execute(text, list(parameters)).fetchall()
    there = copy.ask(text, *parameters)
    assert here != []
    assert equal(here, there), (here, there)


def test_no_division_by_zero_is_infinite(copy: Mirrored) -> None:
    """Answers without input tokens count for nothing in the ratio, on both sides."""
    text = STATEMENTS["cost_per_task_and_model"][1]
    assert copy.ask_warehouse(
        "select count(*) from request_analytics where success and tokens_input = 0"
    ) != [(0,)]
    ratios = [float(row[3]) for row in copy.ask(text)]
    assert all(0 < ratio < 10 for ratio in ratios)
    assert equal(copy.ask_warehouse(text), copy.ask(text))


@pytest.mark.parametrize("name", CREATED)
def test_a_table_has_the_documents_columns(copy: Mirrored, name: str) -> None:
    """The document's table, created as written, takes the rows of ours by name, on both sides.

    Only a session's id is a text of the client's choice and no UUID.
    """
    text = STATEMENTS[name][1].replace("session_id UUID", "session_id VARCHAR")
    columns = re.findall(r"^    (\w+) ", text, re.MULTILINE)
    selected = ", ".join(columns)
    copy.ask("create schema if not exists written")
    copy.ask(text, path="written")
    cast = selected.replace("latency_ms", "round(latency_ms)") if name == "request_analytics" else selected
    copy.ask(f"insert into written.{name} ({selected}) select {cast} from analytics.{name}")  # noqa: S608
    there = copy.ask(f"select count(*), count(distinct {columns[0]}) from written.{name}")  # noqa: S608
    assert there == copy.ask_warehouse(f"select count(*), count(distinct {columns[0]}) from {name}")  # noqa: S608
    with duckdb.connect() as scratch:
        scratch.execute("set TimeZone = 'UTC'")
        scratch.execute(f"attach '{copy.settings.warehouse_file}' as published (read_only)")
        # DuckDB's type INET is in an extension, which is not part of its wheel.
        scratch.execute(text.replace("INET", "VARCHAR"))
        scratch.execute(
            f"insert into {name} ({selected}) select {selected} from published.{name}"  # noqa: S608
        )
        counted = f"select count(*), count(distinct {columns[0]}) from {name}"  # noqa: S608
        assert scratch.execute(counted).fetchall() == there


@pytest.mark.parametrize("name", NAMED_TABLES)
def test_a_table_that_is_only_named_is_there(copy: Mirrored, name: str) -> None:
    """Tables of the later phases exist on both sides."""
    assert len(copy.ask(f"select * from {name}")) == len(copy.ask_warehouse(f"from {name}"))  # noqa: S608


def test_the_cleanup_and_retention_leave_the_same_rows(copy: Mirrored, tmp_path: Path) -> None:
    """The document's DELETE, as written on the mirror, and ANALYTICS_RETENTION_DAYS with the same cutoff.

    DuckDB deletes from no view, and what it removed would come back from the lake.
    """
    import psycopg

    text, left = STATEMENTS["cleanup"][1], "select id from request_analytics order by id"
    with psycopg.connect(copy.url, options="-c search_path=analytics") as connection:
        cursor = psycopg.RawCursor(connection)
        cursor.execute(text.encode(), [CUTOFF])
        there = [str(item) for (item,) in cursor.execute(left.encode()).fetchall()]
        connection.rollback()
    shutil.copytree(copy.settings.home, tmp_path / "data")
    settings = Settings.load({"ANALYTICS_RETENTION_DAYS": "1"}, home=tmp_path / "data")
    with Warehouse(settings) as warehouse:
        flow.retain(warehouse, now=CUTOFF + timedelta(days=1, hours=12))
        here = [item for (item,) in warehouse.rows(left)]
    assert here == there
    assert 0 < len(here) < 60


def test_request_logs_answers_to_id(copy: Mirrored) -> None:
    """`SELECT id` works on both sides, and is the id of the request."""
    text = "SELECT id FROM request_logs ORDER BY id"
    here = copy.ask_warehouse(text)
    assert here == copy.ask_warehouse("select id from request_analytics order by id")
    assert [(str(item),) for (item,) in copy.ask(text)] == here
