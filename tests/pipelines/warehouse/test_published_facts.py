"""The facts beside the published warehouse, by which routers see that it is as it was published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.readiness.probes import warehouse_faults
from tests.servers import until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with a published warehouse."""
    settings = Settings.load({}, home=tmp_path, scores_refresh_interval_s=0.001)
    with Warehouse(settings) as warehouse:
        publish_warehouse(warehouse)
    return settings


def test_a_published_warehouse_has_no_fault(settings: Settings) -> None:
    """The router agrees with the pipelines about the file."""
    assert list(warehouse_faults(settings)) == []


@pytest.mark.parametrize("damage", ["truncated", "longer", "header"])
def test_a_damaged_warehouse_is_seen_without_opening_it(settings: Settings, damage: str) -> None:
    """Its size and its headers are those that were published, or it is named."""
    file = settings.warehouse_file
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "longer":
        content += b"\0" * 4096
    else:
        content[5000] ^= 1
    file.write_bytes(content)
    faults = until(lambda: list(warehouse_faults(settings)))  # the file is no longer new after a moment
    assert "run `intellirouter refresh`" in faults[0].reason


def test_a_run_that_publishes_nothing_is_noted(settings: Settings) -> None:
    """Scores are current while the pipelines run, though nothing changes."""
    first = json.loads(settings.warehouse_facts_file.read_bytes())
    with Warehouse(settings) as warehouse:
        assert publish_warehouse(warehouse) is None
    second = json.loads(settings.warehouse_facts_file.read_bytes())
    assert second["published_at"] == first["published_at"]
    assert second["checked_at"] > first["checked_at"]
