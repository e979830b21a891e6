"""Experiments: the entries of `experiments.yaml`. `assignment` loads and applies them.

`experiments.yaml` in the data folder:

    experiments:
      - id: cheaper-support
        unit: session              # request, session, user or organization: gets one variant
        variants:                  # the first is the control
          - {name: control, share: 0.5, policy: balanced}
          - {name: cheap, share: 0.5, policy: cheapest}
        start: 2026-12-01
        stop: 2026-12-15
        task_types: [chat]
        metrics: {quality: higher, cost_usd: lower}

A record names only one experiment, so two experiments that could meet in one request are refused. Give
them different times, environments, organisations or task types.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from router.catalog.entries import Name

Unit = Literal["request", "session", "user", "organization"]
Mode = Literal["serve", "shadow"]
Metric = Literal["quality", "cost_usd", "latency_ms", "success"]
Direction = Literal["higher", "lower"]

METRICS: tuple[Metric, ...] = get_args(Metric)
DIRECTIONS: dict[Metric, Direction] = {
    "quality": "higher",
    "cost_usd": "lower",
    "latency_ms": "lower",
    "success": "higher",
}
"""The better direction of each metric, unless an experiment states another."""
MAX_EXPERIMENTS = 100
"""Largest number of experiments, since every request walks the list."""
SHARE_TOLERANCE = 1e-6
"""Largest distance from 1 of the sum of an experiment's shares: three times 0.3333 is refused."""


class VariantEntry(BaseModel):
    """One treatment: another policy, or always one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    """Its name in records and results."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the units, 0..1."""
    policy: Name | None = None
    """Its requests are routed by this policy."""
    model: Name | None = None
    """Its requests go to this model."""

    @model_validator(mode="after")
    def _one_treatment(self) -> VariantEntry:
        if (self.policy is None) == (self.model is None):
            raise ValueError(f"variant `{self.name}` must name a `policy` or a `model`, one of the two")
        return self


class ExperimentEntry(BaseModel):
    """One experiment as `experiments.yaml` states it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    """Its name in records and results, never used again."""
    unit: Unit = "request"
    """Requests of one unit get the same variant. A request without the unit is not in the experiment."""
    variants: Annotated[tuple[VariantEntry, ...], Field(min_length=2, max_length=20)]
    """The first is the control that the others are compared with."""
    start: datetime | None = None
    """First moment, in UTC if no zone is given; None: from now on."""
    stop: datetime | None = None
    """First moment after the end; None: until the entry is removed."""
    environments: frozenset[str] | None = None
    """Only requests of these environments; None: all."""
    organizations: frozenset[str] | None = None
    """Only requests of these organisations; None: all."""
    task_types: frozenset[str] | None = None
    """Only requests of these tasks; None: all."""
    mode: Mode = "serve"
    """`shadow`: the variant's choice is recorded, and the caller is served as usual."""
    metrics: dict[Metric, Direction] = Field(default_factory=lambda: dict(DIRECTIONS))
    """The metrics to compare, and the better direction of each."""
    salt: str = ""
    """Another salt gives another random assignment of the same units."""

    @field_validator("start", "stop", mode="before")
    @classmethod
    def _moment(cls, value: Any) -> Any:
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        return value

    @field_validator("start", "stop")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        if value is None or value.tzinfo is None:
            return None if value is None else value.replace(tzinfo=UTC)
        return value.astimezone(UTC)

    @field_validator("environments", "organizations", "task_types")
    @classmethod
    def _somebody(cls, value: frozenset[str] | None) -> frozenset[str] | None:
        if value is not None and not value:
            raise ValueError("an empty list lets no request in: leave it out to let every request in")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> ExperimentEntry:
        total = sum(variant.share for variant in self.variants)
        if abs(total - 1) > SHARE_TOLERANCE:
            raise ValueError(f"the shares of experiment `{self.id}` sum to `{total:g}`: make them sum to 1")
        names = [variant.name for variant in self.variants]
        if len(set(names)) != len(names):
            raise ValueError(f"two variants of experiment `{self.id}` share a name among {names}")
        if self.start is not None and self.stop is not None and self.stop <= self.start:
            raise ValueError(
                f"experiment `{self.id}` stops at `{self.stop}`, which is not after its start `{self.start}`"
            )
        if not self.metrics:
            raise ValueError(f"experiment `{self.id}` compares nothing: leave `metrics` out for all of them")
        return self

    def may_meet(self, other: ExperimentEntry) -> bool:
        """Whether some request could be in both."""
        return (
            not _is_over_before(self, other)
            and not _is_over_before(other, self)
            and all(
                mine is None or theirs is None or not mine.isdisjoint(theirs)
                for mine, theirs in (
                    (self.environments, other.environments),
                    (self.organizations, other.organizations),
                    (self.task_types, other.task_types),
                )
            )
        )


class ExperimentsFile(BaseModel):
    """The whole of `experiments.yaml`."""

    model_config = ConfigDict(extra="forbid")

    experiments: Annotated[tuple[ExperimentEntry, ...], Field(max_length=MAX_EXPERIMENTS)] = ()
    """Experiments, also those that are over."""

    @model_validator(mode="after")
    def _apart(self) -> ExperimentsFile:
        for index, entry in enumerate(self.experiments):
            for other in self.experiments[:index]:
                if entry.id == other.id:
                    raise ValueError(f"two experiments have the id `{entry.id}`: ids are never used again")
                if entry.may_meet(other):
                    raise ValueError(
                        f"experiments `{other.id}` and `{entry.id}` could meet in one request, but a record"
                        " names only one: give them other times, environments, organizations or task_types"
                    )
        return self


def _is_over_before(first: ExperimentEntry, second: ExperimentEntry) -> bool:
    return first.stop is not None and second.start is not None and first.stop <= second.start
