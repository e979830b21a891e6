"""Organisations that keys and documents name, and organizations.yaml lacks. They are served all the same."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from router.configuration.documents import EXPERIMENTS, LIMITS, ORGANIZATIONS, POLICIES, RETENTION
from router.configuration.organizations import OrganizationsFile
from router.configuration.retention import RetentionFile
from router.documents import parse_yaml
from router.keys.opening import open_key_store
from router.limits.book import ANY, LimitsFile
from router.policies.assignment import parse_experiments
from router.policies.policy import Policies

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from router.config import Settings
    from router.configuration.documents import Documents

KEYS = "keys"
RECORDS = "records"


def unlisted_organizations(
    documents: Documents, settings: Settings, *, recorded: Iterable[str] = ()
) -> dict[str, list[str]]:
    """The places that name each organisation which organizations.yaml lacks, by name, sorted.

    `recorded` are the names in records. Empty without an organizations.yaml: then nothing is meant to be
    listed. ConfigError for a document that cannot be used.
    """
    if ORGANIZATIONS not in documents:
        return {}
    home = settings.home
    file = OrganizationsFile.parse(documents[ORGANIZATIONS], home / ORGANIZATIONS)
    listed = {item.id for item in file.organizations}
    places = {**_in_documents(documents, home), KEYS: _in_keys(settings), RECORDS: set(recorded)}
    found: dict[str, list[str]] = {}
    for place, names in sorted(places.items()):
        for name in names - listed:
            found.setdefault(name, []).append(place)
    return dict(sorted(found.items()))


def remedy(places: Iterable[str]) -> str:
    """The places that name an organisation, and how to list it."""
    return f"it is named in {', '.join(places)}: add it to organizations.yaml, or correct the name there"


def _in_documents(documents: Documents, home: Path) -> dict[str, set[str]]:
    policies = Policies.parse(documents.get(POLICIES), home / POLICIES)
    found = {POLICIES: {*policies.organizations, *policies.organization_preferences}}
    if LIMITS in documents:
        limits = parse_yaml(documents[LIMITS], LimitsFile, home / LIMITS)
        names = {entry.subject for entry in limits.limits if entry.scope == "organization"}
        names |= {entry.subject for entry in limits.budgets if entry.scope == "organization"}
        found[LIMITS] = names - {ANY}
    if RETENTION in documents:
        rules = parse_yaml(documents[RETENTION], RetentionFile, home / RETENTION)
        held = {hold.organization for hold in rules.legal_holds if hold.organization is not None}
        found[RETENTION] = {*rules.organizations, *held}
    experiments = parse_experiments(documents.get(EXPERIMENTS), home / EXPERIMENTS)
    found[EXPERIMENTS] = {name for item in experiments for name in item.entry.organizations or ()}
    return found


def _in_keys(settings: Settings) -> set[str]:
    with closing(open_key_store(settings)) as store:
        keys = store.read().keys
    return {key.organization_id for key in keys if key.organization_id is not None}
