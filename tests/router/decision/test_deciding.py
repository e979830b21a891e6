"""What a decision listens to beside the scores: experiments, the health of models, the session."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from router import Preferences, ProviderError, Request
from tests.recording import only_request
from tests.router.scores.test_scores import row, snapshot

MESSAGES = [{"role": "user", "content": "2 + 2?"}]


def write_experiment(
    home: Path, *, mode: str = "serve", unit: str = "user", **variants: dict[str, str]
) -> None:
    """An experiments.yaml with one experiment of equal shares."""
    share = 1 / len(variants)
    entries = [{"name": name, "share": share, **treatment} for name, treatment in variants.items()]
    (home / "experiments.yaml").write_text(
        yaml.safe_dump({"experiments": [{"id": "x", "unit": unit, "mode": mode, "variants": entries}]})
    )


def test_a_variant_serves_its_model_and_the_record_names_both(open_router: Any, tmp_path: Path) -> None:
    """Each user is served by its variant's model for sure, and the record tells which experiment asked."""
    write_experiment(tmp_path, a={"model": "small"}, b={"model": "large"})
    router, records = open_router()
    for number in range(20):
        router.complete_sync(Request(messages=MESSAGES, user_id=f"u{number}"))
    served = Counter((record.variant, record.model_decided) for record in records)
    assert served.keys() == {("a", "small"), ("b", "large")}
    assert {(record.experiment_id, record.strategy, record.propensity) for record in records} == {
        ("x", "experiment", 1.0)
    }


def test_a_variant_decides_by_its_policy(open_router: Any, tmp_path: Path) -> None:
    """The record's policy is the variant's, so that both are told apart in every report."""
    write_experiment(tmp_path, a={"policy": "quality"}, b={"policy": "cheapest"})
    router, _ = open_router()
    decisions = [router.route(Request(messages=MESSAGES, user_id=f"u{number}")) for number in range(20)]
    assert {(item.variant, item.policy_id) for item in decisions} == {("a", "quality"), ("b", "cheapest")}


@pytest.mark.parametrize("own", [{"model": "small"}, {"policy": "quality"}])
def test_a_request_that_names_model_or_policy_is_in_no_experiment(
    open_router: Any, tmp_path: Path, own: dict[str, Any]
) -> None:
    """What a caller asks for by name is what it gets."""
    write_experiment(tmp_path, a={"model": "large"}, b={"policy": "cheapest"})
    router, _ = open_router()
    decision = router.route(Request(messages=MESSAGES, user_id="u", **own))
    assert (decision.experiment_id, decision.variant) == (None, None)
    assert own.items() <= {"model": decision.model, "policy": decision.policy_id}.items()


def test_a_shadow_is_recorded_and_not_served(open_router: Any, tmp_path: Path) -> None:
    """The caller is served by its own policy; the record holds what the shadow would have chosen."""
    write_experiment(tmp_path, mode="shadow", a={"model": "large"}, b={"policy": "cheapest"})
    router, records = open_router({"id": "small", "quality_scores": {"*": 0.9}}, "large")
    for number in range(20):
        router.complete_sync(
            Request(
                messages=MESSAGES, user_id=f"u{number}", preferences=Preferences(only=frozenset({"small"}))
            )
        )
    assert {record.model_selected for record in records} == {"small"}
    assert {(record.variant, record.shadow_model, record.shadow_policy_id) for record in records} == {
        ("a", "large", None),
        ("b", "small", "cheapest"),
    }


def test_a_session_does_not_carry_one_variants_model_into_another(open_router: Any, tmp_path: Path) -> None:
    """Where each request is a unit of its own, every request gets its variant's model all the same."""
    write_experiment(tmp_path, unit="request", a={"policy": "quality"}, b={"model": "large"})
    router, records = open_router({"id": "small", "quality_scores": {"*": 0.99}}, "large")
    only = Preferences(deterministic=True)
    for _ in range(30):
        router.complete_sync(Request(messages=MESSAGES, session_id="s", preferences=only))
    chosen = {(record.variant, record.model_decided) for record in records}
    assert chosen == {("a", "small"), ("b", "large")}


@pytest.mark.smoke
def test_a_failing_model_is_left_out_of_later_decisions(open_router: Any) -> None:
    """After failures in a row it is excluded, by name and reason, until it is tried again."""
    router, records = open_router("down", "small", max_retries=0)
    only_down = Preferences(order=("down",))
    for _ in range(10):
        router.complete_sync(Request(messages=MESSAGES, preferences=only_down))
    first, last = records[0], records[-1]
    assert [attempt.model for attempt in first.attempts] == ["down", "small"]
    assert [attempt.model for attempt in last.attempts] == ["small"]
    (excluded,) = (item for item in last.candidates if not item.is_eligible)
    assert excluded.model == "down"
    assert "ejected after" in (excluded.exclusion or "")
    assert "down" in router.health()["breakers"]["ejected"]


def test_a_callers_own_fault_ejects_nothing(open_router: Any) -> None:
    """A provider that refuses a bad request is healthy."""
    router, _ = open_router("picky", "small")
    for _ in range(10):
        with pytest.raises(ProviderError):
            router.complete_sync(Request(messages=MESSAGES, model="picky"))
    assert router.health()["breakers"]["ejected"] == {}


def test_a_failing_model_is_better_than_none(open_router: Any) -> None:
    """Where nothing else is eligible the ejected one is tried all the same."""
    router, _ = open_router("down", "small")
    for _ in range(8):
        router.complete_sync(Request(messages=MESSAGES, preferences=Preferences(order=("down",))))
    decision = router.route(Request(messages=MESSAGES, preferences=Preferences(only=frozenset({"down"}))))
    assert decision.model == "down"


def test_a_session_learns_how_long_its_texts_are(open_router: Any) -> None:
    """What the provider counted corrects the estimate of the session's next request."""
    sizes: list[dict[str, Any]] = [{"id": "small", "context_window": 1500}, {"id": "large"}]
    router, records = open_router(*sizes)
    request = Request(messages=[{"role": "user", "content": "x" * 400}], session_id="s", model="small")
    router.complete_sync(request)  # 100 tokens by the estimate, 1,000 by the provider
    assert only_request(records).tokens_input == 1000
    again = Request(messages=[{"role": "user", "content": "x" * 800}], session_id="s")
    (excluded,) = (item for item in router.route(again).candidates if not item.is_eligible)
    assert excluded.exclusion == "the request exceeds its context window of 1500 tokens"


def test_the_preferences_of_a_session_hold_for_its_next_requests(open_router: Any) -> None:
    """A session that began with preferences keeps them until a request brings others."""
    router, _ = open_router()
    router.open_session("s", preferences=Preferences(ignore=frozenset({"small"})))
    chosen = {router.route(Request(messages=MESSAGES, session_id="s")).model for _ in range(30)}
    assert chosen == {"large"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"published_at": datetime.now(UTC) + timedelta(days=1)},
            "which is in the future: set the clock of this machine",
        ),
        ({"schema_version": 0}, "schema version `0`, this router reads"),
    ],
)
def test_a_snapshot_that_cannot_be_is_left_aside_and_told(
    open_router: Any, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    """A snapshot from the future or of another schema decides nothing; health and each record say so."""
    path = tmp_path / "scores" / "current.json"
    path.parent.mkdir()
    path.write_bytes(replace(snapshot(row("math", "small", 0.9)), **change).to_json())
    router, _ = open_router()
    decision = router.route(Request(messages=MESSAGES))
    assert decision.snapshot_id is None
    assert "the newest scores cannot be used" in decision.reason
    assert complaint in router.health()["scores"]["error"]
