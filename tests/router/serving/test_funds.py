"""Limits and budgets on the main path: refused before a call, charged after it, recorded either way."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from router import BudgetExceededError, ProviderError, RateLimitedError, Request, UnknownModelError
from router.request.preferences import Preferences
from tests.recording import only_request
from tests.shims import serving

MESSAGES = [{"role": "user", "content": "2 + 2?"}]
CHEAP = {
    "id": "small",
    "prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}],
}
DEAR = {
    "id": "large",
    "quality_scores": {"*": 0.99},
    "prices": [{"start": "2026-01-01", "input_usd_per_mtok": "100", "output_usd_per_mtok": "1000"}],
}
BOUNDED = {"max_tokens": 100}


def budget(home: Path, usd: str, **changes: str) -> None:
    """A limits.yaml with one user budget."""
    entry = {"id": "b", "scope": "user", "subject": "*", "usd": usd, "period": "month", "mode": "hard"}
    listed = ", ".join(f"{key}: '{value}'" for key, value in {**entry, **changes}.items())
    (home / "limits.yaml").write_text(f"budgets: [{{{listed}}}]")


@pytest.mark.smoke
def test_a_model_that_may_cost_too_much_is_excluded(open_router: Any, tmp_path: Path) -> None:
    """The budget leaves room for the cheap model's worst case only: the record says why not the other."""
    budget(tmp_path, "0.05")
    router, records = open_router(CHEAP, DEAR)
    for _ in range(5):
        router.complete_sync(Request(messages=MESSAGES, user_id="u", parameters=BOUNDED))
    assert {record.model_selected for record in records} == {"small"}
    excluded = next(item for item in records[0].candidates if not item.is_eligible)
    assert excluded.exclusion.startswith("it may cost $0.10")
    assert excluded.exclusion.endswith("and budget `b` has $0.05 left")


@pytest.mark.smoke
def test_the_worst_case_is_reserved_and_the_cost_is_charged(open_router: Any, tmp_path: Path) -> None:
    """1,000 tokens in and 100 out at 1 and 10 dollars a million cost 0.002, whatever was reserved."""
    budget(tmp_path, "0.0045")
    router, records = open_router(CHEAP)
    request = Request(messages=MESSAGES, user_id="u", parameters=BOUNDED)
    router.complete_sync(request)
    router.complete_sync(request)
    with pytest.raises(BudgetExceededError, match=r"budget `b` of user `u` has \$0.0005 left of \$0.0045"):
        router.complete_sync(request)
    assert [record.cost_usd for record in records] == [Decimal("0.002"), Decimal("0.002"), None]
    # 6 bytes of text and 16 for the message's frame at 1, 100 tokens of output at 10 dollars a million
    assert records[0].budget_reserved_usd == Decimal("0.001022")
    assert (records[2].success, records[2].error_type) == (False, "budget_exceeded")


def test_another_users_budget_is_its_own(open_router: Any, tmp_path: Path) -> None:
    """`*` is each user by itself."""
    budget(tmp_path, "0.0021")
    router, _ = open_router(CHEAP)
    router.complete_sync(Request(messages=MESSAGES, user_id="u", parameters=BOUNDED))
    router.complete_sync(Request(messages=MESSAGES, user_id="v", parameters=BOUNDED))
    with pytest.raises(BudgetExceededError):
        router.complete_sync(Request(messages=MESSAGES, user_id="u", parameters=BOUNDED))


def test_a_refused_call_gives_its_reservation_back(open_router: Any, tmp_path: Path) -> None:
    """A provider that answers with an error has charged nothing."""
    budget(tmp_path, "0.0011")
    router, _ = open_router({**CHEAP, "id": "picky"}, {**CHEAP, "id": "small"})
    for _ in range(3):
        with pytest.raises(ProviderError):
            router.complete_sync(Request(messages=MESSAGES, user_id="u", model="picky", parameters=BOUNDED))
    router.complete_sync(Request(messages=MESSAGES, user_id="u", model="small", parameters=BOUNDED))


def test_a_call_of_unknown_outcome_stays_charged(open_router: Any, tmp_path: Path) -> None:
    """After a timeout the provider may have done the work: its worst case is not given back."""
    budget(tmp_path, "0.0015")
    router, _ = open_router({**CHEAP, "id": "slow"}, CHEAP, request_timeout_s=0.2)
    with pytest.raises(ProviderError, match="no answer of model"):
        router.complete_sync(Request(messages=MESSAGES, user_id="u", model="slow", parameters=BOUNDED))
    with pytest.raises(BudgetExceededError):
        router.complete_sync(Request(messages=MESSAGES, user_id="u", model="small", parameters=BOUNDED))


def test_a_fallback_that_does_not_fit_is_passed_over(open_router: Any, tmp_path: Path) -> None:
    """The dear model is not tried after the cheap one failed."""
    budget(tmp_path, "0.05")
    router, records = open_router({**CHEAP, "id": "down"}, DEAR, max_retries=0)
    with pytest.raises(ProviderError):
        router.complete_sync(Request(messages=MESSAGES, user_id="u", parameters=BOUNDED))
    assert [attempt.model for attempt in only_request(records).attempts] == ["down"]


def test_a_price_nobody_knows_does_not_fit_a_hard_budget(open_router: Any, tmp_path: Path) -> None:
    """What may cost anything cannot be admitted; it is named."""
    budget(tmp_path, "5")
    router, _ = open_router({"id": "small"})
    with pytest.raises(
        BudgetExceededError, match=r"the model's price is not known; give its `prices` in catalog\.yaml"
    ):
        router.complete_sync(Request(messages=MESSAGES, user_id="u", parameters=BOUNDED))


@pytest.mark.parametrize("way", ["callable", "http"])
def test_a_refusal_names_the_bound_that_is_missing(open_router: Any, tmp_path: Path, way: str) -> None:
    """A known price is not blamed: without a bound on the output the message asks for one."""
    budget(tmp_path, "5")
    router, records = open_router(CHEAP)
    if way == "callable":
        with pytest.raises(BudgetExceededError) as caught:
            router.complete_sync(Request(messages=MESSAGES, user_id="u"))
        message = str(caught.value)
    else:
        with serving(router) as url:
            body = {"messages": MESSAGES, "user": "u"}
            answer = httpx.post(f"{url}/v1/chat/completions", json=body)
            bounded = httpx.post(f"{url}/v1/chat/completions", json={**body, **BOUNDED})
        message = answer.json()["error"]["message"]
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_exceeded")
        assert bounded.status_code == 200
    assert message.endswith(
        "has $5 left of $5 per month and is hard, and the most that the request can cost is not known: the"
        " model's output has no bound; give max_tokens, or max_output_tokens / context_window in catalog.yaml"
    )
    assert "price" not in message
    assert "price" not in (records[0].error_details or "")


def test_an_exclusion_names_the_bound_that_is_missing(open_router: Any, tmp_path: Path) -> None:
    """Beside a model that fits, the one without a bound is left out for that reason."""
    budget(tmp_path, "5")
    router, _ = open_router({**CHEAP, "max_output_tokens": 100}, {**CHEAP, "id": "large"})
    excluded = {
        item.model: item.exclusion
        for item in router.route(Request(messages=MESSAGES, user_id="u")).candidates
    }
    assert excluded == {
        "small": None,
        "large": "its output has no bound, and budget `b` is hard:"
        " give max_tokens, or max_output_tokens / context_window in catalog.yaml",
    }


def test_a_soft_budget_serves_and_says_so(open_router: Any, tmp_path: Path) -> None:
    """Over a soft budget the answer comes, and the record's reason tells."""
    budget(tmp_path, "0.001", mode="soft")
    router, records = open_router(CHEAP)
    for _ in range(2):
        router.complete_sync(Request(messages=MESSAGES, user_id="u", parameters=BOUNDED))
    assert "soft budget `b` is passed" in records[1].reason


def test_what_was_spent_is_spent_after_a_restart(open_router: Any, tmp_path: Path) -> None:
    """The lake and the journals tell a new router what the period's budget has paid."""
    budget(tmp_path, "0.003")
    request = Request(messages=MESSAGES, user_id="u", parameters=BOUNDED)
    router, _ = open_router(CHEAP)
    router.complete_sync(request)
    router.close()
    again, _ = open_router(CHEAP)
    with pytest.raises(BudgetExceededError, match=r"has \$0.001 left"):
        again.complete_sync(request)


def test_no_crowd_passes_a_budget(open_router: Any, tmp_path: Path) -> None:
    """A hundred at once on a budget for ten worst cases: at most ten are sent."""
    budget(tmp_path, "0.01022")
    router, records = open_router(CHEAP)
    request = Request(messages=MESSAGES, user_id="u", parameters=BOUNDED)

    async def crowd() -> list[Any]:
        found = await asyncio.gather(*(router.complete(request) for _ in range(100)), return_exceptions=True)
        await router.aclose_connections()
        return found

    outcomes = asyncio.run(crowd())
    refused = [item for item in outcomes if isinstance(item, BudgetExceededError)]
    served = [record for record in records if record.success]
    assert len(served) + len(refused) == 100
    assert 0 < len(served) <= 10
    assert sum(record.budget_reserved_usd for record in served) <= Decimal("0.01022")


def test_a_rate_limit_refuses_and_says_when_to_come_back(open_router: Any, tmp_path: Path) -> None:
    """Two a minute: the third is told whose limit it is, and is recorded."""
    (tmp_path / "limits.yaml").write_text("limits: [{scope: user, subject: '*', requests: 2, per: minute}]")
    router, records = open_router(CHEAP)
    request = Request(messages=MESSAGES, user_id="u")
    first = router.complete_sync(request)
    router.complete_sync(request)
    with pytest.raises(RateLimitedError, match="user `u`") as caught:
        router.complete_sync(request)
    assert first.limit_headers["x-ratelimit-remaining-requests"] == "1"
    assert caught.value.headers["x-ratelimit-limit-requests"] == "2"
    assert caught.value.retry_after_s is not None
    assert records[-1].error_type == "rate_limit_exceeded"


def test_a_decision_alone_sees_the_budget_and_takes_nothing(open_router: Any, tmp_path: Path) -> None:
    """`route` excludes what does not fit, as often as it is asked."""
    budget(tmp_path, "0.05")
    router, records = open_router(CHEAP, DEAR)
    request = Request(
        messages=MESSAGES, user_id="u", parameters=BOUNDED, preferences=Preferences(sort="price")
    )
    assert {router.route(request).model for _ in range(200)} == {"small"}
    assert records == []


def test_a_request_that_cannot_be_leaves_its_tokens_to_the_next(open_router: Any, tmp_path: Path) -> None:
    """An unknown model is the caller's mistake: the tokens it would have used are given back."""
    (tmp_path / "limits.yaml").write_text("limits: [{scope: user, subject: '*', tokens: 150, per: minute}]")
    router, records = open_router(CHEAP)
    for _ in range(3):
        with pytest.raises(UnknownModelError):
            router.complete_sync(Request(messages=MESSAGES, user_id="u", model="smal", parameters=BOUNDED))
    router.complete_sync(Request(messages=MESSAGES, user_id="u", parameters=BOUNDED))
    assert only_request(records).success
