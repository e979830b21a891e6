"""Finds a person in the files that people edit. An erasure reports these files and does not change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.config import Settings

ADVICE = {
    "keys.json": "revoke the person's keys (`intellirouter keys revoke ID`) and delete their entries",
    "limits.yaml": "delete the person's limits and budgets, or let `*` hold them",
    "policies.yaml": "delete the person's assignments and preferences",
    "experiments.yaml": "delete the person's name",
    "retention.yaml": "delete the person's name",
}
"""The advice for each file."""
ELSEWHERE = "remove the file, or upgrade if it is newer than this release"


def mentions(settings: Settings, user: str, *, organization: str | None = None) -> list[str]:
    """Names of the files that name the person. With an organisation, only its own keys are searched."""
    files = [settings.keys_file]
    if organization is None:
        files += [
            settings.limits_file,
            settings.policies_file,
            settings.experiments_file,
            settings.retention_file,
        ]
    return [path.name for path in files if path.exists() and _names(path, user, organization)]


def advice(name: str) -> str:
    """The advice for a file that still holds an erased person's id."""
    return ADVICE.get(name, ELSEWHERE)


def _names(path: Path, user: str, organization: str | None) -> bool:
    import yaml

    content = path.read_bytes()
    try:
        tree = yaml.safe_load(content)  # JSON is YAML
    except yaml.YAMLError:
        return user.encode() in content
    if organization is not None:
        keys = tree.get("keys") if isinstance(tree, dict) else None
        tree = [key for key in keys or () if organization in _texts(key)]
    return user in _texts(tree)


def _texts(tree: Any) -> Iterator[str]:
    """Every text of a tree, including the names of members."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield str(name)
            yield from _texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _texts(value)
    else:
        yield str(tree)
