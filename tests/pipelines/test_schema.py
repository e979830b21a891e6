"""The warehouse's tables are the record contracts."""

from __future__ import annotations

import pytest

from pipelines.columns import contract_columns
from pipelines.warehouse import Warehouse
from router.records import DATASETS

ADDED = {
    "request_analytics": [("segment", "VARCHAR", False)],
    "request_logs": [("segment", "VARCHAR", False)],
    "feedback": [("request_hour", "TIMESTAMP WITH TIME ZONE", True), ("segment", "VARCHAR", False)],
}


def _plain(kind: str) -> str:
    return kind.replace('"', "")


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_a_table_has_the_contracts_columns(warehouse: Warehouse, dataset: str) -> None:
    """Names, order, types and NOT NULL of a table are derived from its record, plus our lineage."""
    found = warehouse.rows(
        "select column_name, data_type, is_nullable from duckdb_columns()"
        " where schema_name = 'main' and table_name = $dataset order by column_index",
        dataset=dataset,
    )
    expected = [*contract_columns(DATASETS[dataset]), *ADDED[dataset]]
    assert [(name, _plain(kind), nullable) for name, kind, nullable in found] == [
        (name, _plain(kind), nullable) for name, kind, nullable in expected
    ]


def test_migrations_run_once(warehouse: Warehouse) -> None:
    """Opening the database again applies nothing twice."""
    before = warehouse.rows("select * from pipeline.migrations")
    warehouse.close()
    assert warehouse.rows("select * from pipeline.migrations") == before
    assert len(before) == 7
