"""Score snapshots: the file that carries the scores from the pipelines to the router.

`scores/current.json` holds one immutable ScoreSnapshot. It is replaced whole by rename.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from router.errors import ScoresError
from router.files import version_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA_VERSION = 2
READABLE = (1, 2)
"""Versions that this release reads. Version 1 has no `quality_observed`."""
ALL_TASKS = "*"
"""The task_type of a model's row over all tasks."""
ANY_MODEL = "*"
"""The model of a task's row over all models: the expectation for a model unknown on the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """The scores of one model (or of `*`, any) on one task (or on `*`, all tasks)."""

    task_type: str
    model: str
    requests: int
    """0: the row is an expectation from the model's outcomes on other tasks."""
    requests_with_quality: int
    requests_with_cost: int
    effective_sample_size: float
    """Outcomes behind the quality estimate. Outcomes from before a change count for little, and the weight
    of the shrinkage does not count."""
    quality_mean: float | None
    """Posterior mean, 0..1, shrunk towards the task and the model's other tasks; None without any
    feedback. Of `*`: the mean over models."""
    quality_variance: float | None
    """Variance of that mean. Of `*`: the variance between models."""
    quality_low: float | None
    quality_high: float | None
    """95% interval of the mean."""
    cost_usd_mean: float | None
    """Per request, over the requests with a known cost."""
    cost_usd_per_input_token: float | None
    cost_usd_per_output_token: float | None
    tokens_input_mean: float | None
    tokens_output_mean: float | None
    success_rate: float | None
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    latency_ms_p99: float | None
    ttft_ms_p50: float | None
    ttft_ms_p95: float | None
    ttft_ms_p99: float | None
    quality_observed: float | None = None
    """Mean of the outcomes themselves, at their present weight, without any shrinkage. None without
    feedback and for `*`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSnapshot:
    """All score rows as of one moment."""

    snapshot_id: str
    """SHA-256 of the rows and `as_of`, so that equal scores have the same id."""
    schema_version: int
    as_of: datetime
    """The time of the latest record behind the scores."""
    published_at: datetime
    rows: tuple[ScoreRow, ...]

    @classmethod
    def of(cls, rows: Sequence[ScoreRow], *, as_of: datetime, published_at: datetime) -> ScoreSnapshot:
        """A snapshot named by its content."""
        ordered = tuple(sorted(rows, key=lambda row: (row.task_type, row.model)))
        return cls(
            snapshot_id=_content_id(ordered, as_of),
            schema_version=SCHEMA_VERSION,
            as_of=as_of,
            published_at=published_at,
            rows=ordered,
        )

    def to_json(self) -> bytes:
        """The file's content."""
        raw = asdict(self) | {
            "as_of": self.as_of.isoformat(),
            "published_at": self.published_at.isoformat(),
        }
        return json.dumps(raw, indent=1).encode()

    @classmethod
    def read(cls, path: Path) -> ScoreSnapshot:
        """The snapshot at `path`; ScoresError when it is corrupt, FileNotFoundError when absent."""
        from pydantic import TypeAdapter, ValidationError

        content = path.read_bytes()
        try:
            snapshot: ScoreSnapshot = TypeAdapter(cls).validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ScoresError(
                f"score file `{path}` is corrupt ({'.'.join(map(str, first['loc'])) or 'file'}:"
                f" {first['msg']}); run `intellirouter refresh` to publish it again"
            ) from error
        if snapshot.schema_version not in READABLE:
            raise ScoresError(
                f"score file `{path}` has schema version `{snapshot.schema_version}`, this router reads"
                f" `{READABLE[0]}` to `{READABLE[-1]}`; run the same release of the router and the pipelines"
            )
        if snapshot.snapshot_id != _content_id(snapshot.rows, snapshot.as_of):
            raise ScoresError(
                f"score file `{path}` does not match its own id `{snapshot.snapshot_id}`: it was changed"
                " after publication; run `intellirouter refresh` to publish it again"
            )
        return snapshot


def _content_id(rows: Sequence[ScoreRow], as_of: datetime) -> str:
    content = json.dumps([as_of.astimezone(UTC).isoformat(), [_content(row) for row in rows]])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _content(row: ScoreRow) -> dict[str, object]:
    """The row as it counts for the id. A field that version 1 lacks counts only where it is known, so that
    a file of version 1 keeps its id."""
    content = asdict(row)
    if row.quality_observed is None:
        del content["quality_observed"]
    return content


class ScoreSource(Protocol):
    """A source of snapshots."""

    def load(self) -> ScoreSnapshot | None:
        """The current snapshot, None if there is none yet; ScoresError if it is unusable."""

    def version(self) -> object:
        """Changes when `load` would return something else. It is cheap enough to read every second."""


class ScoreFile:
    """A ScoreSource on `scores/current.json`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> ScoreSnapshot | None:
        """See ScoreSource."""
        try:
            return ScoreSnapshot.read(self._path)
        except FileNotFoundError:
            return None

    def version(self) -> object:
        """See ScoreSource."""
        return version_of(self._path)
