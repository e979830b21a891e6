"""The warehouse's tables are the record contracts."""

from __future__ import annotations

import pytest

from pipelines.warehouse import sqlfiles
from pipelines.warehouse.columns import contract_columns
from pipelines.warehouse.linked_views import rows_table
from pipelines.warehouse.warehouse import Warehouse
from router.records import DATASETS

ADDED = {
    "request_analytics": [("segment", "VARCHAR", False)],
    "request_logs": [("segment", "VARCHAR", False), ("id", "VARCHAR", True)],
    "security_events": [("segment", "VARCHAR", False)],
    "feedback": [("request_hour", "TIMESTAMP WITH TIME ZONE", True), ("segment", "VARCHAR", False)],
}


def _plain(kind: str) -> str:
    return kind.replace('"', "")


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_a_table_has_the_contracts_columns(warehouse: Warehouse, dataset: str) -> None:
    """Names, order, types and NOT NULL of a table are derived from its record, plus our lineage."""
    found = warehouse.rows(
        "select column_name, data_type, is_nullable from duckdb_columns()"
        " where schema_name = 'main' and table_name = $table order by column_index",
        table=rows_table(dataset),
    )
    lineage = [column for column in found if column in ADDED[dataset]]
    assert lineage == ADDED[dataset]
    assert [
        (name, _plain(kind), nullable)
        for name, kind, nullable in found
        if (name, kind, nullable) not in lineage
    ] == [(name, _plain(kind), nullable) for name, kind, nullable in contract_columns(DATASETS[dataset])]


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_a_view_has_the_columns_of_its_table(warehouse: Warehouse, dataset: str) -> None:
    """People query the view; the table below it has the same columns, in the same order."""
    names = [
        warehouse.rows(
            "select column_name, data_type from duckdb_columns()"
            " where schema_name = 'main' and table_name = $table order by column_index",
            table=table,
        )
        for table in (dataset, rows_table(dataset))
    ]
    assert names[0] == names[1]


@pytest.mark.smoke
def test_migrations_run_once(warehouse: Warehouse) -> None:
    """Opening the database again applies nothing twice."""
    before = warehouse.rows("select * from pipeline.migrations")
    warehouse.close()
    assert warehouse.rows("select * from pipeline.migrations") == before
    assert len(before) == len(sqlfiles.names("migrations"))
