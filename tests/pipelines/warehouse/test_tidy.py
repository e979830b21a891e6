"""Every SQL file has a header that tells the truth, and one shape."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import duckdb
import pytest

from pipelines.copies import published
from pipelines.defs import facts
from pipelines.errors import WarehouseError
from pipelines.retention.retention import ROLLUP_MOMENTS
from pipelines.warehouse import archive, linked, linked_views, loading, sqlfiles
from pipelines.warehouse.archive import TABLES
from pipelines.warehouse.columns import as_in_file
from pipelines.warehouse.differences import first_difference_file
from pipelines.warehouse.sqlfiles import SqlFile
from pipelines.warehouse.warehouse import in_memory
from router.config import Settings
from router.records import DATASETS

ROOMS = (
    "migrations",
    "tables",
    "load",
    "rollups",
    "marts",
    "checks",
    "retention",
    "erasure",
    "reports",
    "evaluation",
    "reconciliation",
    "copies",
    "importing",
)
POSTGRESQL = "postgres"
"""A room of statements for another engine. The tests of the copies run each of them on a server."""
KEYS = [key for room in ROOMS for key in sqlfiles.names(room)]
RECORDS = [(dataset, record.MOMENT, fields(record)[0].name) for dataset, record in DATASETS.items()]
MOMENTS = [*ROLLUP_MOMENTS.items(), *((dataset, moment) for dataset, moment, _ in RECORDS)]
WRITTEN = [
    "task_model_scores",
    "score_changes",
    "model_versions",
    "models",
    "model_prices",
    "compliance_logs",
    "config_versions",
    "config_documents",
    "routing_configs",
    "models_history",
    "organizations",
    "organizations_history",
]


with in_memory(Settings.load({})) as _connection:
    PUBLISHED = published.tables(_connection)


def _filled(key: str, *places: str, tables: Iterable[Sequence[str]]) -> list[SqlFile]:
    return [sqlfiles.load(key, **dict(zip(places, names, strict=True))) for names in tables]


TEMPLATES: dict[str, list[SqlFile]] = {
    "load/incoming": [
        loading.incoming_file(dataset) for dataset in DATASETS if dataset not in loading.FOLDED
    ],
    "load/feedback_incoming": [loading.incoming_file("feedback")],
    "load/records": [loading.records_file(dataset) for dataset in DATASETS],
    "load/take_over": _filled("load/take_over", "table", "moment", tables=[item[:2] for item in RECORDS]),
    "load/count_in_segment": _filled(
        "load/count_in_segment", "table", "moment", tables=[item[:2] for item in RECORDS]
    ),
    "load/delete_missing": _filled("load/delete_missing", "table", "moment", "key", tables=RECORDS),
    "load/delete_segments": _filled(
        "load/delete_segments", "table", "moment", tables=[item[:2] for item in RECORDS]
    ),
    "load/linked_view": [linked_views.view_file(dataset, ("segment",)) for dataset in linked_views.ADDED],
    "load/linked_part": [linked_views.part_file(dataset, 1, ("segment",)) for dataset in linked_views.ADDED],
    "load/linked_hours": [linked.hours_file(dataset) for dataset in linked.STALE_HOUR],
    "load/linked_missing": [linked.missing_file(dataset) for dataset in linked.STALE_HOUR],
    "load/take_back": [linked.take_back_file(dataset, 1) for dataset in linked_views.ADDED],
    "load/refused_segments": [linked.refused_file(dataset, ["false"]) for dataset in linked_views.ADDED],
    "load/rows_of_ids": _filled("load/rows_of_ids", "table", "moment", "key", tables=RECORDS),
    "load/rows_between": [
        sqlfiles.load("load/rows_between", table=table, moment=moment, columns=(moment,))
        for table, moment in MOMENTS
    ],
    "load/rows_by_segment": _filled("load/rows_by_segment", "table", tables=[item[:1] for item in RECORDS]),
    "load/segment_rows": [
        sqlfiles.load("load/segment_rows", table=dataset, columns=as_in_file([key, moment]))
        for dataset, moment, key in RECORDS
    ],
    "load/first_difference": [
        first_difference_file(dataset, 1, has_file=has_file)
        for dataset in DATASETS
        for has_file in (True, False)
    ],
    "erasure/rows_before": _filled(
        "erasure/rows_before", "table", "moment", tables=[("request_analytics", "timestamp")]
    ),
    "tables/archive": _filled("tables/archive", "table", "moment", tables=TABLES.items()),
    "tables/restore": _filled(
        "tables/restore",
        "table",
        tables=[(name,) for name in (*TABLES, "pipeline.removed_usage_quarter_hourly")],
    ),
    "retention/restore_whole_hours": [
        archive.restoring(table, prefix) for table in archive.EARLIER for prefix in ("", "pipeline.removed_")
    ],
    "tables/delete_between": _filled("tables/delete_between", "table", "moment", tables=MOMENTS),
    "tables/delete_before": _filled("tables/delete_before", "table", "moment", tables=MOMENTS),
    "tables/oldest": _filled("tables/oldest", "table", "moment", tables=MOMENTS),
    "tables/delete_equal": [sqlfiles.delete_equal("pipeline.quarantine", "path")],
    "tables/delete_prefixed": [
        sqlfiles.load("tables/delete_prefixed", table="pipeline.settled_folders", column="folder")
    ],
    "tables/insert": [sqlfiles.insert("pipeline.stale_days", ("mart", "day"))],
    "copies/parts": [table.parts_file for table in PUBLISHED],
    "copies/rows": [table.rows_file for table in PUBLISHED],
    "tables/take_found": _filled("tables/take_found", "table", tables=[item[:1] for item in RECORDS]),
    "tables/rows": _filled("tables/rows", "table", tables=[(name,) for name in WRITTEN]),
    "tables/clear": _filled("tables/clear", "table", tables=[(name,) for name in WRITTEN]),
    "tables/count": _filled(
        "tables/count", "table", tables=[(name,) for name in (*WRITTEN, "pipeline.linked_segments")]
    ),
    "tables/count_records": [
        sqlfiles.load("tables/count_records", view=dataset, table=linked_views.rows_table(dataset))
        for dataset in linked_views.ADDED
    ],
    "tables/last_rows": [
        sqlfiles.load("tables/last_rows", table=table, moment=moment, columns=columns)
        for table, (moment, columns) in facts.PREVIEWS.items()
    ],
}
"""Each template, filled for the tables that it serves."""
PLACES = [
    sqlfiles.parse(key, (sqlfiles.folder() / f"{key}.sql").read_text(encoding="utf-8"))
    for key in sqlfiles.names(POSTGRESQL)
]
FILES = [file for key in KEYS for file in TEMPLATES.get(key) or [sqlfiles.load(key)]]
STATEMENTS = [file for file in FILES if not file.key.startswith(("migrations/", "tables/migrations"))]
PIPELINES = Path(sqlfiles.__file__).parents[1]
SQL_IN_PYTHON = 40
"""Statements in Python at most: look-ups, settings and what a keyword does. Every other one has a file."""
SQL = re.compile(
    r"\s*(?:select\s|insert into\s|update \S+ set\s|delete from\s|with\s+\w+ as\s|drop table\s|alter table\s"
    r"|create (?:or replace )?(?:temp )?(?:table|schema|view)\b|copy \S|attach '|detach \w|describe from\s"
    r"|from \S+(?: where| order| limit|$)|set (?:variable )?\S+ ="
    r"|comment on\s|(?:checkpoint|vacuum|begin|commit)$)"
)
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
    assert len(list(sqlfiles.folder().rglob("*.sql"))) == len(KEYS) + len(sqlfiles.names(POSTGRESQL))


@pytest.mark.parametrize("file", [*FILES, *PLACES], ids=_id)
def test_a_file_has_its_header(file: SqlFile) -> None:
    """The name, grain, unique key, tables it reads and a sentence come first."""
    assert list(file.header) == ["name", "grain", "unique", "reads"]
    assert file.sentence.endswith((".", ".sql"))
    assert all(file.header[item] for item in ("name", "grain", "unique"))


@pytest.mark.parametrize("file", [*FILES, *PLACES], ids=_id)
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


@pytest.fixture(scope="module")
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty warehouse with the temporary tables that a load makes."""
    with in_memory(Settings.load({})) as connection:
        connection.execute(
            "create temp table incoming (segment varchar, row_in_segment bigint,"
            " stale_hour timestamptz, request_hour timestamptz)"
        )
        connection.execute("create temp table security_events_found as from security_events_daily limit 0")
        yield connection


@pytest.mark.parametrize("file", STATEMENTS, ids=_id)
def test_reads_is_what_duckdb_says_it_reads(empty: duckdb.DuckDBPyConnection, file: SqlFile) -> None:
    """The header's `reads` equals the tables of the statement's query, as DuckDB parses it."""
    target = file.header["name"]
    found = _tables(empty, _body(file.text))
    # A statement that changes a table names it; only an insert or create does not read it.
    changes = re.match(r"\s*(insert|create)\b", _body(file.text))
    written = target if changes and not re.search(rf"\bfrom {re.escape(target)}\b", file.text) else None
    assert found - {written} == file.reads


def _tables(connection: duckdb.DuckDBPyConnection, text: str) -> set[str]:
    """Names behind from, join, into and delete, as the tokenizer splits them, less the CTEs."""
    ctes = set(re.findall(r"^\s*(\w+) as \($", text, flags=re.MULTILINE))
    named = set(re.findall(r"\b(?:from|join)\s+([a-z_]+(?:\.[a-z_]+)?)\b(?!\s*\()", text))
    known = {
        name if schema == "main" else f"{schema}.{name}"
        for schema, name in connection.execute(
            "select schema_name, table_name from duckdb_tables() where not internal"
            " union all select schema_name, view_name from duckdb_views() where not internal"
        ).fetchall()
    }
    query = _query_of(text)
    views = {
        name
        for (name,) in connection.execute(
            "from duckdb_views() select view_name where not internal"
        ).fetchall()
    }
    if query is not None and not named & views:  # of a view, DuckDB gives the tables behind it
        by_duckdb = {
            name.replace('"', "").removeprefix("main.").removeprefix("temp.")
            for name in connection.get_table_names(query, qualified=True)
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
        sqlfiles.load("tables/archive", table="usage_quarter_hourly")
    with pytest.raises(WarehouseError, match="`extra, table` were given"):
        sqlfiles.load("tables/restore", table="usage_quarter_hourly", extra="hour")


def test_statements_are_in_the_sql_rooms() -> None:
    """Python holds look-ups and keywords; a statement that does more is a file with a checked header."""
    found = [
        f"{path.relative_to(PIPELINES)}:{line} {text}"
        for path in sorted(PIPELINES.rglob("*.py"))
        for line, text in _statements(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert len(found) <= SQL_IN_PYTHON, "\n".join(found)
    changes = re.compile(r"(insert|update|delete|with|create|alter)\b")
    assert [item for item in found if changes.match(item.partition(" ")[2])] == []


def _statements(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Texts that are SQL, f-strings too, docstrings not."""
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node) if part is not node}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inside.add(id(node.value))
    for node in ast.walk(tree):
        text = _text(node)
        if text is not None and id(node) not in inside and SQL.match(text):
            yield node.lineno, " ".join(text.split())  # type: ignore[attr-defined]


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None
