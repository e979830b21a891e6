"""The table of models says what can be used now, and when a row last changed."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pipelines import flow
from pipelines.warehouse.loading import load_all
from pipelines.warehouse.registry import load_model_registry
from pipelines.warehouse.warehouse import Warehouse, set_aside
from router.config import Settings
from router.health.breaker import Breaker, BreakerRules, is_ejection
from router.records import Candidate
from tests.factories import write_catalog
from tests.pipelines.helpers import NOW, make_record, seal_records

if TYPE_CHECKING:
    from pathlib import Path


REASON = "it is ejected after 5 failures in a row, the last `server_error`"


def _statuses(warehouse: Warehouse, **options: Any) -> dict[str, str]:
    load_all(warehouse)
    load_model_registry(warehouse, **options)
    return dict(warehouse.rows("select id, availability_status from models"))


def _decision(warehouse: Warehouse, minutes: float, **exclusions: str | None) -> None:
    """A request whose decision saw these models."""
    candidates = [
        Candidate(model=model, is_eligible=reason is None, exclusion=reason)
        for model, reason in exclusions.items()
    ]
    seal_records(warehouse.settings, [make_record(NOW + timedelta(minutes=minutes), candidates=candidates)])


@pytest.mark.parametrize(
    ("minutes", "exclusion", "expected"),
    [
        (0, REASON, "ejected"),
        (0, "it was ejected, and the request that tries it again is under way", "ejected"),
        (0, "the request's `ignore` lists it", "available"),
        (-10, REASON, "available"),
    ],
)
def test_the_status_follows_the_breaker(
    warehouse: Warehouse, minutes: float, exclusion: str, expected: str
) -> None:
    """A model that the last decision found ejected is `ejected`, as long as an ejection can last."""
    write_catalog(warehouse.settings.home)
    _decision(warehouse, minutes, small=None, large=exclusion)
    found = _statuses(warehouse, now=NOW + timedelta(seconds=20))
    assert found == {"small": "available", "large": expected}


def test_a_model_that_answers_again_is_available(warehouse: Warehouse) -> None:
    """The last decision counts, not an earlier one."""
    write_catalog(warehouse.settings.home)
    _decision(warehouse, 0, small=None, large=REASON)
    assert _statuses(warehouse, now=NOW + timedelta(minutes=1))["large"] == "ejected"
    _decision(warehouse, 0.5, small=None, large=None)
    assert _statuses(warehouse, now=NOW + timedelta(minutes=1))["large"] == "available"


def test_a_persons_word_stays(warehouse: Warehouse) -> None:
    """The catalog's `unavailable` is not replaced, its `degraded` is."""
    write_catalog(
        warehouse.settings.home,
        [
            {"id": "off", "availability_status": "unavailable"},
            {"id": "weak", "availability_status": "degraded"},
        ],
    )
    _decision(warehouse, 0, off=REASON, weak=REASON)
    assert _statuses(warehouse, now=NOW) == {"off": "unavailable", "weak": "ejected"}


def test_every_reason_of_a_breaker_is_known() -> None:
    """Failures, refused keys, rate limits, shared providers and probes: each reason is recognised."""
    reasons: set[str] = set()
    for error_type, retry_after_s in (
        ("server_error", None),
        ("authentication", None),
        ("rate_limited", 9.0),
    ):
        for models in (1, 3):
            now = [0.0]
            breaker = Breaker(
                _models(models), BreakerRules(max_ejected_share=1.0), clock=partial(now.__getitem__, 0)
            )
            for _ in range(12):
                for name in ("m0", "m1", "m2")[:models]:
                    breaker.record(name, success=False, error_type=error_type, retry_after_s=retry_after_s)
                reasons |= set(breaker.view().models.values())
            now[0] = 400.0
            breaker.view()
            breaker.begin("m0")
            reasons |= set(breaker.view().models.values())
    assert len(reasons) > 4
    assert [reason for reason in reasons if not is_ejection(reason)] == []


def _models(count: int) -> Any:
    from types import SimpleNamespace

    names = {"m0": "q", "m1": "p", "m2": "p"}
    return [
        SimpleNamespace(id=name, provider=provider, availability_status="available", attempt_timeout_s=None)
        for name, provider in [*list(names.items())[:count], ("other", "o")]
    ]


@pytest.mark.smoke
def test_last_updated_is_the_change_of_the_row(warehouse: Warehouse) -> None:
    """A row that stays keeps its moment; the row that changed has the moment of the refresh."""
    path: Path = write_catalog(warehouse.settings.home)
    _statuses(warehouse, now=NOW)
    first = dict(warehouse.rows("select id, last_updated from models"))
    path.touch()
    _statuses(warehouse, now=NOW + timedelta(hours=1))
    assert dict(warehouse.rows("select id, last_updated from models")) == first
    write_catalog(warehouse.settings.home, ["small", {"id": "large", "availability_status": "degraded"}])
    _statuses(warehouse, now=NOW + timedelta(hours=2))
    assert dict(warehouse.rows("select id, last_updated from models")) == {
        "small": first["small"],
        "large": NOW + timedelta(hours=2),
    }


def test_an_edited_price_keeps_the_row_that_records_name(warehouse: Warehouse) -> None:
    """Both rows are in the table under ids of their own, so that an old cost can be computed again."""
    for rate in ("2", "4", "4.0"):
        prices = [{"start": "2026-01-01", "input_usd_per_mtok": rate, "output_usd_per_mtok": "10"}]
        write_catalog(warehouse.settings.home, [{"id": "large", "prices": prices}])
        load_model_registry(warehouse, now=NOW)
    rows = warehouse.rows("select price_id, input_usd_per_mtok::int from model_prices order by 2")
    assert [rate for _, rate in rows] == [2, 4]
    assert len({name for name, _ in rows}) == 2


def test_a_record_of_an_earlier_release_finds_the_price_it_names(warehouse: Warehouse) -> None:
    """Its id names no content: it keeps the content that is first seen, whatever the catalog says later."""
    seal_records(warehouse.settings, [make_record(price_id="large@2026-01-01T00:00:00Z")])
    load_all(warehouse)
    for rate in ("2", "4"):
        prices = [{"start": "2026-01-01", "input_usd_per_mtok": rate, "output_usd_per_mtok": "10"}]
        write_catalog(warehouse.settings.home, [{"id": "large", "prices": prices}])
        load_model_registry(warehouse, now=NOW)
    assert warehouse.rows(
        "select input_usd_per_mtok::int from request_analytics join model_prices using (price_id)"
    ) == [(2,)]
    assert warehouse.value("select count(*) from model_prices") == 3


def test_a_rebuild_keeps_rows_that_left_the_catalog(settings: Settings) -> None:
    """Rows that were edited or removed come back from the history of the configuration, each as it was."""

    def table() -> list[Any]:
        with Warehouse(settings) as warehouse:
            flow.run_refresh(warehouse)
            return warehouse.rows("from model_prices order by all")

    for rate in (2, 4):
        rows = [{"start": "2026-01-01", "input_usd_per_mtok": rate, "output_usd_per_mtok": 10}]
        write_catalog(settings.home, [{"id": "large", "prices": rows}, "small"])
        before = table()
    write_catalog(settings.home, ["small"])
    before = table()
    assert len([row for row in before if row[1] == "large"]) == 2
    with Warehouse(settings):
        set_aside(settings.build_file)
    assert table() == before
