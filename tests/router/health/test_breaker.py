"""Breakers: what fails is left out, comes back by itself, and never takes everything with it."""

from __future__ import annotations

import threading
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from router.catalog.catalog import Model
from router.config import Settings
from router.health.breaker import COUNTED, PROBING, Breaker, BreakerRules

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES = BreakerRules(jitter=0.0)


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def model(name: str, provider: str | None = None, status: str = "available") -> Model:
    """A model of a provider of its own, unless one is named."""
    return Model(
        id=name,
        provider=provider or f"of-{name}",
        provider_model=name,
        context_window=None,
        capabilities=None,
        availability_status=status,
        cost_source="prices",
        prices=(),
    )


FOUR = [model(name) for name in "abcd"]
SHARED = [model("a", "one"), model("b", "one"), model("c", "two"), model("d", "two"), model("e", "three")]


def breaker(
    models: Sequence[Model] = FOUR, rules: BreakerRules = RULES, **changes: Any
) -> tuple[Breaker, Clock]:
    """A breaker and its clock."""
    clock = Clock()
    return Breaker(models, replace(rules, **changes), clock=clock), clock


def fail(target: Breaker, name: str, times: int = 5, error_type: str = "server_error", **more: Any) -> None:
    """Calls that fail one after the other."""
    for _ in range(times):
        target.begin(name)
        target.record(name, success=False, error_type=error_type, **more)


def succeed(target: Breaker, name: str, times: int = 1) -> None:
    """Calls that are answered."""
    for _ in range(times):
        target.begin(name)
        target.record(name, success=True)


@pytest.mark.smoke
def test_failures_in_a_row_eject() -> None:
    """Four failures and a success leave a model in; five in a row put it out, with the reason."""
    health, _ = breaker()
    fail(health, "a", 4)
    succeed(health, "a")
    fail(health, "a", 4)
    assert dict(health.view().models) == {}
    fail(health, "a", 1)
    assert dict(health.view().models) == {
        "a": "it is ejected after 5 failures in a row, the last `server_error`"
    }


@pytest.mark.smoke
def test_a_share_of_the_window_ejects_once_there_are_enough_requests() -> None:
    """One failure in four is an outlier from the twentieth request of the window on, not before."""
    health, _ = breaker()
    for _ in range(4):
        succeed(health, "a", 3)
        fail(health, "a", 1)
    assert not health.view().models
    succeed(health, "a", 3)
    fail(health, "a", 1)
    assert set(health.view().models) == {"a"}


def test_what_left_the_window_is_forgotten() -> None:
    """Failures older than the window do not add to the share."""
    health, clock = breaker()
    for _ in range(4):
        succeed(health, "a", 3)
        fail(health, "a", 1)
    clock.now += RULES.window_s + RULES.window_s / 10
    succeed(health, "a", 19)
    fail(health, "a", 1)
    assert not health.view().models


@pytest.mark.parametrize("error_type", ["bad_request", "cancelled", None, "RuntimeError"])
def test_a_callers_fault_ejects_nobody(error_type: str | None) -> None:
    """Bad requests and cancelled ones say nothing about the model, however many there are."""
    health, _ = breaker()
    for _ in range(1000):
        health.record("a", success=False, error_type=error_type)
    assert health.view().epoch == 0


def test_a_timeout_counts_only_where_there_was_time() -> None:
    """A model tried when others had used up the deadline is not blamed for it."""
    health, _ = breaker(fair_timeout_s=60.0)
    fail(health, "a", 50, "timeout", latency_ms=59_000.0)
    assert not health.view().models
    fail(health, "a", 5, "timeout", latency_ms=60_000.0)
    assert set(health.view().models) == {"a"}


def test_a_try_that_is_cut_short_counts_only_where_there_was_time() -> None:
    """The first of several models is blamed for its silence, the one asked in the rest of the time is not."""
    rules = BreakerRules.of(Settings.load({"REQUEST_TIMEOUT_S": "120"}))
    brief = replace(model("b"), attempt_timeout_s=5.0)
    health, _ = breaker([model("a"), brief, model("c"), model("d")], rules)
    fail(health, "a", 50, "attempt_timeout", latency_ms=30_000.0)
    fail(health, "b", 50, "attempt_timeout", latency_ms=1_000.0)
    assert not health.view().models
    fail(health, "a", 5, "attempt_timeout", latency_ms=59_999.0)
    fail(health, "b", 5, "attempt_timeout", latency_ms=4_999.0)
    assert set(health.view().models) == {"a", "b"}
    assert BreakerRules.of(Settings.load({"ATTEMPT_TIMEOUT_S": "10"})).fair_timeout_s == 9.0


@pytest.mark.smoke
def test_one_request_tries_an_ejected_model_again() -> None:
    """When the time is over one call may begin; the others wait for what it comes to."""
    health, clock = breaker()
    fail(health, "a")
    clock.now += 29.9
    assert set(health.view().models) == {"a"}
    clock.now += 0.2
    assert not health.view().models
    assert health.begin("a")
    assert dict(health.view().models) == {"a": PROBING}
    assert not health.begin("a")
    health.record("a", success=True)
    assert not health.view().models
    assert health.begin("a")
    assert health.begin("a")


def test_a_failed_probe_ejects_for_longer_up_to_the_cap() -> None:
    """The time grows by the base with each ejection and ends at its maximum."""
    health, clock = breaker()
    fail(health, "a")
    lengths = []
    for _ in range(12):
        started = clock.now
        while health.view().models:
            clock.now += 1.0
        lengths.append(clock.now - started)
        fail(health, "a", 1)
    assert lengths == [30.0, 60.0, 90.0, 120.0, 150.0, 180.0, 210.0, 240.0, 270.0, 300.0, 300.0, 300.0]


def test_health_pays_off_earlier_ejections() -> None:
    """Each healthy period as long as the base takes one off the count."""
    health, clock = breaker()
    fail(health, "a")
    for _ in range(3):
        clock.now += 300.0
        fail(health, "a", 1)
    clock.now += 300.0
    succeed(health, "a")
    assert health.snapshot()["breakers"] == {}
    clock.now += 60.0
    fail(health, "a")
    assert health.snapshot()["breakers"]["a"]["ejections"] == 3  # four, less two, and this one
    clock.now += 300.0
    succeed(health, "a")
    clock.now += 3000.0
    fail(health, "a")
    assert health.snapshot()["breakers"]["a"]["ejections"] == 1


def test_jitter_spreads_the_return() -> None:
    """Two routers that eject at one moment do not come back at one moment."""
    remaining = set()
    for _ in range(20):
        health, _ = breaker(jitter=0.1)
        fail(health, "a")
        remaining.add(health.snapshot()["breakers"]["a"]["remaining_s"])
    assert len(remaining) > 1
    assert min(remaining) >= 30.0
    assert max(remaining) <= 33.0


def test_a_probe_that_never_reports_is_given_up() -> None:
    """A call whose process forgot it does not keep a model out for ever."""
    health, clock = breaker(probe_timeout_s=10.0)
    fail(health, "a")
    clock.now += 31.0
    assert health.begin("a")
    clock.now += 9.0
    assert not health.begin("a")
    clock.now += 2.0
    assert not health.view().models
    assert health.begin("a")


def test_a_probe_that_the_caller_spoils_leaves_the_trial_to_the_next() -> None:
    """A cancelled or bad request as the probe neither restores nor ejects."""
    health, clock = breaker()
    fail(health, "a")
    clock.now += 31.0
    assert health.begin("a")
    health.record("a", success=False, error_type="bad_request")
    assert not health.view().models
    assert health.snapshot()["breakers"]["a"]["state"] == "half_open"
    fail(health, "a", 1)
    assert set(health.view().models) == {"a"}


def test_an_answer_from_before_the_ejection_does_not_end_it() -> None:
    """Calls that were under way when a model was ejected report late; they change nothing."""
    health, _ = breaker()
    fail(health, "a")
    epoch = health.view().epoch
    health.record("a", success=True)
    health.record("a", success=False, error_type="timeout")
    assert health.view().epoch == epoch
    assert set(health.view().models) == {"a"}


def test_a_rate_limit_with_a_time_is_kept_to_the_time() -> None:
    """One 429 with Retry-After ejects until then, at most the maximum, and is no misbehaviour."""
    health, clock = breaker()
    fail(health, "a", 1, "rate_limited", retry_after_s=7.0)
    assert dict(health.view().models) == {"a": "it is rate limited: its provider asked to wait 7 s"}
    assert health.snapshot()["breakers"]["a"]["ejections"] == 0
    clock.now += 7.0
    assert not health.view().models
    fail(health, "b", 1, "rate_limited", retry_after_s=86_000.0)
    assert health.snapshot()["breakers"]["b"]["remaining_s"] == RULES.max_ejection_s


def test_a_refused_key_condemns_its_provider() -> None:
    """The first refusal puts out every model that would use the same key."""
    health, clock = breaker(SHARED)
    fail(health, "a", 1, "authentication")
    assert set(health.view().models) == {"a", "b"}
    assert health.view().models["b"] == "provider `one` refuses our key"
    clock.now += 31.0
    succeed(health, "b")
    assert "b" not in health.view().models


def test_a_key_that_just_worked_is_not_condemned() -> None:
    """A refusal beside successes concerns the one model (a licence, say), not the key."""
    health, _ = breaker(SHARED)
    succeed(health, "b")
    fail(health, "a", 1, "authentication")
    assert set(health.view().models) == {"a"}


def test_a_provider_goes_when_several_of_its_models_fail() -> None:
    """Failures of two models with no success in between put the provider out; of one model, only it."""
    health, _ = breaker(SHARED)
    fail(health, "a", 5)
    assert set(health.view().models) == {"a"}
    fail(health, "b", 2)
    assert set(health.view().models) == {"a", "b"}
    assert health.view().models["b"] == "several models of provider `one` fail: `server_error`"


def test_a_dead_model_does_not_keep_its_provider_out() -> None:
    """When the trial of a provider fails by a dead model, the next trial is another model's."""
    health, clock = breaker(SHARED)
    fail(health, "a", 5)
    fail(health, "b", 2)
    clock.now += 31.0
    fail(health, "a", 1)
    for _ in range(600):
        clock.now += 1.0
        if "b" not in health.view().models:
            break
    assert "a" in health.view().models
    succeed(health, "b")
    assert set(health.view().models) == {"a"}


def test_degraded_models_are_ejected_sooner_and_unavailable_ones_not_watched() -> None:
    """The catalog's availability_status is heard."""
    health, _ = breaker([model("a", status="degraded"), model("b", status="unavailable"), model("c")])
    fail(health, "a", 3)
    fail(health, "b", 50)
    assert set(health.view().models) == {"a"}


def test_the_cap_keeps_models_in_service() -> None:
    """Where all fail, those ejected first stay out and the others are served from."""
    health, _ = breaker()
    for name in "abcd":
        fail(health, name)
    assert set(health.view().models) == {"a", "b"}
    assert set(health.snapshot()["breakers"]) == set("abcd")
    assert health.begin("c")
    health.record("c", success=True)  # it was in service, so its answer counts
    assert set(health.snapshot()["breakers"]) == {"a", "b", "d"}


@pytest.mark.parametrize(("count", "share", "most"), [(1, 1.0, 0), (2, 0.1, 1), (4, 1.0, 3), (4, 0.0, 0)])
def test_never_all(count: int, share: float, most: int) -> None:
    """One model always stays, one of two may go, and a share of 0 turns ejection off."""
    health, _ = breaker(FOUR[:count], max_ejected_share=share)
    for name in "abcd"[:count]:
        fail(health, name)
    assert len(health.view().models) == most


def test_the_epoch_names_the_mapping() -> None:
    """The epoch changes with every change of the mapping, and a view never changes."""
    health, clock = breaker()
    seen = {0: dict(health.view().models)}
    first = health.view()
    for name, wait in (("a", 1.0), ("b", 31.0), ("a", 20.0), ("c", 90.0)):
        fail(health, name)
        clock.now += wait
        view = health.view()
        assert seen.setdefault(view.epoch, dict(view.models)) == view.models
    assert dict(first.models) == {}
    with pytest.raises(TypeError):
        first.models["a"] = "no"  # type: ignore[index]


def test_a_reloaded_catalog_keeps_what_is_known() -> None:
    """Models that stay keep their state; those that went are out of the view."""
    health, _ = breaker()
    fail(health, "a")
    fail(health, "b")
    health.watch([model("a"), model("x"), model("y")])
    assert set(health.view().models) == {"a"}
    health.record("b", success=False, error_type="timeout")
    assert health.begin("b")
    fail(health, "x")
    assert set(health.view().models) == {"a"}  # a cap of one in three


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_cap_holds_and_everything_recovers(seed: int) -> None:
    """Over random outcomes the cap is never passed; after them every model is soon in service again."""
    random = Random(seed)
    models = [model(f"m{index}", f"p{random.randrange(3)}") for index in range(random.randint(1, 9))]
    share = random.choice([0.1, 0.3, 0.5, 1.0])
    health, clock = breaker(models, max_ejected_share=share, jitter=0.1)
    most = min(max(int(share * len(models)), 1), len(models) - 1)
    errors = [*sorted(COUNTED), "bad_request", "cancelled"]
    for _ in range(3000):
        clock.now += random.expovariate(1.0)
        out = health.view().models
        assert len(out) <= most
        name = random.choice([item.id for item in models if item.id not in out])
        if not health.begin(name) or random.random() < 0.02:
            continue  # a probe is under way; or the call never reports
        if random.random() < 0.5:
            health.record(name, success=True)
        else:
            wait = random.choice([None, None, 5.0, 900.0])
            health.record(name, success=False, error_type=random.choice(errors), retry_after_s=wait)
    for _ in range(3 * len(models)):
        clock.now += health.rules.max_ejection_s * 1.1 + health.rules.base_ejection_s
        for item in models:
            if item.id not in health.view().models:
                succeed(health, item.id)
    assert not health.view().models
    assert health.snapshot()["breakers"] == {}


def test_threads_may_share_it() -> None:
    """Concurrent callers lose no count, and exactly one of them begins the probe."""
    health, clock = breaker(consecutive_failures=400)
    _together(lambda: fail(health, "a", 100))
    assert set(health.view().models) == {"a"}
    clock.now += 31.0
    begun: list[bool] = []
    _together(lambda: begun.append(health.begin("a")))
    assert sorted(begun) == [False, False, False, True]


def _together(work: Any) -> None:
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_settings_are_the_rules() -> None:
    """The variables HEALTH_* and the request's deadline reach the rules."""
    environment = {
        "HEALTH_CONSECUTIVE_FAILURES": "3",
        "HEALTH_FAILURE_SHARE": "0.5",
        "HEALTH_EJECTION_S": "10",
        "HEALTH_MAX_EJECTED_SHARE": "0.2",
        "REQUEST_TIMEOUT_S": "60",
    }
    assert BreakerRules.of(Settings.load(environment)) == BreakerRules(
        consecutive_failures=3,
        failure_share=0.5,
        base_ejection_s=10.0,
        max_ejection_s=100.0,
        max_ejected_share=0.2,
        probe_timeout_s=60.0,
        fair_timeout_s=27.0,
    )
