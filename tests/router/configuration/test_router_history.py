"""A router adds each configuration to the history before a decision uses it, and serves without a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from router import ConfigError, Request
from router.configuration.changing import apply
from router.configuration.documents import policy_digest
from router.configuration.folder import StateFolder
from router.configuration.resolving import resolve
from router.policies.policy import Policy
from tests.factories import write_catalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REQUEST = Request(messages=[{"role": "user", "content": "hi"}], task_type="math")


def test_every_record_has_a_hash_of_the_history(open_router: Callable[..., Any], tmp_path: Path) -> None:
    """From the first request on, and after each edit and change that the router takes."""
    router, records = open_router()
    router.complete_sync(REQUEST)
    write_catalog(tmp_path, ["small"], base_url=router.catalog.providers["fake"].base_url)
    router.refresh()
    router.complete_sync(REQUEST)
    content = b"policies: [{id: p, version: 2}]"
    apply(StateFolder(tmp_path), router.settings, {"policies.yaml": content})
    router.refresh()
    router.complete_sync(REQUEST)
    versions = [resolve(StateFolder(tmp_path), record.config_hash).number for record in records]
    assert versions == [1, 2, 3]
    assert router.refresh() is False


def test_documents_that_do_not_decide_keep_the_hash(open_router: Callable[..., Any], tmp_path: Path) -> None:
    """Limits, retention and organisations add a version, and decisions keep their hash."""
    router, _ = open_router()
    before = router.route(REQUEST).config_hash
    for name, content in (
        ("limits.yaml", "limits: []"),
        ("retention.yaml", "legal_holds: []"),
        ("organizations.yaml", "organizations: [{id: acme}]"),
    ):
        (tmp_path / name).write_text(content)
        router.refresh()
    assert router.route(REQUEST).config_hash == before
    assert len(StateFolder(tmp_path).versions()) == 4


def test_a_broken_part_keeps_its_old_content_in_the_version(
    open_router: Callable[..., Any], tmp_path: Path
) -> None:
    """A version holds the documents in force: an unusable one is not, and does not hold back the others."""
    router, _ = open_router()
    (tmp_path / "organizations.yaml").write_text("organizations: [{id: acme}]")
    router.refresh()
    (tmp_path / "organizations.yaml").write_text("organizations: [{id: acme, time_zone: Nowhere}]")
    (tmp_path / "policies.yaml").write_text("policies: [{id: p}]")
    router.refresh()
    source = StateFolder(tmp_path)
    newest = source.newest()
    assert newest is not None
    assert newest.number == 3
    assert source.document(newest.documents["organizations.yaml"]) == b"organizations: [{id: acme}]"
    assert router.route(REQUEST).config_hash == newest.config_hash


def test_a_policy_changed_without_a_version_is_not_taken(
    open_router: Callable[..., Any], tmp_path: Path
) -> None:
    """The router names both digests, keeps the old set, and takes the change with a new version."""
    (tmp_path / "policies.yaml").write_text("policies: [{id: p, cost_weight: 0.2}]")
    router, _ = open_router()
    before = router.route(REQUEST).config_hash
    (tmp_path / "policies.yaml").write_text("policies: [{id: p, cost_weight: 0.3}]")
    with pytest.raises(ConfigError, match=r"policy `p` was changed and is still version `1`.*digest was"):
        router.refresh()
    assert router.route(REQUEST).config_hash == before
    assert router.health()["status"] == "degraded"
    (tmp_path / "policies.yaml").write_text("policies: [{id: p, version: 2, cost_weight: 0.3}]")
    assert router.refresh()
    assert router.route(REQUEST).config_hash != before


def test_a_member_of_a_later_release_changes_no_policy() -> None:
    """A default that is written out, or not known yet, gives the same digest."""
    assert policy_digest(Policy(id="p")) == policy_digest(Policy(id="p", cost_weight=0.1, version=1))
    assert policy_digest(Policy(id="p")) != policy_digest(Policy(id="p", cost_weight=0.2))


def test_a_router_serves_without_a_history(open_router: Callable[..., Any], tmp_path: Path) -> None:
    """If the history cannot be written, requests are served, the health says so, and it heals by itself."""
    blocked = tmp_path / "configuration"
    blocked.write_text("a file where the folder belongs")
    router, records = open_router()
    router.complete_sync(REQUEST)
    assert [fault.part for fault in router.faults()] == ["history"]
    blocked.unlink()
    router.refresh()
    assert list(router.faults()) == []
    assert resolve(StateFolder(tmp_path), records[0].config_hash).number == 1
