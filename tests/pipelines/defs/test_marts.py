"""A daily mart is an asset, has a retention period and is published."""

from __future__ import annotations

import dagster as dg
import pytest

from pipelines.definitions import defs
from pipelines.retention.retention import ROLLUP_MOMENTS
from pipelines.warehouse.archive import DAILY_MARTS, OWN_PERIOD


@pytest.mark.smoke
@pytest.mark.parametrize("mart", [*DAILY_MARTS, *OWN_PERIOD])
def test_a_mart_has_its_place(mart: str) -> None:
    """The graph builds each daily mart before it publishes the warehouse, and retention bounds it by day."""
    graph = defs.resolve_asset_graph()
    key = dg.AssetKey(mart)
    assert graph.get(key).is_materializable
    assert key in graph.get(dg.AssetKey("published_warehouse")).parent_keys
    assert ROLLUP_MOMENTS[mart] == "day"


def test_the_refresh_publishes_usage() -> None:
    """`GET /v1/usage` reads a file that a run of the job writes."""
    assert defs.resolve_asset_graph().get(dg.AssetKey("published_usage")).is_materializable
