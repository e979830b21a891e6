"""The plan of a replay, with the requests and the provider's answers that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from pipelines.replay.driver import Arrival, Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pipelines.replay.outcomes import World
    from pipelines.replay.reference import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The parameters of a replay."""

    world: World
    outcomes_file: Path
    """The source of the fake provider's answers."""
    arrivals_s: Sequence[float]
    """Due time of each request."""
    folder: Path
    """Data folder. It is emptied first."""
    refresh_every: int
    cost_weight: float = 0.1
    seed: int = 0
    speed: float = 100.0
    """The providers answer this many times faster than recorded."""
    change: Change | None = None
    feedback_share: float = 1.0
    callers: Sequence[Caller] = (Caller(user="replay"),)
    prices: Mapping[str, tuple[str, str]] | None = None
    """See `write_configuration`."""
    baseline_model: str | None = None
    """The model that the savings compare with."""
    baseline_exploration: float = 0.0
    """Least share of the requests for it."""
    prepare: Callable[[], None] | None = None
    """Called once the folder is empty, to write `outcomes_file` there."""


def arrivals_of(plan: Plan) -> list[Arrival]:
    """The requests to send: items drawn with replacement, the same for the same seed."""
    # Separate random streams, so that another share of feedback does not change the items.
    items, callers, feedback = (Random(f"{plan.seed}:{name}") for name in ("items", "callers", "feedback"))  # noqa: S311
    return [
        Arrival(
            step=step,
            item=items.randrange(len(plan.world.items)),
            due_s=due_s,
            caller=callers.choice(plan.callers),
            has_feedback=feedback.random() < plan.feedback_share,
        )
        for step, due_s in enumerate(plan.arrivals_s)
    ]


def script_of(plan: Plan) -> dict[str, Any]:
    """The fake provider's script."""
    script: dict[str, Any] = {
        "outcomes": {
            "file": str(plan.outcomes_file.absolute()),
            "models": list(plan.world.models),
            "latency_scale": 1 / plan.speed,
        }
    }
    if plan.change is not None:
        script["changes"] = [{"step": plan.change.step, "set": {plan.change.model: plan.change.like}}]
    return script
