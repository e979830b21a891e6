"""Every column of the warehouse is described once, and the description shows wherever people look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipelines.definitions import defs
from pipelines.errors import WarehouseError
from pipelines.warehouse import descriptions, dictionary, publishing, sqlfiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.warehouse.warehouse import Warehouse

TABLES = dictionary.tables()
VIEWS = {table.name for table in TABLES.values() if table.relation == "view"}
COLUMNS = [(table, column) for table in TABLES.values() for column in table.columns]


def test_every_table_and_column_has_a_line_and_no_line_is_stale() -> None:
    """The error names the tables and columns to describe, and the lines to remove."""
    descriptions.check(list(TABLES.values()))


def test_a_line_is_a_sentence_that_says_when_the_value_is_null() -> None:
    """A column that can be NULL says when; one that cannot does not mention it."""
    lines = {f"{table.name}.{column.name}": column for table, column in COLUMNS}
    assert [name for name, column in lines.items() if not str(column.description).endswith(".")] == []
    assert [name for name, column in lines.items() if len(str(column.description)) > 115] == []
    assert [
        name
        for name, column in lines.items()
        if ("NULL" in str(column.description)) != column.is_nullable
        and name.partition(".")[0] not in VIEWS  # every column of a view may be NULL, by its type
        and not name.startswith("pipeline.removed_")  # made by `create table as`, which loses NOT NULL
    ] == []


def test_a_missing_line_is_named(warehouse: Warehouse) -> None:
    """A new column without a line, and a line without a column, are named in the error."""
    warehouse.connection.execute("alter table security_events add column mood varchar")
    warehouse.connection.execute("alter table security_events drop column status_code")
    with pytest.raises(
        WarehouseError,
        match=r"add a line for `security_events.mood`, remove .* `security_events.status_code`",
    ):
        descriptions.check(descriptions.tables(warehouse.connection))


def test_the_readme_shows_the_lines() -> None:
    """`python -m pipelines.warehouse.dictionary` was run after the last change."""
    assert (sqlfiles.folder() / "README.md").read_text(encoding="utf-8") == dictionary.markdown()


def test_dagster_shows_the_lines() -> None:
    """Each asset that is a table has its columns, with types and descriptions, as a column schema."""
    shown = {
        spec.key.to_user_string(): spec.metadata["dagster/column_schema"]
        for spec in defs.resolve_all_asset_specs()
        if "dagster/column_schema" in spec.metadata
    }
    assert {"request_analytics", "usage_hourly", "task_model_scores", "compliance_logs"} <= shown.keys()
    for name, schema in shown.items():
        assert [(column.name, column.type, column.description) for column in schema.columns] == [
            (column.name, column.kind, column.description) for column in TABLES[name].columns
        ]


def test_the_published_warehouse_shows_the_lines(
    warehouse: Warehouse, query: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Comments reach the published file, and survive the copy that leaves deleted bytes behind."""
    descriptions.comment(warehouse.connection)
    warehouse.recreate()
    publishing.publish_warehouse(warehouse)
    found = query(
        "select if(schema_name = 'main', '', schema_name || '.') || table_name, column_name, comment"
        " from duckdb_columns() where not internal order by all"
    )
    assert found == sorted((table.name, column.name, column.description) for table, column in COLUMNS)
    relations = (
        "select table_name, comment from duckdb_tables() where schema_name = 'main' union all"
        " select view_name, comment from duckdb_views() where not internal and schema_name = 'main'"
    )
    assert dict(query(relations)) == {
        name: table.description for name, table in TABLES.items() if "." not in name
    }


def test_a_changed_line_replaces_the_comment(warehouse: Warehouse) -> None:
    """An upgrade brings its lines into a database that has others; the same lines again write nothing."""
    warehouse.connection.execute("comment on column feedback.value is 'an earlier release'")
    descriptions.comment(warehouse.connection)
    (feedback,) = (item for item in descriptions.tables(warehouse.connection) if item.name == "feedback")
    assert all(column.comment == column.description for column in feedback.columns)
