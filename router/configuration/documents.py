"""The names of the documents, their digests, and the hash that each record carries."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

from router.catalog.price_book import BOOK_NAME
from router.policies.policy import BUILT_IN, Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

Documents = dict[str, bytes]
"""Content by name. A document that does not exist has no entry."""

CATALOG = "catalog.yaml"
POLICIES = "policies.yaml"
EXPERIMENTS = "experiments.yaml"
LIMITS = "limits.yaml"
RETENTION = "retention.yaml"
ORGANIZATIONS = "organizations.yaml"
EDITED = (CATALOG, POLICIES, EXPERIMENTS, LIMITS, RETENTION, ORGANIZATIONS)
"""The documents that people edit. Each is a file of this name in the data folder."""
PRICES = BOOK_NAME.as_posix()
"""The price book. A version holds only the rows that its catalog uses."""
BUILT_IN_POLICIES = "built_in_policies.json"
"""The policies of the release. A version holds them, since another release may have others."""
DECIDING = (CATALOG, PRICES, POLICIES, EXPERIMENTS, BUILT_IN_POLICIES)
"""The documents that `config_hash` covers: with a record and its score snapshot, they give its decision.

Limits decide by what was spent, so a record's candidates name each exclusion of theirs. The settings
that decide (environment, default policy, baseline) are in the record: `environment`, `policy_id`,
`baseline_model`.
"""
HASH_CHARS = 16


def digest_of(content: bytes) -> str:
    """The name of a document's content in the history: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digests_of(documents: Mapping[str, bytes]) -> dict[str, str]:
    """The digest of each document, in order of name."""
    return {name: digest_of(documents[name]) for name in sorted(documents)}


def config_hash_of(digests: Mapping[str, str]) -> str:
    """The hash of the documents that decide, by their digests. Records carry it."""
    lines = (f"{name} {digests[name]}\n" for name in sorted(DECIDING) if name in digests)
    return digest_of("".join(lines).encode())[:HASH_CHARS]


def policy_digest(policy: Policy) -> str:
    """A digest of a policy's content, the same in every process and release.

    Members with their default do not count: a release that adds a member changes no policy.
    """
    return digest_of(canonical(policy, exclude_defaults=True))[:HASH_CHARS]


def built_in_policies() -> bytes:
    """The document of the policies that this release has built in."""
    return b"[" + b",\n".join(map(canonical, BUILT_IN)) + b"]\n"


def canonical(policy: Policy, *, exclude_defaults: bool = False) -> bytes:
    """A policy as JSON, the same in every process: names and sets are sorted."""
    members = policy.model_dump(mode="json", exclude_defaults=exclude_defaults).items()
    tree = {name: sorted(value) if isinstance(value, list) else value for name, value in members}
    return orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)
