"""Every SQL file has a header that tells the truth, and one shape."""

from __future__ import annotations

import re

import duckdb
import pytest

from pipelines.errors import WarehouseError
from pipelines.retention.retention import ROLLUP_MOMENTS
from pipelines.rollups.tables import HOURLY
from pipelines.warehouse import loading, sqlfiles
from pipelines.warehouse.archive import TABLES
from pipelines.warehouse.sqlfiles import SqlFile
from pipelines.warehouse.warehouse import Warehouse
from router.records import DATASETS

ROOMS = ("migrations", "tables", "load", "rollups", "marts", "checks", "retention", "reports", "evaluation")
KEYS = [key for room in ROOMS for key in sqlfiles.names(room)]
TEMPLATES: dict[str, list[SqlFile]] = {
    "load/records": [loading.records_file(dataset) for dataset in DATASETS],
    "tables/archive": [
        sqlfiles.load("tables/archive", table=table, moment=moment) for table, moment in TABLES.items()
    ],
    "tables/restore": [
        sqlfiles.load("tables/restore", table=table)
        for table in (*TABLES, *(f"pipeline.removed_{name}" for name in HOURLY))
    ],
    "tables/delete_between": [
        *(sqlfiles.delete_between(table, moment) for table, moment in ROLLUP_MOMENTS.items()),
        *(sqlfiles.delete_between(dataset, record.MOMENT) for dataset, record in DATASETS.items()),
    ],
    "tables/delete_before": [
        sqlfiles.delete_before(table, moment) for table, moment in ROLLUP_MOMENTS.items()
    ],
}
"""Each template, filled for the tables that it serves."""
FILES = [file for key in KEYS for file in TEMPLATES.get(key) or [sqlfiles.load(key)]]
STATEMENTS = [file for file in FILES if not file.key.startswith("migrations/")]
KEYWORDS = re.compile(
    r"\b(SELECT|FROM|WHERE|GROUP BY|ORDER BY|INSERT|DELETE|JOIN|WITH|AND|OR|NOT|NULL|AS|ON|CASE|WHEN|END)\b"
)


def _id(file: SqlFile) -> str:
    return f"{file.key}-{file.header['name']}"


def _body(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


@pytest.mark.smoke
def test_every_room_has_files() -> None:
    """No room is empty, and every file is in a known room."""
    assert all(sqlfiles.names(room) for room in ROOMS)
    assert len(list(sqlfiles.folder().rglob("*.sql"))) == len(KEYS)


@pytest.mark.parametrize("file", FILES, ids=_id)
def test_a_file_has_its_header(file: SqlFile) -> None:
    """The name, grain, unique key, tables it reads and a sentence come first."""
    assert list(file.header) == ["name", "grain", "unique", "reads"]
    assert file.sentence.endswith((".", ".sql"))
    assert all(file.header[item] for item in ("name", "grain", "unique"))


@pytest.mark.parametrize("file", FILES, ids=_id)
def test_keywords_are_lower_case(file: SqlFile) -> None:
    """SQL reads the same everywhere."""
    assert KEYWORDS.findall(_body(file.text)) == []


@pytest.mark.parametrize("file", STATEMENTS, ids=_id)
def test_a_file_is_one_statement_and_formats_nothing(file: SqlFile) -> None:
    """One statement a file; values are bound, so no placeholder of a formatter is left."""
    text = file.text
    assert len(duckdb.extract_statements(text)) == 1
    assert "{" not in text
    assert "%s" not in text


@pytest.mark.parametrize("file", STATEMENTS, ids=_id)
def test_reads_is_what_duckdb_says_it_reads(warehouse: Warehouse, file: SqlFile) -> None:
    """The header's `reads` equals the tables of the statement's query, as DuckDB parses it."""
    target = file.header["name"]
    warehouse.connection.execute(
        "create temp table if not exists incoming (segment varchar, row_in_segment bigint,"
        " stale_hour timestamptz, request_hour timestamptz)"
    )
    found = _tables(warehouse, _body(file.text))
    # A statement that changes a table names it; only an insert or create does not read it.
    changes = re.match(r"\s*(insert|create)\b", _body(file.text))
    written = target if changes and not re.search(rf"\bfrom {re.escape(target)}\b", file.text) else None
    assert found - {written} == file.reads


def _tables(warehouse: Warehouse, text: str) -> set[str]:
    """Names behind from, join, into and delete, as the tokenizer splits them, less the CTEs."""
    ctes = set(re.findall(r"^\s*(\w+) as \($", text, flags=re.MULTILINE))
    named = set(re.findall(r"\b(?:from|join)\s+([a-z_]+(?:\.[a-z_]+)?)\b(?!\s*\()", text))
    known = {
        name if schema == "main" else f"{schema}.{name}"
        for schema, name in warehouse.rows(
            "select schema_name, table_name from duckdb_tables() where not internal"
        )
    }
    query = _query_of(text)
    if query is not None:
        by_duckdb = {
            name.replace('"', "").removeprefix("main.").removeprefix("temp.")
            for name in warehouse.connection.get_table_names(query, qualified=True)
        }
        assert by_duckdb <= named | ctes, by_duckdb
    return {name for name in named - ctes if name in known}


def _query_of(text: str) -> str | None:
    """The select of the statement with its parameters replaced; None when there is none to parse."""
    start = re.search(r"^(with|select)\b", text, flags=re.MULTILINE)
    if start is None or "read_parquet" in text:
        return None
    return re.sub(r"\$\w+", "null", text[start.start() :]).rstrip().rstrip(";")


@pytest.mark.parametrize("name", ["users; drop table feedback", "request_analytic", "'", "", "segment)"])
def test_a_template_takes_known_names_only(name: str) -> None:
    """A place is filled with a table or column of ours, so that no other text gets into a statement."""
    with pytest.raises(WarehouseError, match="is neither a table nor a column"):
        sqlfiles.load("tables/restore", table=name)


def test_a_template_needs_every_name() -> None:
    """A place that is left open, or a name without a place, is an error before DuckDB sees it."""
    with pytest.raises(WarehouseError, match="the template has the places `moment, table`"):
        sqlfiles.load("tables/archive", table="usage_hourly")
    with pytest.raises(WarehouseError, match="`extra, table` were given"):
        sqlfiles.load("tables/restore", table="usage_hourly", extra="hour")
