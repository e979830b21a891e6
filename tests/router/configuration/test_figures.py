"""Every hash of a run leads to the documents that decided, and real processes race for one version."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from router import Request
from router.configuration.folder import StateFolder
from router.configuration.watching import look
from tests.factories import write_catalog
from tests.router.configuration.reproduction import Archive, differences

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EDITS = 50
RACERS = 10
MODELS: list[dict[str, Any]] = [
    {"id": "small", "quality_scores": {"*": 0.6, "math": 0.5}},
    {"id": "large", "quality_scores": {"*": 0.8, "code": 0.9}},
    {"id": "slow", "quality_scores": {"*": 0.7}},
]


def _edit(home: Path, step: int, base_url: str) -> None:
    """One more edit by hand: of another document each time, and sometimes back to what was."""
    if step % 5 == 0:
        price = {"start": "2026-01-01", "input_usd_per_mtok": 1 + step % 3, "output_usd_per_mtok": 4}
        write_catalog(home, [{**model, "prices": [price]} for model in MODELS], base_url=base_url)
    elif step % 5 == 1:
        shares = [0.5, 0.5] if step % 2 else [0.2, 0.8]
        names = zip(("control", "cheap"), ("balanced", "cheapest"), shares, strict=True)
        variants = [{"name": name, "policy": policy, "share": share} for name, policy, share in names]
        entry = {"id": f"e{step}", "unit": "user", "variants": variants}
        (home / "experiments.yaml").write_text(yaml.safe_dump({"experiments": [entry]}))
    elif step % 5 == 2:
        (home / "experiments.yaml").unlink()
    else:
        content = {
            "policies": [{"id": "own", "version": step, "cost_weight": step / 100, "near_tie": 0.01}],
            "assignments": {"organizations": {"acme": "own" if step % 2 else "quality"}},
            "preferences": {"users": {f"u{step % 4}": {"ignore": [MODELS[step % 3]["id"]]}}},
        }
        (home / "policies.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.slow
def test_every_hash_of_a_run_with_edits_gives_its_decisions_again(
    open_router: Callable[..., Any], tmp_path: Path, fake_url: str
) -> None:
    """50 edits of four documents under traffic: each record's decision comes out the same, in full."""
    router, _ = open_router(*MODELS)
    made: list[tuple[Any, Request]] = []
    for step in range(EDITS):
        _edit(tmp_path, step, fake_url)
        assert router.refresh()
        for number in range(4):
            request = Request(
                messages=[{"role": "user", "content": "x" * (number * 100 + 1)}],
                task_type=("math", "code", "chat")[step % 3],
                user_id=f"u{number}",
                organization_id="acme" if number % 2 else None,
            )
            made.append((router.route(request), request))
    archive = Archive(tmp_path)
    hashes = {decision.config_hash for decision, _ in made}
    assert len(hashes) > EDITS / 2
    for decision, request in made:
        record = _record(decision)
        assert differences(record, archive.decide(record, request)) == {}
        assert archive.documents(decision.config_hash).config_hash == decision.config_hash
    assert len(StateFolder(tmp_path).versions()) == EDITS + 1


def test_a_decision_with_a_baseline_is_made_again(open_router: Callable[..., Any], tmp_path: Path) -> None:
    """The record names BASELINE_MODEL, and the policy gives that model a share."""
    (tmp_path / "policies.yaml").write_text("policies: [{id: p, baseline_exploration: 0.9}]")
    router, records = open_router(*MODELS, baseline_model="slow", default_policy="p")
    for _ in range(3):
        router.complete_sync(Request(messages=[{"role": "user", "content": "Hi"}]))
    archive = Archive(tmp_path)
    shares = {item.model: item.probability for item in records[0].candidates}
    assert shares["slow"] >= 0.9
    assert [differences(record, archive.decide(record)) for record in records] == [{}, {}, {}]


def _record(decision: Any) -> Any:
    """A decision as a record names its facts."""
    from types import SimpleNamespace

    facts = {name: getattr(decision, name) for name in decision.__dataclass_fields__}
    return SimpleNamespace(**facts, id=decision.request_id, model_decided=decision.model, baseline_model=None)


@pytest.mark.slow
def test_one_of_racing_commands_wins(tmp_path: Path) -> None:
    """Ten processes apply a change of one version at once: one version more, nine conflicts."""
    home = tmp_path / "home"
    write_catalog(home)
    from router.config import Settings

    look(StateFolder(home), Settings.load({}, home=home))
    processes = []
    for number in range(RACERS):
        file = tmp_path / str(number) / "policies.yaml"
        file.parent.mkdir()
        file.write_text(f"policies: [{{id: p{number}}}]")
        command = [sys.executable, "-m", "router.cli", "config", "apply", str(file), "--expected", "1"]
        processes.append(
            subprocess.Popen([*command, "--home", str(home)], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        )
    ended = [(process.communicate(), process.returncode) for process in processes]
    assert sorted(code for _, code in ended) == [0] + [1] * (RACERS - 1)
    assert sum(b"your change was made from version `1`" in error for (_, error), _ in ended) == RACERS - 1
    assert [version.number for version in StateFolder(home).versions()] == [1, 2]
