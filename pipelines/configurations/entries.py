"""The rows of one version of the configuration, by table, without their period."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from router.catalog.catalog import Catalog
from router.configuration.documents import BUILT_IN_POLICIES, CATALOG, ORGANIZATIONS, POLICIES, canonical
from router.configuration.organizations import OrganizationsFile
from router.errors import ConfigError
from router.policies.policy import BUILT_IN, Policies

if TYPE_CHECKING:
    from pipelines.configurations.periods import Entries
    from router.configuration.source import StateSource, Version

POLICY_CONTENT = ("policy_json",)
MODEL_CONTENT = (
    "name",
    "provider",
    "provider_model",
    "context_window",
    "max_output_tokens",
    "capabilities",
    "quality_scores",
    "availability_status",
)
ORGANIZATION_CONTENT = ("name", "time_zone", "contact", "mark_up", "discount")


class Reader:
    """Reads the documents of versions. A document that versions share is parsed once."""

    def __init__(self, source: StateSource) -> None:
        self._source = source
        self._parsed: dict[tuple[str | None, ...], Entries | None] = {}
        self.problems: list[str] = []
        """Documents that this release cannot read. Their rows stay as the version before had them."""

    def content(self, version: Version, name: str) -> bytes | None:
        """A document's content; None if the version has none."""
        digest = version.documents.get(name)
        return None if digest is None else self._source.document(digest)

    def documents(self, version: Version) -> Entries:
        """One entry for each document."""
        return {
            name: {
                "name": name,
                "digest": digest,
                "content": self._source.document(digest).decode("utf-8", errors="replace"),
            }
            for name, digest in version.documents.items()
        }

    def policies(self, version: Version) -> Entries | None:
        """One entry for each policy, and one for each user or organisation that has one assigned."""
        return self._read(version, (POLICIES, BUILT_IN_POLICIES), self._policies)

    def models(self, version: Version) -> Entries | None:
        """One entry for each model of the catalog."""
        return self._read(version, (CATALOG,), self._models)

    def organizations(self, version: Version) -> Entries | None:
        """One entry for each organisation."""
        return self._read(version, (ORGANIZATIONS,), self._organizations)

    def _read(self, version: Version, names: tuple[str, ...], parse: Any) -> Entries | None:
        key = (*names, *(version.documents.get(name) for name in names))
        if key not in self._parsed:
            try:
                self._parsed[key] = parse(version)
            except ConfigError as error:
                self._parsed[key] = None
                self.problems.append(f"version {version.number}: {error}")
        return self._parsed[key]

    def _policies(self, version: Version) -> Entries:
        policies = Policies.parse(self.content(version, POLICIES), Path(POLICIES))
        texts = {
            item["id"]: orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()
            for item in orjson.loads(self.content(version, BUILT_IN_POLICIES) or b"[]")
        }
        own = [policy for policy in policies.by_id.values() if policy not in BUILT_IN]
        texts |= {policy.id: canonical(policy).decode() for policy in own}
        subjects: list[tuple[str, str | None, str | None]] = [(name, None, None) for name in texts]
        subjects += [(name, user, None) for user, name in policies.users.items()]
        subjects += [(name, None, organization) for organization, name in policies.organizations.items()]
        return {
            (name, user, organization): {
                "name": name,
                "user_id": user,
                "organization_id": organization,
                "policy_json": texts[name],
                "policy_version": orjson.loads(texts[name])["version"],
            }
            for name, user, organization in subjects
            if name in texts
        }

    def _models(self, version: Version) -> Entries:
        content = self.content(version, CATALOG)
        if content is None:
            return {}
        catalog = Catalog.parse(content, None, Path(CATALOG))
        return {
            model.id: {
                "id": model.id,
                "name": model.name or model.provider_model,
                "provider": model.provider,
                "provider_model": model.provider_model,
                "context_window": model.context_window,
                "max_output_tokens": model.max_output_tokens,
                "capabilities": (
                    None if model.capabilities is None else json.dumps(sorted(model.capabilities))
                ),
                "quality_scores": json.dumps(dict(sorted(model.quality_scores.items()))),
                "availability_status": model.availability_status,
            }
            for model in catalog.models.values()
        }

    def _organizations(self, version: Version) -> Entries:
        file = OrganizationsFile.parse(self.content(version, ORGANIZATIONS), Path(ORGANIZATIONS))
        return {
            item.id: {
                "id": item.id,
                "name": item.name,
                "time_zone": item.time_zone,
                "contact": item.contact,
                "mark_up": item.mark_up,
                "discount": item.discount,
            }
            for item in file.organizations
        }
