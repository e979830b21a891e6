"""Routing policies: the goals and the constraints of a decision.

Four are built in. `policies.yaml` in the data folder can add policies, replace built-in ones, and assign
them:

    policies:
      - id: support-bot
        version: 3
        cost_weight: 0.3
        min_quality: 0.7
        denied_models: [gpt-4o]
    assignments:
      users: {u-17: quality}
      organizations: {acme: support-bot}
      environments: {staging: cheapest}
    preferences:
      users: {u-17: {ignore: [gpt-4o]}}

The policy of a request is the first that exists of: its own, its session's, its user's, its
organisation's, its environment's, DEFAULT_POLICY. Its preferences (`router.request.preferences`) are the
first that exist of: its own, its session's, its user's, its organisation's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from router.catalog.entries import Name
from router.documents import parse_yaml
from router.errors import ConfigError, RequestError, UnknownModelError, nearest
from router.files import read_document
from router.request.preferences import Preferences

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from router.catalog.catalog import Catalog


class Policy(BaseModel):
    """One named, versioned way to weigh quality against cost and latency, within constraints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    """Its name, which requests, assignments and records use."""
    version: Annotated[int, Field(ge=1)] = 1
    """Raise it with every change, since records name it."""
    strategy: Literal["thompson", "greedy"] = "thompson"
    """`thompson` explores in proportion to the chance of being best. `greedy` never explores and is
    deterministic."""

    # goals
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
    exploration_floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of requests spread evenly over all eligible models, even ruled out and dear ones, so that
    `intellirouter evaluate` can estimate any other policy; `thompson` only."""
    baseline_exploration: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least share of requests for the model of BASELINE_MODEL where it can serve, so that `intellirouter
    savings` can compare with it; `thompson` only."""
    cold_start_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Largest share of a task's requests for all new models together; `thompson` only. It also limits the
    share of dear models that are not ruled out."""

    exploration_usd_per_day: Annotated[Decimal, Field(ge=0)] | None = None
    """Expected dollars a day (UTC) that exploration may add to the cost of the best model, in each process;
    `thompson` only. None: for each request at most the mean cost of the models."""

    # constraints
    allowed_models: frozenset[str] | None = None
    """None: every model of the catalog."""
    denied_models: frozenset[str] = frozenset()
    """Ids of models that it never uses."""
    allowed_providers: frozenset[str] | None = None
    """None: every provider of the catalog."""
    denied_providers: frozenset[str] = frozenset()
    """Providers that it never uses."""
    regions: frozenset[str] | None = None
    """A model must state that it serves from one of these; None: from anywhere."""
    data_policy: frozenset[str] = frozenset()
    """Labels that a model must state, such as `no_training`."""
    capabilities: frozenset[str] = frozenset()
    """Capabilities that a model must have, in addition to the request's needs."""
    min_quality: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least expected quality on the task. A model with unknown quality is not excluded."""
    max_cost_usd: Annotated[Decimal, Field(ge=0)] | None = None
    """Largest expected cost of a request. A model with unknown cost is not excluded."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Longest expected (median) latency. A model with unknown latency is not excluded."""

    content_filter_fallback: bool = True
    """Whether another model may serve a request that a provider's content filter refuses. False: the
    refusal is the answer, so that no request goes round a filter."""
    drop_params: bool = False
    """Whether parameters that a model's API lacks are left out, and named in `x-intellirouter-ignored`.
    False: such a request goes to another model, or is refused."""

    def permits(self, model: str, provider: str) -> bool:
        """Whether the lists of models and providers permit the model."""
        return (
            model not in self.denied_models
            and provider not in self.denied_providers
            and (self.allowed_models is None or model in self.allowed_models)
            and (self.allowed_providers is None or provider in self.allowed_providers)
        )

    def lead_for(self, cost_usd: float, other_usd: float) -> float:
        """Quality (0..1) by which a model of this cost must lead one that costs less to be worth it.

        The unit of `cost_weight` is its own cost, as if it were the best model. 0 for a cheaper model.
        """
        more = cost_usd - other_usd
        if more <= 0:
            return 0.0
        if self.usd_per_quality_point is not None:
            return self.near_tie + more / (100 * float(self.usd_per_quality_point))
        return self.near_tie + self.cost_weight * more / cost_usd

    @model_validator(mode="after")
    def _consistent(self) -> Policy:
        both = (self.allowed_models or frozenset()) & self.denied_models
        both |= (self.allowed_providers or frozenset()) & self.denied_providers
        if both:
            raise ValueError(f"policy `{self.id}` both allows and denies {sorted(both)}: remove one of them")
        for name in ("allowed_models", "allowed_providers", "regions"):
            if getattr(self, name) == frozenset():
                raise ValueError(
                    f"policy `{self.id}` has an empty `{name}`, which no model meets: list some, or remove it"
                )
        if self.usd_per_quality_point is not None and "cost_weight" in self.model_fields_set:
            raise ValueError(
                f"policy `{self.id}` sets both `cost_weight` and `usd_per_quality_point`: keep one of them"
            )
        return self


class AssignmentsEntry(BaseModel):
    """The policy of each subject that has one of its own: name to policy."""

    model_config = ConfigDict(extra="forbid")

    users: dict[str, str] = {}
    """By user. It comes before the organisation's."""
    organizations: dict[str, str] = {}
    """By organisation. It comes before the environment's."""
    environments: dict[str, str] = {}
    """By INTELLIROUTER_ENVIRONMENT. It comes before DEFAULT_POLICY."""


class PreferencesOfSubjects(BaseModel):
    """The preferences of requests that state none, with the members of a request's `provider` object."""

    model_config = ConfigDict(extra="forbid")

    users: dict[str, dict[str, Any]] = {}
    """By user. They come before the organisation's."""
    organizations: dict[str, dict[str, Any]] = {}
    """By organisation."""


class PoliciesFile(BaseModel):
    """Policies of your own, and who gets which. Four are built in: balanced, cheapest, quality, fastest."""

    model_config = ConfigDict(extra="forbid")

    policies: tuple[Policy, ...] = ()
    """An id of a built-in policy replaces it."""
    assignments: AssignmentsEntry = AssignmentsEntry()
    """Policies by user, organisation and environment."""
    preferences: PreferencesOfSubjects = PreferencesOfSubjects()
    """Preferences by user and organisation."""

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
    Policy(id="quality", cost_weight=0.0, near_tie=0.01),
    Policy(id="fastest", cost_weight=0.05, latency_weight=0.3),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """Every policy by id, and the assignments of policies and preferences."""

    by_id: Mapping[str, Policy]
    users: Mapping[str, str] = field(default_factory=dict)
    organizations: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, str] = field(default_factory=dict)
    user_preferences: Mapping[str, Preferences] = field(default_factory=dict)
    organization_preferences: Mapping[str, Preferences] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Policies:
        """The built-in policies and those of `path`, which may be missing; ConfigError when unusable."""
        return cls.parse(read_document(path) if path.exists() else None, path)

    @classmethod
    def parse(cls, content: bytes | None, path: Path) -> Policies:
        """The built-in policies and those of a file's content, if any. Messages name `path`."""
        file = PoliciesFile() if content is None else parse_yaml(content, PoliciesFile, path)
        policies = {policy.id: policy for policy in (*BUILT_IN, *file.policies)}
        for kind, assigned in file.assignments:
            for subject, policy_id in assigned.items():
                if policy_id not in policies:
                    raise ConfigError(
                        f"`{path}` assigns {kind[:-1]} `{subject}` the unknown policy `{policy_id}`:"
                        f" {nearest(policy_id, policies)}"
                    )
        return cls(
            by_id=policies,
            users=file.assignments.users,
            organizations=file.assignments.organizations,
            environments=file.assignments.environments,
            user_preferences=_parsed(file.preferences.users, path),
            organization_preferences=_parsed(file.preferences.organizations, path),
        )

    def preferences_of(self, user_id: str | None, organization_id: str | None) -> Preferences | None:
        """A user's preferences, else its organisation's; None when neither has any."""
        return (self.user_preferences.get(user_id) if user_id else None) or (
            self.organization_preferences.get(organization_id) if organization_id else None
        )

    def check(self, catalog: Catalog, path: Path) -> None:
        """ConfigError for a policy or preference that names a model or provider the catalog does not list."""
        providers = set(catalog.providers)
        for policy in self.by_id.values():
            for field_name, names, known in (
                ("allowed_models", policy.allowed_models, catalog.models),
                ("denied_models", policy.denied_models, catalog.models),
                ("allowed_providers", policy.allowed_providers, providers),
                ("denied_providers", policy.denied_providers, providers),
            ):
                _check_names(f"policy `{policy.id}`", field_name, names or (), known, path)
        for subject, wishes in (*self.user_preferences.items(), *self.organization_preferences.items()):
            known_names = {*catalog.models, *catalog.providers}
            _check_names(f"`{subject}`", "preferences", wishes.names(), known_names, path)


def check_baseline(baseline: str | None, policies: Policies, catalog: Catalog) -> None:
    """UnknownModelError for an unlisted baseline, ConfigError for a policy that needs one without it."""
    if baseline is not None and baseline not in catalog.models:
        raise UnknownModelError(baseline, catalog.models, setting="BASELINE_MODEL")
    for policy in policies.by_id.values():
        if baseline is None and policy.baseline_exploration > 0:
            raise ConfigError(
                f"policy `{policy.id}` sets `baseline_exploration` to {policy.baseline_exploration:g}"
                " and there is no baseline: name the model in BASELINE_MODEL, or remove the field"
            )


def _parsed(entries: Mapping[str, dict[str, Any]], path: Path) -> dict[str, Preferences]:
    parsed = {}
    for subject, entry in entries.items():
        try:
            parsed[subject] = Preferences.parse(entry)
        except RequestError as error:
            raise ConfigError(f"`{path}`: preferences of `{subject}`: {error}") from error
    return parsed


def _check_names(owner: str, field_name: str, names: Iterable[str], known: Iterable[str], path: Path) -> None:
    for name in sorted(names):
        if name not in known:
            raise ConfigError(
                f"`{path}`: {owner} names `{name}` in `{field_name}`, which catalog.yaml does"
                f" not list: {nearest(name, known)}"
            )
