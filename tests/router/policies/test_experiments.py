"""Experiments: who is in, who gets what, and which files are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.errors import ConfigError
from router.policies.assignment import Experiment, assign, load_experiments
from router.policies.experiments import ExperimentEntry
from router.records import new_id
from tests.places import ROOT

AT = datetime(2026, 12, 5, tzinfo=UTC)
HALVES = [
    {"name": "control", "share": 0.5, "policy": "balanced"},
    {"name": "cheap", "share": 0.5, "policy": "cheapest"},
]


def experiment(**changes: Any) -> Experiment:
    """An experiment on users, half and half."""
    return Experiment.of(
        ExperimentEntry.model_validate({"id": "e1", "unit": "user", "variants": HALVES, **changes})
    )


def variant_of(one: Experiment, **facts: Any) -> str | None:
    """The variant of a request with these facts."""
    values: dict[str, Any] = {
        "request_id": "r",
        "session_id": None,
        "user_id": "ada",
        "organization_id": "acme",
        "environment": "production",
        "task_type": "chat",
        "at": AT,
        **facts,
    }
    found = assign([one], **values)
    return None if found is None else found.variant


def write(path: Path, *entries: dict[str, Any]) -> Path:
    """An experiments.yaml of entries over a default one."""
    content = [{"id": f"e{index}", "variants": HALVES, **entry} for index, entry in enumerate(entries)]
    path.write_text(yaml.safe_dump({"experiments": content}))
    return path


def test_a_unit_keeps_its_variant_in_every_process() -> None:
    """The assignment follows from the id and the unit alone, not from a process's hash seed."""
    code = (
        "from tests.router.policies.test_experiments import experiment, variant_of;"
        "print([variant_of(experiment(), user_id=f'u{i}') for i in range(50)])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{[variant_of(experiment(), user_id=f'u{index}') for index in range(50)]}\n"}


def test_assignment_is_uniform_and_independent_between_experiments() -> None:
    """Chi-square of 60,000 sequential ids over uneven shares, and of two experiments crossed.

    The limits are the 99.99% quantiles of chi-square with 2 and 4 degrees of freedom.
    """
    shares = {"a": 0.1, "b": 0.3, "c": 0.6}
    variants = [{"name": name, "share": share, "policy": "balanced"} for name, share in shares.items()]
    first, second = experiment(variants=variants), experiment(variants=variants, id="e2")
    total = 60_000
    pairs = Counter(
        (variant_of(first, user_id=f"user-{index}"), variant_of(second, user_id=f"user-{index}"))
        for index in range(total)
    )
    counts: Counter[str | None] = Counter()
    for (name, _), count in pairs.items():
        counts[name] += count
    assert sum((counts[n] - s * total) ** 2 / (s * total) for n, s in shares.items()) < 18.4
    crossed = sum(
        (pairs[one, other] - left * right * total) ** 2 / (left * right * total)
        for one, left in shares.items()
        for other, right in shares.items()
    )
    assert crossed < 31.8 + 18.4


@pytest.mark.smoke
def test_another_salt_is_another_draw() -> None:
    """The same units fall anew when the salt changes: about half of them move."""
    salted = experiment(salt="again")
    moved = sum(
        variant_of(experiment(), user_id=f"u{i}") != variant_of(salted, user_id=f"u{i}") for i in range(1000)
    )
    assert 400 < moved < 600


def test_every_request_of_a_unit_is_treated_alike() -> None:
    """Requests of a user share a variant; request by request they fall on both."""
    requests = [new_id()[0] for _ in range(100)]
    assert len({variant_of(experiment(), request_id=name) for name in requests}) == 1
    assert len({variant_of(experiment(unit="request"), request_id=name) for name in requests}) == 2


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({}, {"user_id": None}),
        ({"unit": "session"}, {}),
        ({"start": AT + timedelta(seconds=1)}, {}),
        ({"stop": AT}, {}),
        ({"environments": ["staging"]}, {}),
        ({"organizations": ["globex"]}, {}),
        ({"organizations": ["globex"]}, {"organization_id": None}),
        ({"task_types": ["code"]}, {}),
    ],
)
def test_who_is_not_eligible_is_in_no_experiment(changes: dict[str, Any], facts: dict[str, Any]) -> None:
    """Without the unit, out of time or outside of the stated traffic a request is in no experiment."""
    assert variant_of(experiment(**changes), **facts) is None


def test_the_first_moment_is_in_and_the_stop_is_out() -> None:
    """A window holds its start and not its stop; a date is its midnight in UTC."""
    window = experiment(start="2026-12-05", stop="2026-12-06T01:00:00+01:00")
    assert variant_of(window, at=AT) is not None
    assert variant_of(window, at=AT + timedelta(days=1) - timedelta(microseconds=1)) is not None
    assert variant_of(window, at=AT + timedelta(days=1)) is None


@pytest.mark.smoke
def test_a_variant_says_what_to_do(tmp_path: Path) -> None:
    """An assignment carries the policy or the model, and whether it is for the record alone."""
    variants = [HALVES[0] | {"share": 0.001}, {"name": "new", "share": 0.999, "model": "gpt-x"}]
    path = write(tmp_path / "experiments.yaml", {"variants": variants, "mode": "shadow"})
    (one,) = load_experiments(path, policies=["balanced"], models=["gpt-x"])
    found = assign(
        [one],
        request_id="r",
        session_id=None,
        user_id=None,
        organization_id=None,
        environment="test",
        task_type="chat",
        at=AT,
    )
    assert found is not None
    assert (found.experiment_id, found.variant, found.policy_id, found.model, found.is_shadow) == (
        "e0",
        "new",
        None,
        "gpt-x",
        True,
    )


def test_a_missing_file_is_no_experiment(tmp_path: Path) -> None:
    """Experiments are optional."""
    assert load_experiments(tmp_path / "experiments.yaml") == ()


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([{"variants": [HALVES[0], HALVES[1] | {"share": 0.4}]}], "sum to `0.9`"),
        ([{"variants": HALVES[:1]}], "at least 2"),
        ([{"variants": [HALVES[0], HALVES[1] | {"name": "control"}]}], "share a name"),
        ([{"variants": [HALVES[0], HALVES[1] | {"share": -0.5}]}], "greater than 0"),
        ([{"variants": [HALVES[0], HALVES[1] | {"policy": None}]}], "one of the two"),
        ([{"variants": [HALVES[0], HALVES[1] | {"model": "small"}]}], "one of the two"),
        ([{"variants": [HALVES[0], HALVES[1] | {"policy": "nope"}]}], "unknown policy `nope`"),
        (
            [{"variants": [HALVES[0], {"name": "new", "share": 0.5, "model": "nope"}]}],
            "unknown model `nope`",
        ),
        ([{"start": "2026-12-05", "stop": "2026-12-05"}], "not after its start"),
        ([{"organizations": []}], "lets no request in"),
        ([{"metrics": {}}], "compares nothing"),
        ([{"metrics": {"charm": "higher"}}], "metrics"),
        ([{"colour": "blue"}], "colour"),
        ([{"id": "same", "stop": "2026-01-01"}, {"id": "same", "start": "2026-01-01"}], "never used again"),
        ([{}, {}], "could meet"),
        ([{"unit": "session"}, {"unit": "user", "task_types": ["code"]}], "could meet"),
        ([{"stop": "2026-12-05T00:00:01Z"}, {"start": "2026-12-05"}], "could meet"),
    ],
)
def test_a_contradiction_is_refused(tmp_path: Path, entries: list[dict[str, Any]], problem: str) -> None:
    """The error names the file and what contradicts what."""
    path = write(tmp_path / "experiments.yaml", *entries)
    with pytest.raises(ConfigError, match=r"experiments\.yaml") as caught:
        load_experiments(path, policies=["balanced", "cheapest"], models=["small"])
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "apart",
    [
        ({"stop": "2026-12-05"}, {"start": "2026-12-05"}),
        ({"task_types": ["code"]}, {"task_types": ["chat", "math"]}),
        ({"environments": ["staging"]}, {"environments": ["production"]}),
        ({"organizations": ["acme"]}, {"organizations": ["globex"]}),
    ],
)
def test_experiments_that_cannot_meet_stand_together(
    tmp_path: Path, apart: tuple[dict[str, Any], ...]
) -> None:
    """Apart in time or in traffic, both run."""
    assert len(load_experiments(write(tmp_path / "experiments.yaml", *apart))) == 2
