"""The configuration of the router: the catalog with its prices, the policies, the experiments.

`ConfiguredState` reads it from a StateSource (`router.configuration`), and adds each set that it reads to
the history before a decision uses it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.configuration.watching import look
from router.errors import UnknownPolicyError
from router.policies.policy import check_baseline

if TYPE_CHECKING:
    from router.catalog.catalog import Catalog
    from router.config import Settings
    from router.configuration.source import StateSource
    from router.policies.assignment import Experiment
    from router.policies.policy import Policies

logger = logging.getLogger("router")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One consistent view. It is never changed, only replaced whole."""

    catalog: Catalog
    policies: Policies
    experiments: tuple[Experiment, ...]
    config_hash: str
    """Identifies the configuration that a decision was made under. The history resolves it."""
    baseline_model: str | None = None
    """BASELINE_MODEL, which policies can give a share of the requests."""
    history_error: str | None = None
    """Why the history does not hold it, so that its hash cannot be resolved. None if it does."""


class ConfiguredState:
    """The state of a StateSource, for the refresher."""

    def __init__(self, source: StateSource, settings: Settings) -> None:
        self._source = source
        self._settings = settings
        self._has_loaded = False
        self._history_error: str | None = None

    def load(self) -> State:
        """The state now. ConfigError when it is not usable or contradicts itself."""
        settings = self._settings
        seen = look(self._source, settings)
        self._report(seen.history_error)
        if seen.deciding is None:
            assert seen.fault is not None  # noqa: S101 - the documents can be used, or there is a reason
            raise seen.fault
        found = seen.deciding
        if settings.default_policy not in found.policies.by_id:
            raise UnknownPolicyError(settings.default_policy, found.policies.by_id, setting="DEFAULT_POLICY")
        check_baseline(settings.baseline_model, found.policies, found.catalog)
        self._has_loaded = True
        return State(
            catalog=found.catalog,
            policies=found.policies,
            experiments=found.experiments,
            config_hash=found.config_hash,
            baseline_model=settings.baseline_model,
            history_error=self._history_error,
        )

    def version(self) -> object:
        """Changes when `load` would return something else. It is cheap enough to read every second."""
        self._source.settle()
        # A source that is away is reported once a state is there: the router serves with that one.
        if self._has_loaded and (error := getattr(self._source, "error", None)) is not None:
            raise error
        if self._history_error is not None:  # try again: the disk may have room now
            self._report(look(self._source, self._settings).history_error)
        return self._source.revision(), self._history_error

    def _report(self, error: Exception | None) -> None:
        # Serving never waits for the history: the router serves with the new set, and /health says so.
        problem = None if error is None else str(error)
        if problem is not None and problem != self._history_error:
            logger.error("the configuration was not added to its history: %s", problem)
        self._history_error = problem
