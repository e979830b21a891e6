"""The decisions that another policy would have made, request by request, by the router's own code.

It decides from the scores that the recorded decision read (their published snapshot is kept), among
the models that were eligible then. Exclusions that the recorded policy asked for are lifted, and the
other policy's own are made.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from pipelines.evaluation.log import ABSENT, EXCLUDED
from router.decision.eligibility import Needs, exclusions_of
from router.decision.plan import make_plan
from router.errors import ScoresError
from router.scores.board import ScoreBoard, ScoreSnapshot

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipelines.evaluation.log import Floats, Log
    from router.catalog.catalog import Catalog
    from router.config import Settings
    from router.policies.policy import Policy

EVERY_API = frozenset({"chat", "embeddings", "responses"})


def target_odds(
    log: Log, policy: Policy, *, catalog: Catalog, settings: Settings
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Request by model probabilities under `policy`, and for which requests they could be computed.

    They cannot where the snapshot is no longer there or nothing was eligible.
    """
    context = np.column_stack([log.snapshot, log.draw_task, log.draw_bucket, log.state])
    kinds, kind_of = np.unique(context, axis=0, return_inverse=True)
    kind_of = kind_of.reshape(-1)
    odds = np.zeros((len(kinds), len(log.models)))
    boards: dict[int, ScoreBoard | None] = {}
    for row, (snapshot, task, bucket, *states) in enumerate(kinds.tolist()):
        if snapshot not in boards:
            boards[snapshot] = _board(log.snapshots[snapshot], catalog, settings)
        board = boards[snapshot]
        if board is not None:
            states_of = dict(zip(log.models, states, strict=True))
            found = _probabilities(
                board, policy, log.tasks[task], bucket, states_of, catalog, settings.baseline_model
            )
            odds[row] = [found.get(model, 0.0) for model in log.models]
    is_known = odds.sum(axis=1) > 0.5
    return odds[kind_of], is_known[kind_of]


def _probabilities(
    board: ScoreBoard,
    policy: Policy,
    task_type: str,
    bucket: int,
    states: dict[str, int],
    catalog: Catalog,
    baseline: str | None,
) -> dict[str, float]:
    """Model to probability. Empty when no model is eligible."""
    table = board.table(policy, task_type, bucket or None)
    exclusions = exclusions_of(
        {candidate.model: candidate for candidate in table.candidates},
        catalog=catalog,
        policy=policy,
        preferences=None,
        needs=Needs(  # the states hold which models an API reached
            input_tokens_bucket=bucket, context_window=0, capabilities=frozenset(), apis=EVERY_API
        ),
        standing={},
        at=datetime.now(UTC),
    )
    for model in catalog.models:
        if states.get(model, ABSENT) == ABSENT:
            exclusions[model] = "it was not a candidate then"
        elif states[model] == EXCLUDED:
            exclusions[model] = "it was excluded then"
    plan = make_plan(table, exclusions, policy=policy, baseline=baseline)
    return {item.model: item.probability or 0.0 for item in plan.candidates} if plan.drawn else {}


def _board(snapshot_id: str | None, catalog: Catalog, settings: Settings) -> ScoreBoard | None:
    """The board of a published snapshot. None when its file is gone or damaged."""
    if snapshot_id is None:
        return ScoreBoard(None, catalog)
    try:
        snapshot = ScoreSnapshot.read(settings.scores_file.with_name(f"{snapshot_id}.json"))
    except (FileNotFoundError, ScoresError):
        return None
    return ScoreBoard(snapshot, catalog)
