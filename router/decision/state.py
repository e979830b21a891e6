"""The configuration of the router: the catalog with its prices, the policies, the experiments.

Readers get it from a StateSource. Today it comes from the YAML files of the data folder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from router.catalog.catalog import Catalog
from router.errors import UnknownModelError, UnknownPolicyError
from router.files import version_of
from router.policies.assignment import load_experiments
from router.policies.policy import Policies

if TYPE_CHECKING:
    from router.config import Settings
    from router.policies.assignment import Experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One consistent view. It is never changed, only replaced whole."""

    catalog: Catalog
    policies: Policies
    experiments: tuple[Experiment, ...]
    config_hash: str
    """Identifies the configuration that a decision was made under."""


class StateSource(Protocol):
    """A source of the state."""

    def load(self) -> State:
        """The state now; ConfigError when it is not usable or contradicts itself."""

    def version(self) -> object:
        """Changes when `load` would return something else. It is cheap enough to read every second."""


class StateFiles:
    """A StateSource on the YAML files of the data folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._files = (
            settings.catalog_file,
            settings.price_book_file,
            settings.policies_file,
            settings.experiments_file,
        )

    def load(self) -> State:
        """See StateSource."""
        settings = self._settings
        catalog = Catalog.load(settings.catalog_file)
        policies = Policies.load(settings.policies_file)
        policies.check(catalog, settings.policies_file)
        if settings.default_policy not in policies.by_id:
            raise UnknownPolicyError(settings.default_policy, policies.by_id)
        if settings.baseline_model is not None and settings.baseline_model not in catalog.models:
            raise UnknownModelError(settings.baseline_model, catalog.models)
        return State(
            catalog=catalog,
            policies=policies,
            experiments=load_experiments(
                settings.experiments_file, policies=policies.by_id, models=catalog.models
            ),
            config_hash=_config_hash(catalog, policies),
        )

    def version(self) -> object:
        """See StateSource."""
        return tuple(map(version_of, self._files))


def _config_hash(catalog: Catalog, policies: Policies) -> str:
    digest = hashlib.sha256(catalog.digest.encode())
    for name in sorted(policies.by_id):
        # A set has no order of its own: sorted, so that equal policies have one hash everywhere.
        policy = policies.by_id[name].model_dump(mode="json")
        digest.update(repr([(key, _ordered(value)) for key, value in sorted(policy.items())]).encode())
    for assigned in (policies.users, policies.organizations, policies.environments):
        digest.update(repr(sorted(assigned.items())).encode())
    return digest.hexdigest()[:16]


def _ordered(value: object) -> object:
    return sorted(value, key=str) if isinstance(value, list) else value
