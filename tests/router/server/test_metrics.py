"""What operators see: metrics, health, decisions."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pipelines.refresh import refresh
from router import Router
from router.config import Settings
from router.keys.keys import ANYONE_HERE, Caller
from router.server import metrics
from router.server.metrics import Metrics
from router.server.observe import RecentDecisions
from router.server.process.group import _added
from tests.factories import request_record, write_catalog
from tests.router.scores.test_scores import row, snapshot
from tests.router.server.test_auth import BODY, HERE, bearer, call, key, requests_of
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.router.server.test_auth import OpenRouter

PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
LINE = re.compile(r'intellirouter_[a-z_]+(\{[a-z]+="[^"\\\n]*"(,[a-z]+="[^"\\\n]*")*\})? (-?[0-9.e+-]+|NaN)')
HEALTH: dict[str, Any] = {
    "status": "ok",
    "ready": True,
    "faults": [],
    "in_flight": 0,
    "workers": {"wanted": 1, "running": 1},
    "journal": {"backlog_bytes": 0, "unrecorded": 0, "unlogged": 0, "error": None},
    "breakers": {"ejected": {}, "breakers": {}},
    "exploration": {"usd_today": {}},
    "models": {"eligible": 1},
    "scores": {"age_s": None},
    "warehouse": {"age_s": None},
    "limits": {"unchecked": 0},
    "keys": {"active": 0},
}


@pytest.fixture
def url(tmp_path: Path, fake_url: str) -> Iterator[str]:
    """A running shim over the fake provider."""
    write_catalog(tmp_path, [{"id": "small", **PRICED}, {"id": "down"}, "large"], base_url=fake_url)
    with serving(Router.open(home=tmp_path, recent_decisions=3)) as url:
        yield url


def complete(url: str, **body: Any) -> httpx.Response:
    """A chat completion."""
    headers = body.pop("headers", {})
    return httpx.post(f"{url}/v1/chat/completions", json={**BODY, **body}, headers=headers)


def scraped(url: str) -> dict[str, str]:
    """Series to value; every line is well-formed, and no series comes twice."""
    response = httpx.get(f"{url}/metrics")
    assert response.headers["content-type"] == metrics.CONTENT_TYPE
    return parsed(response.text)


def parsed(text: str) -> dict[str, str]:
    """The samples of a text in Prometheus' format."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    samples = dict(line.rsplit(" ", 1) for line in lines)
    assert len(samples) == len(lines)
    return samples


@pytest.mark.smoke
def test_requests_tokens_and_cost_are_counted(url: str) -> None:
    """By model, provider and outcome; money to the last decimal, and what has no known cost beside it."""
    for model in ("small", "small", "down", "large"):
        complete(url, model=model)
    samples = scraped(url)
    served = 'model="small",provider="fake"'
    assert samples[f'intellirouter_requests_total{{{served},outcome="success"}}'] == "2"
    assert samples['intellirouter_requests_total{model="down",provider="fake",outcome="overloaded"}'] == "1"
    assert samples[f'intellirouter_tokens_total{{{served},kind="input"}}'] == "2000"
    assert Decimal(samples[f"intellirouter_cost_usd_total{{{served}}}"]) == Decimal("0.004")
    unpriced = 'intellirouter_requests_without_cost_total{model="large",provider="fake"}'
    assert samples[unpriced] == "1"
    assert samples[f"intellirouter_request_duration_seconds_count{{{served}}}"] == "2"
    assert samples[f'intellirouter_request_duration_seconds_bucket{{{served},le="+Inf"}}'] == "2"
    assert samples['intellirouter_errors_total{code="provider_error"}'] == "1"
    assert int(samples["intellirouter_journal_backlog_bytes"]) >= 0
    assert "intellirouter_snapshot_age_seconds" not in samples  # there is none: not 0


def test_no_client_names_a_series(url: str) -> None:
    """Whatever clients send, in any member, header or path, the series stay the same."""
    complete(url, model="small")
    complete(url, model="nope")
    httpx.get(f"{url}/nowhere")
    before = scraped(url).keys()
    for number in range(20):
        odd = f"odd-{number}"
        complete(url, model=odd)
        complete(
            url, model="small", user=odd, headers={"x-session-id": odd, "x-intellirouter-tags": f"a={odd}"}
        )
        complete(url, headers={"x-intellirouter-task": odd})
        complete(url, headers={"x-intellirouter-policy": odd})
        complete(url, provider={"only": [odd]})
        httpx.get(f"{url}/{odd}")
        httpx.get(f"{url}/v1/decisions/{odd}")
        httpx.get(f"{url}/livez", headers={"host": odd, "x-api-key": f"ir_{odd}"})
    assert {series for series in scraped(url) if "odd" in series} == set()
    assert {series.split("{")[0] for series in scraped(url).keys() - before} <= {"intellirouter_errors_total"}


def test_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of one catalog after another add up to a bound; what is past it is counted together."""
    monkeypatch.setattr(metrics, "MAX_SERIES", 3)
    counted = Metrics()
    for number in range(10):
        counted.observe(request_record(model_selected=f"m{number}", provider="p", error_type=None))
    samples = parsed(counted.text(HEALTH))
    others = 'model="other",provider="other"'
    assert samples[f'intellirouter_requests_total{{{others},outcome="success"}}'] == "7"
    assert len([series for series in samples if series.startswith("intellirouter_requests_total")]) == 4


def test_odd_names_of_a_catalog_are_escaped() -> None:
    """Quotes, backslashes and line ends cannot end a label."""
    counted = Metrics()
    counted.observe(request_record(model_selected='a"b\\c\nd', provider="p"))
    assert r'model="a\"b\\c\nd",provider="p"' in counted.text(HEALTH)


def test_a_histogram_counts_up_to_each_bound() -> None:
    """Buckets are cumulative, and bounds belong to their bucket."""
    counted = Metrics()
    for latency_ms in (50.0, 51.0, 1e9):
        counted.observe(request_record(provider="fake", latency_ms=latency_ms))
    samples = parsed(counted.text(HEALTH))
    name = 'intellirouter_request_duration_seconds_bucket{model="small",provider="fake",le="%s"}'
    assert [samples[name % bound] for bound in ("0.05", "0.1", "120.0", "+Inf")] == ["1", "2", "2", "3"]


def test_an_unknown_error_is_other() -> None:
    """An exception's name is no label."""
    counted = Metrics()
    counted.observe(
        request_record(success=False, error_type="WeirdError", provider=None, model_selected=None)
    )
    assert 'model="none",provider="none",outcome="other"} 1' in counted.text(HEALTH)


def test_operators_see_what_exploration_costs_today(tmp_path: Path, fake_url: str) -> None:
    """Health and a gauge show the dollars of each policy with a budget, which are within it."""
    write_catalog(tmp_path, ["small", "large"], base_url=fake_url)
    (tmp_path / "policies.yaml").write_text("policies: [{id: mine, exploration_usd_per_day: 0.004}]")
    found = snapshot(
        *(
            replace(row(task, model, 0.8), cost_usd_mean=cost, quality_variance=0.01)
            for task in ("*", "other")
            for model, cost in (("small", 0.001), ("large", 0.003))
        )
    )
    settings = Settings.load({}, home=tmp_path)
    settings.scores_file.parent.mkdir()
    settings.scores_file.write_bytes(found.to_json())
    with serving(Router.open(home=tmp_path)) as url:
        assert httpx.get(f"{url}/health").json()["exploration"] == {"usd_today": {}}
        for _ in range(20):
            complete(url, model="auto", headers={"x-intellirouter-policy": "mine"})
        spent = httpx.get(f"{url}/health").json()["exploration"]["usd_today"]["mine"]
        assert 0 < spent <= 0.004
        assert (
            f'intellirouter_exploration_usd_today{{policy="mine"}} {spent}'
            in httpx.get(f"{url}/metrics").text
        )


def test_operators_see_budgets_of_keys_and_organisations(tmp_path: Path, fake_url: str) -> None:
    """Gauges show spent and allowed dollars of each budget that names its subject, and none of a person."""
    write_catalog(tmp_path, [{"id": "small", **PRICED}], base_url=fake_url)
    (tmp_path / "limits.yaml").write_text(
        "budgets:\n"
        "  - {id: acme, scope: organization, subject: acme, usd: 900, period: month, mode: soft}\n"
        "  - {id: ada, scope: user, subject: ada, usd: 5, period: day, mode: hard}\n"
    )
    with serving(Router.open(home=tmp_path)) as url:
        cost = complete(url, model="small", headers={"openai-organization": "acme"}).headers[
            "x-intellirouter-cost-usd"
        ]
        text = httpx.get(f"{url}/metrics").text
    assert f'intellirouter_budget_charged_usd{{budget="acme"}} {float(cost)}' in text
    assert 'intellirouter_budget_limit_usd{budget="acme"} 900.0' in text
    assert 'budget="ada"' not in text


def test_workers_of_any_release_add_up_what_they_explored() -> None:
    """Each worker counts its own dollars, and one of an older release reports none."""
    parts: list[dict[str, Any]] = [{"usd_today": {"a": 1.0, "b": 2.0}}, {}, {"usd_today": {"a": 0.5}}]
    assert _added(parts) == {"a": 1.5, "b": 2.0}


def test_health_has_the_shims_own_state(url: str) -> None:
    """Keys, requests in flight and the warehouse stand beside the router's report."""
    health = httpx.get(f"{url}/health").json()
    assert health["keys"] == {"active": 0, "is_loopback_open": True, "error": None}
    assert health["in_flight"] == 0
    assert health["warehouse"] == {"age_s": None, "published_at": None, "query_ms": None, "error": None}
    assert [health[name] for name in ("database", "connection", "query_performance_ms")] == [None] * 3


def test_health_tells_how_fast_the_warehouse_answered(open_router: OpenRouter, tmp_path: Path) -> None:
    """The pipelines measure it when they publish; the router only reads what they wrote."""
    router, _ = open_router("small")
    call(router, peer=HERE)
    router.sink.close()  # seals
    assert refresh(Settings.load({}, home=tmp_path)).success
    warehouse = call(router, "GET", "/health", peer=HERE).json()["warehouse"]
    assert 0 < warehouse["query_ms"] < 60_000
    health = call(router, "GET", "/health", peer=HERE).json()
    assert (health["database"], health["connection"]) == ("healthy", "ok")
    assert health["query_performance_ms"] == warehouse["query_ms"]
    published_at = datetime.fromisoformat(warehouse["published_at"])
    assert abs(time.time() - published_at.timestamp()) < 600
    assert warehouse["age_s"] >= 0
    (tmp_path / "warehouse" / "published.json").write_text("{")
    damaged = call(router, "GET", "/health", peer=HERE).json()["warehouse"]
    assert (damaged["query_ms"], damaged["age_s"] >= 0) == (None, True)


def test_a_broken_key_file_degrades_health(open_router: OpenRouter, tmp_path: Path) -> None:
    """Older keys in force are something to know."""
    router, _ = open_router("small", scores_refresh_interval_s=0.001)
    _, token = key(tmp_path, "report")
    from router.server.app import create_app

    app = create_app(router)
    (tmp_path / "keys.json").write_text("{")
    time.sleep(0.01)
    report = app.shim.health()
    assert (report["status"], report["keys"]["active"]) == ("degraded", 1)
    assert "not usable" in report["keys"]["error"]
    assert token not in str(report)


def test_readiness_follows_the_journal(open_router: OpenRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be recorded no request is welcome, though the process lives."""
    from router.errors import JournalError

    router, _ = open_router("small")
    assert call(router, "GET", "/readyz").json() == {"status": "ready"}

    def full() -> None:
        raise JournalError("the record cannot be written to the journal: no space left on device")

    monkeypatch.setattr(router.sink, "check_writable", full)
    refused = call(router, "GET", "/readyz")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "record_not_written")
    assert call(router, "GET", "/livez").status_code == 200


def test_route_decides_and_calls_nobody(open_router: OpenRouter) -> None:
    """The decision with its candidates; nothing is recorded, and a wrong request is refused as ever."""
    router, records = open_router("small", "large")
    answer = call(router, path="/v1/route", peer=HERE, json={**BODY, "model": "large"}).json()
    assert (answer["model"], answer["provider"], answer["strategy"]) == ("large", "fake", "pinned")
    assert {candidate["model"] for candidate in answer["candidates"]} == {"small", "large"}
    assert call(router, path="/v1/route", peer=HERE, json={**BODY, "model": "larg"}).status_code == 404
    assert records == []


def test_a_recent_decision_is_explained(url: str) -> None:
    """Why, what was excluded, what would have changed it: for the latest requests."""
    ids = [complete(url, model="small").headers["x-request-id"] for _ in range(4)]
    shown = httpx.get(f"{url}/v1/decisions/{ids[-1].upper()}").json()
    assert (shown["id"], shown["model_selected"], shown["reproduced"]) == (ids[-1], "small", "small")
    assert shown["reasons"]
    assert shown["cost_usd"] == "0.002000000000"
    for forgotten in (ids[0], "nonsense"):
        answer = httpx.get(f"{url}/v1/decisions/{forgotten}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "decision_not_found")
        assert "intellirouter explain" in answer.json()["error"]["message"]


def test_decisions_are_their_callers_to_see(open_router: OpenRouter, tmp_path: Path) -> None:
    """A key sees its own requests; with `report` those of its organisation; without one bound, all."""
    router, records = open_router("small")
    _, own = key(tmp_path, organization_id="acme")
    call(router, headers=bearer(own))
    record = requests_of(records)[0]
    decisions = RecentDecisions(10)
    decisions.keep(record)

    def sees(**caller: Any) -> bool:
        who = Caller(**{"key_id": "key_000000000000", "scopes": frozenset({"route"}), **caller})
        return decisions.find(record.id, who) is record

    report = frozenset({"report"})
    assert sees(key_id=record.api_key_id)
    assert not sees()
    assert not sees(organization_id="acme")
    assert sees(scopes=report)
    assert sees(scopes=report, organization_id="acme")
    assert not sees(scopes=report, organization_id="rival")
    assert not sees(scopes=report, organization_id="acme", user_id="bob")
    assert decisions.find(record.id, ANYONE_HERE) is record
