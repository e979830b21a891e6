"""Finds a person in the documents and keys that people edit. An erasure reports and does not change them.

With DATABASE_URL they are those of the database.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from router.configuration.forgetting import person_places
from router.configuration.opening import open_source
from router.keys.opening import open_key_store

if TYPE_CHECKING:
    from router.config import Settings

KEYS = "keys.json"
ADVICE = {
    KEYS: "revoke the person's keys (`intellirouter keys revoke ID`) and delete their entries",
    "limits.yaml": "delete the person's limits and budgets, or let `*` hold them",
    "policies.yaml": "delete the person's assignments and preferences",
    "experiments.yaml": "delete the person's name",
    "retention.yaml": "delete the person's name",
}
"""The advice for each file."""
_FOLDERS = {
    "dagster": "move the file away: only Dagster's history of earlier runs is lost, no record",
    "warehouse": "run `intellirouter rebuild`, which builds the databases from the lake again",
    "lake": "upgrade if a newer release wrote the file, else run `intellirouter doctor` and follow it",
}
"""The advice for the files that the router and the pipelines write, by folder."""
ELSEWHERE = "take the person's lines out of the file, or move it out of the data folder"


def mentions(settings: Settings, user: str, *, organization: str | None = None) -> list[str]:
    """Names of the files that name the person. With an organisation, only its own keys are searched."""
    searched = (KEYS,) if organization is not None else tuple(ADVICE)
    found = _contents(settings)
    return [name for name in searched if name in found and _names(found[name], user, organization)]


def advice(name: str) -> str:
    """The advice for a file that still holds an erased person's id. None destroys the records of others."""
    return ADVICE.get(name) or _FOLDERS.get(name.partition("/")[0], ELSEWHERE)


def _contents(settings: Settings) -> dict[str, bytes]:
    """Documents and keys by name. Files are taken as they are, usable or not."""
    if settings.database_url is None:
        paths = [settings.home / name for name in ADVICE]
        return {path.name: path.read_bytes() for path in paths if path.exists()}
    with closing(open_source(settings)) as source, closing(open_key_store(settings)) as keys:
        return {**source.read(), KEYS: keys.read().model_dump_json().encode()}


def _names(content: bytes, user: str, organization: str | None) -> bool:
    places = person_places(content.decode("utf-8", errors="surrogateescape"), organization=organization)
    if places is None:
        return user.encode() in content
    return any(place.value == user for place in places)
