"""`GET /v1/budgets` and `GET /v1/usage`: the caller's own, exact, and nobody else's."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from pipelines import flow
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.limits.counters import Subjects
from router.limits.limits import Limits
from router.limits.periods import to_pico
from tests.router.server.test_auth import BODY, HERE, bearer, call, key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.router.server.test_auth import OpenRouter

PRICED = {"prices": [{"start": "2020-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
BUDGETS = (
    "budgets: [{id: org, scope: organization, subject: '*', usd: 5, period: month, mode: hard},"
    " {id: ada, scope: user, subject: ada, usd: 1, period: day, mode: soft}]"
)


@pytest.mark.smoke
def test_budgets_are_the_callers_and_live(open_router: OpenRouter, tmp_path: Path) -> None:
    """Limit, spent, reserved and remaining add up, and the period's end is told."""
    (tmp_path / "limits.yaml").write_text(BUDGETS)
    router, _ = open_router({"id": "small", **PRICED})
    _, token = key(tmp_path, "route", "budgets", organization_id="acme", user_id="ada")
    spent = call(router, headers=bearer(token), json={**BODY, "max_tokens": 100})
    assert spent.status_code == 200, spent.text
    found = {
        item["id"]: item for item in call(router, "GET", "/v1/budgets", headers=bearer(token)).json()["data"]
    }
    assert found.keys() == {"org", "ada"}
    for item in found.values():
        assert Decimal(item["spent_usd"]) == Decimal("0.002")  # 1000 tokens in, 100 out
        assert Decimal(item["reserved_usd"]) == 0
        assert Decimal(item["remaining_usd"]) == Decimal(item["limit_usd"]) - Decimal(item["spent_usd"])
    assert found["org"]["mode"] == "hard"
    assert found["org"]["period_end"] >= found["ada"]["period_end"]
    other = call(router, "GET", "/v1/budgets", peer=HERE, headers={"openai-organization": "globex"})
    assert other.status_code == 401  # a key exists, so callers need one


def test_a_request_in_flight_is_reserved(tmp_path: Path) -> None:
    """Its worst case is reserved until its cost is known."""
    (tmp_path / "limits.yaml").write_text(BUDGETS)
    limits = Limits.open(Settings.load({}, home=tmp_path))
    acme = Subjects(organization="acme")

    async def work() -> list[tuple[str, str]]:
        seen = []
        admission = await limits.admit(acme)
        assert await limits.reserve(admission, "one", to_pico(Decimal(2)))
        for settle in (False, True):
            if settle:
                await limits.settle(admission, to_pico(Decimal("0.5")))
            (balance,) = await limits.balances(acme)
            facts = balance.facts()
            seen.append((f"{facts['spent_usd'].normalize():f}", f"{facts['reserved_usd'].normalize():f}"))
        return seen

    assert asyncio.run(work()) == [("0", "2"), ("0.5", "0")]


def test_usage_is_the_organisations_own(open_router: OpenRouter, tmp_path: Path) -> None:
    """By day, model, task and user, from the file that the pipelines publish; added up as asked."""
    router, _ = open_router({"id": "small", **PRICED})
    tokens = {name: key(tmp_path, "route", "usage", organization_id=name)[1] for name in ("acme", "globex")}

    def usage(name: str, query: str = "") -> dict[str, Any]:
        answer = call(router, "GET", f"/v1/usage{query}", headers=bearer(tokens[name]))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    assert (usage("acme")["data"], usage("acme")["savings"]) == ([], None)
    for user in ("ada", "ada", "bob"):
        call(router, headers=bearer(tokens["acme"]), json={**BODY, "user": user})
    router.sink.close()  # seals
    with Warehouse(Settings.load({}, home=tmp_path)) as warehouse:
        flow.catch_up(warehouse)
    by_user = usage("acme", "?by=user")["data"]
    assert [(row["user"], row["requests"], Decimal(row["cost_usd"])) for row in by_user] == [
        ("ada", 2, Decimal("0.004")),
        ("bob", 1, Decimal("0.002")),
    ]
    (total,) = usage("acme", "?by=model")["data"]
    assert (total["model"], total["requests"], total["tokens_input"]) == ("small", 3, 3000)
    assert len(usage("acme")["data"]) == 2
    assert usage("acme", "?to=2020-01-01")["data"] == []
    assert usage("globex")["data"] == []


def test_a_session_sees_its_own_use_at_once(open_router: OpenRouter, tmp_path: Path) -> None:
    """Cost, tokens, models and cache share of the key's own session, without a refresh."""
    router, _ = open_router({"id": "small", **PRICED})
    _, token = key(tmp_path, "route", organization_id="acme")
    path, named = "/v1/sessions/agent/7/usage", {**bearer(token), "x-session-id": "agent/7"}
    assert call(router, "GET", path, headers=bearer(token)).status_code == 404
    for number in (1, 2):
        assert call(router, headers=named).status_code == 200
        found = call(router, "GET", path, headers=bearer(token)).json()
        assert (found["session_id"], found["requests"]) == ("agent/7", number)
        assert Decimal(found["cost_usd"]) == number * Decimal("0.002")
        assert (found["tokens_input"], found["requests_without_cost"]) == (1000 * number, 0)
        assert [item["model"] for item in found["models"]] == ["small"]


def test_a_foreign_session_is_an_unknown_one(open_router: OpenRouter, tmp_path: Path) -> None:
    """Another key, another organisation and a claimed one get the answer of an id that was never used."""
    router, _ = open_router({"id": "small", **PRICED})
    _, owner = key(tmp_path, "route", organization_id="acme")
    call(router, headers={**bearer(owner), "x-session-id": "s"})
    strangers = [
        bearer(key(tmp_path, "route", organization_id="acme")[1]),
        bearer(key(tmp_path, "usage", organization_id="globex")[1]),
        {**bearer(key(tmp_path, "usage")[1]), "openai-organization": "acme"},
        bearer(key(tmp_path, "route", "admin")[1]),
    ]
    for headers in strangers:
        foreign = call(router, "GET", "/v1/sessions/s/usage", headers=headers)
        unknown = call(router, "GET", "/v1/sessions/t/usage", headers=headers)
        assert (foreign.status_code, unknown.status_code) == (404, 404)
        assert foreign.text.replace("`s`", "`t`") == unknown.text
    _, other_scope = key(tmp_path, "report", organization_id="acme")
    assert call(router, "GET", "/v1/sessions/s/usage", headers=bearer(other_scope)).status_code == 403


@pytest.mark.parametrize("query", ["?by=colour", "?from=yesterday"])
def test_a_wrong_question_is_refused(open_router: OpenRouter, query: str) -> None:
    """With the member that is wrong."""
    router, _ = open_router("small")
    answer = call(router, "GET", f"/v1/usage{query}", peer=HERE)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in ("by", "from")


def test_an_erased_person_leaves_the_published_usage(open_router: OpenRouter, tmp_path: Path) -> None:
    """No byte of their id stays in the files."""
    router, _ = open_router("small")
    call(router, peer=HERE, json={**BODY, "user": "ada-lovelace"})
    router.close()
    settings = Settings.load({}, home=tmp_path)
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
    files = list((tmp_path / "usage").rglob("*.json"))
    assert any(b"ada-lovelace" in path.read_bytes() for path in files)
    flow.erase(settings, "ada-lovelace")
    assert not any(b"ada-lovelace" in path.read_bytes() for path in (tmp_path / "usage").rglob("*.json"))
