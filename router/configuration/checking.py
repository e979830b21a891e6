"""A set of documents, parsed and checked together.

A set that decides is usable or not as a whole: catalog, prices, policies and experiments name one
another. Limits, retention and organisations are each usable for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.catalog.catalog import Catalog
from router.catalog.price_book import PriceBook
from router.configuration.documents import (
    BUILT_IN_POLICIES,
    CATALOG,
    EDITED,
    EXPERIMENTS,
    LIMITS,
    ORGANIZATIONS,
    POLICIES,
    PRICES,
    RETENTION,
    built_in_policies,
    config_hash_of,
    digests_of,
    policy_digest,
)
from router.configuration.organizations import OrganizationsFile
from router.configuration.retention import RetentionFile
from router.documents import parse_yaml
from router.errors import ConfigError, nearest
from router.limits.book import LimitsFile
from router.policies.assignment import parse_experiments
from router.policies.policy import BUILT_IN, Policies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from router.configuration.documents import Documents
    from router.policies.assignment import Experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """The documents that a decision depends on, parsed."""

    catalog: Catalog
    policies: Policies
    experiments: tuple[Experiment, ...]
    documents: Documents
    """With the prices that the catalog uses, and the policies of this release."""
    config_hash: str
    policy_digests: Mapping[str, str]
    """By `id@version`."""


def deciding(documents: Mapping[str, bytes], home: Path) -> Deciding:
    """Parse what decides. ConfigError names the fault, and the document as a file in `home`."""
    content = documents.get(CATALOG)
    path = home / CATALOG
    if content is None:
        raise ConfigError(
            f"no catalog at `{path}`: run `intellirouter init` to write an example,"
            " or set INTELLIROUTER_HOME to the folder that holds one"
        )
    book = PriceBook.parse(documents[PRICES], home / PRICES) if PRICES in documents else None
    catalog = Catalog.parse(content, book, path)
    policies = Policies.parse(documents.get(POLICIES), home / POLICIES)
    policies.check(catalog, home / POLICIES)
    experiments = parse_experiments(
        documents.get(EXPERIMENTS), home / EXPERIMENTS, policies=policies.by_id, models=catalog.models
    )
    kept = {name: documents[name] for name in (CATALOG, POLICIES, EXPERIMENTS) if name in documents}
    kept[BUILT_IN_POLICIES] = built_in_policies()
    in_use = None if book is None else book.in_use(catalog.price_refs)
    if in_use is not None:
        kept[PRICES] = in_use.to_json()
    return Deciding(
        catalog=catalog,
        policies=policies,
        experiments=experiments,
        documents=kept,
        config_hash=config_hash_of(digests_of(kept)),
        policy_digests=_digests_of(policies, home / POLICIES),
    )


def check(documents: Mapping[str, bytes], home: Path) -> Deciding:
    """Parse the whole set. ConfigError names the first fault. The documents of the result are all of them."""
    found = deciding(documents, home)
    for name, parse in OTHERS.items():
        if name in documents:
            parse(documents[name], home / name)
            found.documents[name] = documents[name]
    unknown = documents.keys() - {*EDITED, PRICES, BUILT_IN_POLICIES}
    if unknown:
        raise ConfigError(f"there is no document `{min(unknown):.80}`: {nearest(min(unknown), EDITED)}")
    return found


def require_new_versions(found: Mapping[str, str], known: Mapping[str, str], path: Path) -> None:
    """ConfigError for a policy whose content changed while its version did not.

    `found` and `known` are digests by `id@version`. Records name a policy by id and version, so a pair
    must mean the same goals for ever.
    """
    for name, digest in sorted(found.items()):
        before = known.get(name, digest)
        if before != digest:
            policy, _, version = name.rpartition("@")
            raise ConfigError(
                f"`{path}`: policy `{policy}` was changed and is still version `{version}`: its digest was"
                f" `{before}` and is `{digest}`; raise its version, since records name it"
            )


OTHERS: Mapping[str, Callable[[bytes, Path], object]] = {
    LIMITS: lambda content, path: parse_yaml(content, LimitsFile, path),
    RETENTION: lambda content, path: parse_yaml(content, RetentionFile, path),
    ORGANIZATIONS: lambda content, path: parse_yaml(content, OrganizationsFile, path),
}
"""How to parse each document that does not decide."""


def _digests_of(policies: Policies, path: Path) -> dict[str, str]:
    found = {f"{policy.id}@{policy.version}": policy_digest(policy) for policy in policies.by_id.values()}
    built_in = {f"{policy.id}@{policy.version}": policy_digest(policy) for policy in BUILT_IN}
    require_new_versions(found, built_in, path)
    return built_in | found
