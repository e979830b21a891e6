"""Whose policy a request gets, and what the policy forbids."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from router import ConfigError, NoEligibleModelError, Request, Router
from router.policies.policy import Policies
from tests.factories import write_catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGES = [{"role": "user", "content": "hi"}]


def write_policies(home: Path, *policies: Mapping[str, Any], **rest: Any) -> Path:
    """A policies.yaml."""
    path = home / "policies.yaml"
    path.write_text(yaml.safe_dump({"policies": list(policies), **rest}))
    return path


@pytest.mark.smoke
def test_the_nearest_assignment_wins(tmp_path: Path) -> None:
    """Request, session, user, organisation, environment, default: the first there is of."""
    write_catalog(tmp_path)
    names = ["of-request", "of-session", "of-user", "of-organization", "of-environment"]
    write_policies(
        tmp_path,
        *({"id": name} for name in names),
        assignments={
            "users": {"u": "of-user"},
            "organizations": {"o": "of-organization"},
            "environments": {"staging": "of-environment"},
        },
    )
    given: dict[str, Any] = {
        "policy": "of-request",
        "session_id": "s",
        "user_id": "u",
        "organization_id": "o",
        "environment": "staging",
    }
    with Router.open(home=tmp_path) as router:
        router.open_session("s", organization_id="o", policy="of-session")
        found = []
        for name in list(given):
            found.append(router.route(Request(messages=MESSAGES, **given)).policy_id)
            del given[name]
        found.append(router.route(Request(messages=MESSAGES)).policy_id)
    assert found == [*names, "balanced"]


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"denied_models": ["small"]}, "policy `p` denies it"),
        ({"allowed_models": ["large"]}, "policy `p` does not allow it"),
        ({"denied_providers": ["fake"]}, "policy `p` denies its provider"),
        ({"regions": ["eu"]}, "not stated to serve from `eu`, which policy `p` requires"),
        ({"data_policy": ["no_training"]}, "does not state `no_training`, which policy `p` requires"),
        ({"capabilities": ["vision"]}, "lacks `vision`, which policy `p` requires"),
        ({"min_quality": 0.9}, "is below the 0.9 policy `p` requires"),
    ],
)
def test_a_policys_constraint_excludes_and_names_the_policy(
    tmp_path: Path, policy: dict[str, Any], reason: str
) -> None:
    """The record of the decision says which policy forbade which model and why."""
    write_catalog(
        tmp_path, [{"id": "small", "capabilities": ["tools"], "quality_scores": {"*": 0.5}}, "large"]
    )
    write_policies(tmp_path, {"id": "p", **policy})
    request = Request(messages=MESSAGES, policy="p")
    with Router.open(home=tmp_path) as router:
        try:
            candidates = router.route(request).candidates
            excluded = {item.model: item.exclusion or "" for item in candidates if not item.is_eligible}
        except NoEligibleModelError as error:
            excluded = error.exclusions
    assert reason in excluded["small"]


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        ({"denied_models": ["smal"]}, "names `smal` in `denied_models`.*nearest known: `small`"),
        ({"allowed_providers": ["fak"]}, "names `fak` in `allowed_providers`"),
        ({"allowed_models": ["small"], "denied_models": ["small"]}, r"both allows and denies \['small'\]"),
        ({"allowed_models": []}, "empty `allowed_models`, which no model meets"),
        ({"cost_weight": 0.1, "usd_per_quality_point": 0.001}, "keep one of them"),
        ({"max_cost_usd": -1}, "max_cost_usd.*got `-1`"),
        ({"min_quality": 2}, "min_quality.*got `2`"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(
    tmp_path: Path, policy: dict[str, Any], complaint: str
) -> None:
    """Contradictions and unknown names stop the start, by name and value."""
    write_catalog(tmp_path)
    write_policies(tmp_path, {"id": "p", **policy})
    with pytest.raises(ConfigError, match=complaint):
        Router.open(home=tmp_path)


@pytest.mark.smoke
def test_an_assignment_to_nothing_is_refused(tmp_path: Path) -> None:
    """A user assigned a policy that is not defined stops the start."""
    write_catalog(tmp_path)
    write_policies(tmp_path, assignments={"users": {"u": "qualty"}})
    with pytest.raises(ConfigError, match=r"assigns user `u` the unknown policy `qualty`.*`quality`"):
        Router.open(home=tmp_path)


def test_a_users_preferences_hold_until_the_request_has_its_own(tmp_path: Path) -> None:
    """Preferences in policies.yaml are the user's default."""
    write_catalog(tmp_path)
    write_policies(tmp_path, preferences={"users": {"u": {"ignore": ["small"]}}})
    with Router.open(home=tmp_path, seed=1) as router:
        chosen = {router.route(Request(messages=MESSAGES, user_id="u")).model for _ in range(50)}
    assert chosen == {"large"}


def test_a_change_of_the_files_is_taken_without_a_restart(tmp_path: Path) -> None:
    """The next refresh decides by the new policy, and the records' config_hash changes."""
    write_catalog(tmp_path)
    with Router.open(home=tmp_path, seed=1, scores_refresh_interval_s=3600) as router:
        before = router.route(Request(messages=MESSAGES))
        write_policies(tmp_path, {"id": "balanced", "version": 2, "denied_models": ["small"]})
        assert router.refresh()
        after = router.route(Request(messages=MESSAGES))
    assert (before.policy_version, after.policy_version, after.model) == (1, 2, "large")
    assert before.config_hash != after.config_hash


def test_a_file_that_is_empty_for_a_moment_is_read_once_it_is_written(tmp_path: Path) -> None:
    """Some editors empty a file before they write: for a moment it would have no policies."""
    path = tmp_path / "policies.yaml"
    path.write_bytes(b"")
    written = threading.Timer(0.05, lambda: write_policies(tmp_path, {"id": "p", "version": 3}))
    written.start()
    assert "p" in Policies.load(path).by_id
    written.join()


def test_an_unusable_change_keeps_what_is_in_use_and_says_so(tmp_path: Path) -> None:
    """Serving goes on by the old policies; health and each record's reason tell."""
    write_catalog(tmp_path)
    path = write_policies(tmp_path, {"id": "p", "version": 3})
    with Router.open(home=tmp_path, seed=1, scores_refresh_interval_s=0.02) as router:
        path.write_text("policies: [{id: p, cost_weight: -1}]")
        deadline = time.monotonic() + 10
        asked = Request(messages=MESSAGES, policy="p")
        while "newest configuration cannot be used" not in (decision := router.route(asked)).reason:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert decision.policy_version == 3
        assert "cost_weight" in router.health()["configuration"]["error"]
        write_policies(tmp_path, {"id": "p", "version": 4})
        while router.health()["configuration"]["error"] is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert router.route(Request(messages=MESSAGES, policy="p")).policy_version == 4
