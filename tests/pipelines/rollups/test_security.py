"""The mart `security_events_daily`: sums of the refusals, which outlive them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pipelines import flow
from pipelines.rollups.security import build_security_events_daily
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from tests.pipelines.helpers import make_event, seal_records

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MART = "select day, organization_id, kind, refusals, unknown_keys from security_events_daily order by all"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two days of refusals in the lake."""
    settings = Settings.load({}, home=tmp_path, security_event_retention_days=10)
    seal_records(
        settings,
        [
            make_event(NOON),
            make_event(NOON + timedelta(minutes=1), key_fingerprint="bb"),
            make_event(
                NOON, kind="limit", code="rate_limit_exceeded", organization_id="acme", key_fingerprint=None
            ),
            make_event(NOON + timedelta(days=5)),
        ],
    )
    return settings


@pytest.mark.smoke
def test_days_are_summed_once(settings: Settings) -> None:
    """A second refresh changes nothing."""
    with Warehouse(settings) as warehouse:
        flow.catch_up(warehouse)
        day, later = NOON.date(), (NOON + timedelta(days=5)).date()
        assert warehouse.rows(MART) == [
            (day, "acme", "limit", 3, 0),
            (day, None, "key", 6, 2),
            (later, None, "key", 3, 1),
        ]
        assert build_security_events_daily(warehouse) == 0


def test_the_days_outlive_the_events_and_a_rebuild(settings: Settings) -> None:
    """SECURITY_EVENT_RETENTION_DAYS drops the rows. The mart keeps them, also from the lake alone."""
    with Warehouse(settings) as warehouse:
        flow.catch_up(warehouse)
        before = warehouse.rows(MART)
        result = flow.retain(warehouse, now=NOON + timedelta(days=12))
        assert result.rows["security_events"] == 3
        assert warehouse.count("security_events") == 1
        assert warehouse.rows(MART) == before
    settings.build_file.unlink()
    with Warehouse(settings) as warehouse:
        flow.catch_up(warehouse)
        assert warehouse.rows(MART) == before
