"""`Decision`: which model serves a request, and everything needed to say why.

Each fact of a decision is stated here, computed in `router.decision` and declared as a column in
`router.records`, under one name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from router.records import Candidate, Strategy, TaskTypeSource


# Without slots: a decision starts from the `vars` of its choice, and a record from those of its decision.
@dataclass(frozen=True, kw_only=True)
class Choice:
    """The part of a decision that its plan settles; equal requests share it."""

    model: str
    fallbacks: tuple[str, ...]
    """Eligible models to try after `model`, best first."""
    propensity: float
    strategy: Strategy
    is_exploration: bool
    reason: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, kw_only=True)
class Decision(Choice):
    """The choice for one request."""

    request_id: str
    timestamp: datetime
    provider: str
    task_type: str
    task_type_source: TaskTypeSource
    policy_id: str
    policy_version: int
    config_hash: str
    snapshot_id: str | None
    snapshot_age_s: float | None
    task_type_confidence: float | None = None
    draw: float | None = None
    """The random number that picked among the candidates; None if nothing was left to chance."""
    tokens_input_estimated: int | None = None
    experiment_id: str | None = None
    variant: str | None = None
    shadow_policy_id: str | None = None
    shadow_model: str | None = None

    @classmethod
    def of(cls, choice: Choice, **facts: Any) -> Decision:
        """The decision of a choice; `facts` are all the other fields.

        This avoids the `__init__` of a frozen dataclass. It sets one field after the other, which took
        4 of the 20 µs of a decision.
        """
        decision = object.__new__(cls)
        vars(decision).update(vars(choice), **facts)
        return decision

    @property
    def treated_as(self) -> tuple[str, str] | None:
        """The (experiment, variant) that decided; None if no experiment did, or only in shadow."""
        if self.experiment_id is None or self.variant is None or self.shadow_model is not None:
            return None
        return self.experiment_id, self.variant
