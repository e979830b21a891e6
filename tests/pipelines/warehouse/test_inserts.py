"""Rows that Python writes into tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.warehouse import sqlfiles

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse

START = datetime(2026, 11, 1, tzinfo=UTC)
EXPERIMENT: dict[str, Any] = {
    "id": "a",
    "unit": "user",
    "mode": "live",
    "start_at": START,
    "stop_at": None,
    "environments": ["production", "staging"],
    "organizations": None,
    "task_types": [],
    "variants": '[{"name": "control"}]',
    "metrics": "[]",
}


def test_rows_of_lists_and_unknowns_come_back_as_they_went_in(warehouse: Warehouse) -> None:
    """Lists, empty ones, NULL in the first row or in all, and JSON keep their values and order."""
    rows = [EXPERIMENT, EXPERIMENT | {"id": "b", "environments": None, "task_types": ["math"]}]
    warehouse.insert("routing_experiments", rows)
    found = warehouse.run(sqlfiles.load("tables/rows", table="routing_experiments")).fetchall()
    assert found == [tuple(row.values()) for row in rows]
    warehouse.insert("routing_experiments", [])
    assert warehouse.count("routing_experiments") == 2
