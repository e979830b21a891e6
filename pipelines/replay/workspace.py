"""The folder of one replay. The replay makes it, and the next one empties it."""

from __future__ import annotations

import fcntl
import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.replay.errors import ReplayError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pipelines.replay.outcomes import World

MARKER = ".intellirouter-replay"
MARKER_TEXT = "`intellirouter replay` or `demo` made this folder; the next run on it deletes all of it.\n"
POLICY = "replay"
PRICES_START = "2020-01-01"


@contextmanager
def fresh_folder(folder: Path) -> Iterator[None]:
    """An empty folder, locked while in use.

    Its content is deleted only if MARKER proves that a replay made the folder. Any other folder that is not
    empty raises ReplayError and is not changed.
    """
    marker = folder / MARKER
    if folder.exists() and not marker.exists() and any(folder.iterdir()):
        raise ReplayError(
            f"`{folder}` holds files that no replay made: name another folder with --data-dir,"
            " or empty this one yourself"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with marker.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReplayError(
                f"another replay is running in `{folder}`: wait for it, or use another"
            ) from None
        lock.truncate(0)
        lock.write(MARKER_TEXT)
        lock.flush()
        for entry in folder.iterdir():
            if entry.name == MARKER:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        yield


def write_configuration(
    folder: Path,
    world: World,
    *,
    base_url: str,
    cost_weight: float,
    prices: Mapping[str, tuple[str, str]] | None = None,
    baseline_exploration: float = 0.0,
) -> None:
    """Write catalog.yaml and policies.yaml of a replay.

    With `prices` (input and output, dollars per million tokens) the router computes costs. Without
    them, a model's cost is the one that the provider reports.
    """
    models: list[dict[str, Any]] = []
    for model in world.models:
        entry: dict[str, Any] = {"id": label(model), "provider": "fake", "provider_model": model}
        if prices is None:
            entry["cost_source"] = "provider"
        else:
            given, written = prices[model]
            entry["prices"] = [
                {"start": PRICES_START, "input_usd_per_mtok": given, "output_usd_per_mtok": written}
            ]
        models.append(entry)
    catalog = {
        "providers": {"fake": {"kind": "openai", "base_url": base_url}},
        "models": models,
        "tasks": sorted(map(label, world.tasks)),
    }
    policy = {"id": POLICY, "cost_weight": cost_weight}
    if baseline_exploration > 0:
        policy["baseline_exploration"] = baseline_exploration
    policies = {"policies": [policy]}
    (folder / "catalog.yaml").write_text(yaml.safe_dump(catalog, sort_keys=False))
    (folder / "policies.yaml").write_text(yaml.safe_dump(policies, sort_keys=False))


def label(name: str) -> str:
    """A name that the catalog and an HTTP header accept: printable ASCII without blanks, ` and *."""
    return re.sub(r"[^!-~]|[`*]", "-", name)
