"""`scores/current.json`: the score file that the router reads.

A rename puts it in place, so that the router sees the old snapshot or the new one, whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.errors import WarehouseError
from pipelines.scores import scoring
from pipelines.warehouse import sqlfiles, thinning
from router.errors import ScoresError
from router.files import make_folder, write_atomically
from router.scores.snapshot import ScoreSnapshot

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.warehouse.warehouse import Warehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScores:
    """The current snapshot, and whether it is new."""

    snapshot: ScoreSnapshot | None
    is_new: bool


def publish_scores(warehouse: Warehouse) -> PublishedScores:
    """Write the current scores for the router, unless the published file already holds the same."""
    rows = scoring.score_rows(warehouse)
    if not rows:
        return PublishedScores(snapshot=None, is_new=False)
    current_file = warehouse.settings.scores_file
    snapshot = ScoreSnapshot.of(rows, as_of=_as_of(warehouse), published_at=datetime.now(UTC))
    standing = _standing(current_file)
    is_new = standing is None or standing.snapshot_id != snapshot.snapshot_id
    if is_new:
        make_folder(current_file.parent)
        content = snapshot.to_json()
        write_atomically(current_file.with_name(f"{snapshot.snapshot_id}.json"), content)
        write_atomically(current_file, content)
    elif standing is not None:
        snapshot = standing
    _remember(warehouse, snapshot)
    thinning.thin(warehouse, datetime.now(UTC))
    return PublishedScores(snapshot=snapshot, is_new=is_new)


def _as_of(warehouse: Warehouse) -> datetime:
    """The latest record the scores have seen, a request or a judgement."""
    moment = warehouse.value(sqlfiles.load("rollups/latest_record"), now=datetime.now(UTC))
    if not isinstance(moment, datetime):
        raise WarehouseError("there are scores but no rollups: run `intellirouter rebuild`")
    return moment.astimezone(UTC)


def _standing(path: Path) -> ScoreSnapshot | None:
    try:
        return ScoreSnapshot.read(path)
    except (FileNotFoundError, ScoresError):
        return None  # absent or corrupt: either way it is written again


def _remember(warehouse: Warehouse, snapshot: ScoreSnapshot) -> None:
    known = warehouse.value(
        "select count(*) from pipeline.published where snapshot_id = $snapshot_id",
        snapshot_id=snapshot.snapshot_id,
    )
    if known:
        return
    facts = {
        "snapshot_id": snapshot.snapshot_id,
        "as_of": snapshot.as_of,
        "published_at": snapshot.published_at,
    }
    with warehouse.transaction():
        warehouse.run("marts/model_performance_history", **facts)
        warehouse.insert("pipeline.published", [facts])
