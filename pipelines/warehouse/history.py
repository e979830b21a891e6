"""Restores `model_performance_history` after a rebuild, from the published score files.

Days before retention's cutoff come from the lake's archive. Retention keeps the score file of every
later snapshot in the history.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipelines.warehouse import sqlfiles
from router.errors import ScoresError
from router.scores.snapshot import ScoreSnapshot

if TYPE_CHECKING:
    import duckdb

    from router.config import Settings

_COLUMNS = (
    "snapshot_id",
    "as_of",
    "published_at",
    "task_type",
    "model",
    "requests",
    "requests_with_quality",
    "quality_mean",
    "quality_low",
    "quality_high",
    "cost_usd_mean",
    "success_rate",
    "latency_ms_p50",
    "latency_ms_p95",
    "tokens_output_mean",
)


def restore_history(connection: duckdb.DuckDBPyConnection, settings: Settings) -> int:
    """Restore every snapshot that the archive does not hold into an empty database. Returns their number."""
    known = {
        snapshot_id
        for (snapshot_id,) in connection.execute(
            "select distinct snapshot_id from model_performance_history"
        ).fetchall()
    }
    row = connection.execute(sqlfiles.load("retention/expired_before").text).fetchone()
    expired_before = row[0] if row else None
    connection.begin()
    restored = 0
    for path in sorted(settings.scores_file.parent.glob("*.json")):
        snapshot = None
        with contextlib.suppress(ScoresError, OSError):  # `doctor` names a file that cannot be used
            snapshot = ScoreSnapshot.read(path)
        if snapshot is None or snapshot.snapshot_id in known:
            continue
        if expired_before is not None and snapshot.as_of < expired_before:
            continue  # it is in the archive, or has expired there
        known.add(snapshot.snapshot_id)
        rows = [{**asdict(snapshot), **asdict(item)} for item in snapshot.rows if item.requests]
        if rows:
            sqlfiles.insert_rows(
                connection,
                "model_performance_history",
                [{name: item[name] for name in _COLUMNS} for item in rows],
            )
        restored += 1
    connection.execute(sqlfiles.load("retention/restore_published").text)
    connection.commit()
    return restored
