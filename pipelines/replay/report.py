"""The results of a replay: the router, the references, and the books."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.replay.books import Books, Row, compare
from pipelines.replay.errors import ReplayError
from pipelines.replay.reference import Line, Pick, Yardstick

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.replay.driver import Sent
    from pipelines.replay.outcomes import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One batch and the refresh after it."""

    number: int
    router: Line
    best_single: Line
    """On the same requests."""
    refresh_s: float


@dataclass(slots=True)
class Traffic:
    """The requests sent so far, and the time they took."""

    sent: list[Sent] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    sending_s: float = 0.0
    late_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of a replay."""

    lines: Sequence[Line]
    """The router, then the references, over all requests."""
    halves: Sequence[tuple[Line, Line]]
    """(router, best single) over the first and the second half of the requests."""
    rounds: Sequence[Round]
    books: Books
    sent: Sequence[Sent]
    propensity: Mapping[int, float | None]
    """By step, as recorded."""
    sending_s: float
    refreshing_s: float
    late_s: float
    models_used: int


def round_of(number: int, batch: Sequence[Sent], yardstick: Yardstick, refresh_s: float) -> Round:
    """The results of the router and of the best single model on a batch."""
    picks = [_pick(item) for item in batch]
    return Round(
        number=number,
        router=yardstick.line("router", picks),
        best_single=yardstick.always("best single", picks, yardstick.best_single),
        refresh_s=refresh_s,
    )


def report_of(
    traffic: Traffic,
    world: World,
    yardstick: Yardstick,
    rows: Sequence[tuple[str, Row]],
    feedback_rows: int,
) -> Report:
    """Build the report from the requests sent and the warehouse's rows."""
    sent = traffic.sent
    picks = [_pick(item) for item in sent]
    if wrong := [
        item for item, pick in zip(sent, picks, strict=True) if item.quality != yardstick.quality(pick)
    ]:
        raise ReplayError(f"the answer of step {wrong[0].step} is not the recorded outcome")
    middle = len(picks) // 2
    by_id = dict(rows)
    return Report(
        lines=[yardstick.line("router", picks), *yardstick.references(picks)],
        halves=[
            (
                yardstick.line("router", half),
                yardstick.always("best single", half, yardstick.best_single),
            )
            for half in (picks[:middle], picks[middle:])
            if half
        ],
        rounds=traffic.rounds,
        books=compare(sent, world, rows, feedback_rows),
        sent=sent,
        propensity={
            item.step: by_id[item.request_id].propensity if item.request_id in by_id else None
            for item in sent
        },
        sending_s=traffic.sending_s,
        refreshing_s=sum(item.refresh_s for item in traffic.rounds),
        late_s=traffic.late_s,
        models_used=len({item.model for item in sent}),
    )


def _pick(sent: Sent) -> Pick:
    return Pick(step=sent.step, item=sent.item, model=sent.model)
