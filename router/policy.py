"""Routing policies: what a decision optimises, and what it must respect.

Four are built in; `policies.yaml` in the data folder adds to them or replaces one:

    policies:
      - id: support-bot
        version: 3
        cost_weight: 0.3
        denied_models: [gpt-4o]
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from router.catalog import Name, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Policy(BaseModel):
    """One named, versioned way to weigh quality against cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    version: Annotated[int, Field(ge=1)] = 1
    """Raise it with every change: records name it."""
    strategy: Literal["thompson", "greedy"] = "thompson"
    """`thompson` explores in proportion to the chance of being best; `greedy` never explores."""
    cost_weight: Annotated[float, Field(ge=0, le=1000)] = 0.1
    """Quality (0..1) given up to save the mean cost of a request on the best single model."""
    usd_per_quality_point: Annotated[Decimal, Field(gt=0, max_digits=24, decimal_places=12)] | None = None
    """Dollars a request may cost more for one percentage point of quality, in place of `cost_weight`."""
    latency_weight: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Quality (0..1) given up to save the median latency of the best single model."""
    near_tie: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Utility (on the scale of quality, 0..1) within which the cheaper model wins."""
    min_exploration: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of requests spread evenly over the models that are not ruled out; `thompson` only."""
    cold_start_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of a task's requests that new models get at most, all together; `thompson` only."""
    allowed_models: frozenset[str] | None = None
    """None: every model of the catalog."""
    denied_models: frozenset[str] = frozenset()


class _PoliciesFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    policies: tuple[Policy, ...] = ()

    @field_validator("policies")
    @classmethod
    def _unique(cls, value: tuple[Policy, ...]) -> tuple[Policy, ...]:
        ids = [policy.id for policy in value]
        if len(set(ids)) != len(ids):
            raise ValueError(f"two policies share an id among {sorted(ids)}")
        return value


BUILT_IN = (
    Policy(id="balanced", cost_weight=0.1),
    Policy(id="cheapest", cost_weight=1.0),
    Policy(id="quality", cost_weight=0.0),
)


def load_policies(path: Path) -> Mapping[str, Policy]:
    """Built-in policies under those of `path`, which may be missing; ConfigError when unusable."""
    custom = parse_yaml(path.read_bytes(), _PoliciesFile, path).policies if path.exists() else ()
    return {policy.id: policy for policy in (*BUILT_IN, *custom)}
