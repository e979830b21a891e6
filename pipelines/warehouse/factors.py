"""The weights that a configuration decides by, as a table: `decision_factors`.

A row of a configuration is never changed, because its hash names its content. The history of the
configuration holds every set that decided, so a rebuilt warehouse has the same rows.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from pipelines.warehouse import sqlfiles
from router.configuration.documents import BUILT_IN_POLICIES, POLICIES
from router.configuration.opening import open_source
from router.errors import ConfigError
from router.policies.policy import BUILT_IN, Policies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.warehouse.warehouse import Warehouse
    from router.configuration.source import StateSource, Version
    from router.policies.policy import Policy

TABLE = "decision_factors"
_PLACE = Path("configuration")
QUALITY_WEIGHT = 1.0
"""The unit of every other weight: utility is quality less the weighted cost and latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorsResult:
    """The result of loading the table."""

    added: int = 0
    problem: str | None = None
    """Why the weights of a configuration are not known. None if all are."""


def load_decision_factors(warehouse: Warehouse) -> FactorsResult:
    """Add the weights of each configuration of the history that the table lacks."""
    known = {row[0] for row in warehouse.run(sqlfiles.load("tables/rows", table=TABLE)).fetchall()}
    rows: list[dict[str, Any]] = []
    problem = None
    try:
        with closing(open_source(warehouse.settings)) as source:
            for version in source.versions():
                if version.config_hash not in known:
                    known.add(version.config_hash)
                    rows += (_row(version.config_hash, policy) for policy in _policies(source, version))
    except (OSError, ConfigError) as error:
        problem = str(error)
    with warehouse.transaction():
        warehouse.insert(TABLE, rows)
    return FactorsResult(added=len(rows), problem=problem)


def _policies(source: StateSource, version: Version) -> Iterator[Policy]:
    """The policies of a version: those of its own release, under those of its file."""
    found: dict[str, Policy] = {}
    if BUILT_IN_POLICIES in version.documents:
        for members in orjson.loads(source.document(version.documents[BUILT_IN_POLICIES])):
            found[members["id"]] = type(BUILT_IN[0]).model_validate(members)
    if POLICIES in version.documents:
        content = source.document(version.documents[POLICIES])
        parsed = Policies.parse(content, _PLACE / version.config_hash / POLICIES)
        found |= {name: policy for name, policy in parsed.by_id.items() if policy not in BUILT_IN}
    yield from found.values()


def _row(config_hash: str, policy: Policy) -> dict[str, Any]:
    has_price = policy.usd_per_quality_point is not None
    return {
        "config_hash": config_hash,
        "policy_id": policy.id,
        "policy_version": policy.version,
        "cost_weight": None if has_price else policy.cost_weight,
        "quality_weight": QUALITY_WEIGHT,
    }
