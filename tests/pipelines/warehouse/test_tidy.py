"""Every SQL file has a header that tells the truth, and one shape."""

from __future__ import annotations

import re

import duckdb
import pytest

from pipelines.warehouse import sqlfiles
from pipelines.warehouse.archive import TABLES
from pipelines.warehouse.warehouse import Warehouse

ROOMS = ("migrations", "load", "rollups", "marts", "checks", "retention", "reports", "evaluation")
KEYS = [key for room in ROOMS for key in sqlfiles.names(room)]
STATEMENTS = [key for key in KEYS if not key.startswith("migrations/")]
KEYWORDS = re.compile(
    r"\b(SELECT|FROM|WHERE|GROUP BY|ORDER BY|INSERT|DELETE|JOIN|WITH|AND|OR|NOT|NULL|AS|ON|CASE|WHEN|END)\b"
)


def _body(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


@pytest.mark.smoke
def test_every_room_has_files() -> None:
    """No room is empty, and every file is in a known room."""
    assert all(sqlfiles.names(room) for room in ROOMS)
    assert len(list(sqlfiles.folder().rglob("*.sql"))) == len(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_file_has_its_header(key: str) -> None:
    """Name, grain, unique key, what it reads, and a sentence stand at the top."""
    file = sqlfiles.load(key)
    assert list(file.header) == ["name", "grain", "unique", "reads"]
    assert file.sentence.endswith((".", ".sql"))
    assert all(file.header[item] for item in ("name", "grain", "unique"))


@pytest.mark.parametrize("key", KEYS)
def test_keywords_are_lower_case(key: str) -> None:
    """SQL reads the same everywhere."""
    assert KEYWORDS.findall(_body(sqlfiles.load(key).text)) == []


@pytest.mark.parametrize("key", STATEMENTS)
def test_a_file_is_one_statement_and_formats_nothing(key: str) -> None:
    """One statement a file; values are bound, so no placeholder of a formatter is left."""
    text = sqlfiles.load(key).text
    assert len(duckdb.extract_statements(text)) == 1
    assert "{" not in text
    assert "%s" not in text


@pytest.mark.parametrize("key", STATEMENTS)
def test_reads_is_what_duckdb_says_it_reads(warehouse: Warehouse, key: str) -> None:
    """The header's `reads` equals the tables of the statement's query, as DuckDB parses it."""
    file = sqlfiles.load(key)
    target = file.header["name"]
    warehouse.connection.execute(
        "create temp table if not exists incoming (segment varchar, row_in_segment bigint,"
        " stale_hour timestamptz, hour_of_request timestamptz)"
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


def test_archived_tables_have_their_statements() -> None:
    """Each archived table can be written and put back."""
    for table in TABLES:
        assert {f"retention/archive_{table}", f"retention/restore_{table}"} <= set(KEYS)
