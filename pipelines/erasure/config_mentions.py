"""Finds a person in the documents and keys that people edit. An erasure reports and does not change them.

With DATABASE_URL they are those of the database.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from router.configuration.opening import open_source
from router.keys.opening import open_key_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.config import Settings

KEYS = "keys.json"
ADVICE = {
    KEYS: "revoke the person's keys (`intellirouter keys revoke ID`) and delete their entries",
    "limits.yaml": "delete the person's limits and budgets, or let `*` hold them",
    "policies.yaml": "delete the person's assignments and preferences",
    "experiments.yaml": "delete the person's name",
    "retention.yaml": "delete the person's name",
}
"""The advice for each of them, by the name of its file."""
ELSEWHERE = "remove the file, or upgrade if it is newer than this release"


def mentions(settings: Settings, user: str, *, organization: str | None = None) -> list[str]:
    """Names of the files that name the person. With an organisation, only its own keys are searched."""
    searched = (KEYS,) if organization is not None else tuple(ADVICE)
    found = _contents(settings)
    return [name for name in searched if name in found and _names(found[name], user, organization)]


def advice(name: str) -> str:
    """The advice for a file that still holds an erased person's id."""
    return ADVICE.get(name, ELSEWHERE)


def _contents(settings: Settings) -> dict[str, bytes]:
    """Documents and keys by name. Files are taken as they are, usable or not."""
    if settings.database_url is None:
        paths = [settings.home / name for name in ADVICE]
        return {path.name: path.read_bytes() for path in paths if path.exists()}
    with closing(open_source(settings)) as source, closing(open_key_store(settings)) as keys:
        return {**source.read(), KEYS: keys.read().model_dump_json().encode()}


def _names(content: bytes, user: str, organization: str | None) -> bool:
    import yaml

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
