"""Score snapshots: what the pipelines know, as the router reads it.

`scores/current.json` holds one immutable ScoreSnapshot; it is replaced whole by rename. A
ScoreBoard turns the snapshot, the catalog and a policy into one ranked table per task, once per
refresh, so that a decision is a look-up.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from math import erf, sqrt
from typing import TYPE_CHECKING, Protocol

from router.errors import ScoresError
from router.prices import Usage, cost
from router.records import Candidate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from router.catalog import Catalog, Model
    from router.policy import Policy

SCHEMA_VERSION = 1
ALL_TASKS = "*"
"""The task_type of a model's row over all tasks, to which sparse cells shrink."""
PRIOR_QUALITY = 0.5
"""Expected quality where nothing at all is known: no feedback and no `quality_scores`."""
PRIOR_WEIGHT = 2.0
"""Outcomes a quality prior counts for: small, so that the first real ones overrule it."""
CELL_WEIGHT = 10.0
"""Outcomes a model's overall mean counts for in a task of its own (k0 of the shrinkage)."""
TYPICAL_USAGE = Usage(tokens_input=500, tokens_output=250)
"""Prices are compared at this usage while no traffic tells the real one."""
EXPLORATION = 0.5
"""Share of the posterior variance that Thompson sampling draws from: a half has less regret than
the whole on recorded traffic of 10,000 to 18,000 requests (tests/benchmarks/offline_regret.py)."""
REFERENCE_WEIGHT = 50.0
"""Outcomes after which half of a model's chance of being best counts for the reference cost."""
GRID_POINTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """What is known of one model on one task (or on `*`, all tasks)."""

    task_type: str
    model: str
    requests: int
    requests_with_quality: int
    requests_with_cost: int
    effective_sample_size: float
    """Outcomes the quality estimate rests on, the shrinkage's own weight not counted."""
    quality_mean: float | None
    """Posterior mean, 0..1, shrunk to the model's overall mean; None without any feedback."""
    quality_variance: float | None
    """Variance of that mean."""
    quality_low: float | None
    quality_high: float | None
    """95% interval of the mean."""
    cost_usd_mean: float | None
    """Per request, over the requests whose cost is known."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSnapshot:
    """All score rows as of one moment."""

    snapshot_id: str
    """SHA-256 of the rows and `as_of`, so that equal knowledge has one name."""
    schema_version: int
    as_of: datetime
    """The latest record the scores have seen."""
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
        if snapshot.schema_version != SCHEMA_VERSION:
            raise ScoresError(
                f"score file `{path}` has schema version `{snapshot.schema_version}`, this router reads"
                f" `{SCHEMA_VERSION}`; run the same release of the router and the pipelines"
            )
        if snapshot.snapshot_id != _content_id(snapshot.rows, snapshot.as_of):
            raise ScoresError(
                f"score file `{path}` does not match its own id `{snapshot.snapshot_id}`: it was changed"
                " after publication; run `intellirouter refresh` to publish it again"
            )
        return snapshot


def _content_id(rows: Sequence[ScoreRow], as_of: datetime) -> str:
    content = json.dumps([as_of.astimezone(UTC).isoformat(), [asdict(row) for row in rows]])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


class ScoreSource(Protocol):
    """Where snapshots come from."""

    def load(self) -> ScoreSnapshot | None:
        """The current snapshot, None when there is none yet; ScoresError when it is unusable."""

    def version(self) -> object:
        """Changes when `load` would return something else; cheap enough to ask every second."""


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
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedTable:
    """Candidates of one (policy, task), most probable first."""

    candidates: tuple[Candidate, ...]
    """Every catalog model, as if all were eligible: `probability` sums to 1."""
    best: str | None
    """The model of highest utility."""


class ScoreBoard:
    """A snapshot seen through a catalog; immutable but for its cache of ranked tables."""

    def __init__(self, snapshot: ScoreSnapshot | None, catalog: Catalog) -> None:
        self.snapshot = snapshot
        self._catalog = catalog
        self._cells = {(row.task_type, row.model): row for row in snapshot.rows} if snapshot else {}
        self._tables: dict[tuple[str, int, str], RankedTable] = {}
        now = datetime.now(UTC)
        self._priced = {
            model.id: _as_float(cost(TYPICAL_USAGE, model, now)) for model in catalog.models.values()
        }

    def warm(self, policies: Mapping[str, Policy]) -> None:
        """Compute the tables of every task with traffic, off the request path."""
        for policy in policies.values():
            for task in {task for task, _ in self._cells}:
                self.table(policy, task)

    def table(
        self,
        policy: Policy,
        task_type: str,
        input_tokens_bucket: int | None = None,  # noqa: ARG002
    ) -> RankedTable:
        """The ranked table of a policy on a task, computed on first use."""
        key = (policy.id, policy.version, task_type)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = self._rank(policy, task_type)
        return table

    def quality(self, task_type: str, model: Model) -> tuple[float, float]:
        """(mean, variance) of the belief about the model's quality on the task."""
        cell = self._cells.get((task_type, model.id))
        if cell is not None and cell.quality_mean is not None and cell.quality_variance is not None:
            return cell.quality_mean, cell.quality_variance
        overall = self._cells.get((ALL_TASKS, model.id))
        if overall is not None and overall.quality_mean is not None:
            # Nothing seen on this task: the model's overall mean, as sure as CELL_WEIGHT outcomes.
            return overall.quality_mean, _variance(overall.quality_mean, CELL_WEIGHT)
        stated = model.quality_score(task_type)
        prior = PRIOR_QUALITY if stated is None else stated
        return prior, _variance(prior, PRIOR_WEIGHT)

    def cost_usd(self, task_type: str, model: Model) -> float | None:
        """Expected cost of a request of the task, from traffic, else from prices; None: not known."""
        for task in (task_type, ALL_TASKS):
            cell = self._cells.get((task, model.id))
            if cell is not None and cell.cost_usd_mean is not None:
                return cell.cost_usd_mean
        return self._priced[model.id]

    def latency_ms(self, task_type: str, model: Model) -> float | None:
        """Median latency from traffic; None when not known."""
        for task in (task_type, ALL_TASKS):
            cell = self._cells.get((task, model.id))
            if cell is not None and cell.latency_ms_p50 is not None:
                return cell.latency_ms_p50
        return None

    def reference_cost_usd(self) -> float | None:
        """Mean cost per request of the model that is best over all tasks: the unit of cost_weight.

        Which model that is stays uncertain while strong ones are close, so each one's cost counts
        by its chance of being best, and the less the fewer outcomes it has. The leader's cost alone
        would jump with the lead: where a cheap leader takes it the unit shrinks, cost rules, and
        the strong models are not tried again.
        """
        known = []
        for model in self._catalog.models.values():
            value = self.cost_usd(ALL_TASKS, model)
            cell = self._cells.get((ALL_TASKS, model.id))
            if value and cell is not None:
                known.append((*self.quality(ALL_TASKS, model), cell.effective_sample_size, value))
        if not known:
            prices = [value for value in self._priced.values() if value]
            return sum(prices) / len(prices) if prices else None
        chances = probabilities_of_best([item[0] for item in known], [item[1] for item in known])
        weights = [
            chance * sample_size / (sample_size + REFERENCE_WEIGHT)
            for chance, (_, _, sample_size, _) in zip(chances, known, strict=True)
        ]
        total = sum(weights)
        if total <= 0:  # no outcome is known yet: every cost counts alike
            weights, total = [1.0] * len(known), float(len(known))
        return sum(weight * item[3] for weight, item in zip(weights, known, strict=True)) / total

    def _rank(self, policy: Policy, task_type: str) -> RankedTable:
        models = list(self._catalog.models.values())
        reference = self.reference_cost_usd()
        beliefs = [self.quality(task_type, model) for model in models]
        costs = [self.cost_usd(task_type, model) for model in models]
        utilities = [
            # A cost nobody knows yet counts as the reference's: neither favoured nor shunned.
            mean - policy.cost_weight * (1.0 if value is None or not reference else value / reference)
            for (mean, _), value in zip(beliefs, costs, strict=True)
        ]
        shares = (
            probabilities_of_best(utilities, [EXPLORATION * variance for _, variance in beliefs])
            if policy.strategy == "thompson"
            else _all_on_the_best(utilities)
        )
        candidates = [
            Candidate(
                model=model.id,
                is_eligible=True,
                quality=beliefs[index][0],
                cost_usd=costs[index],
                latency_ms=self.latency_ms(task_type, model),
                utility=utilities[index],
                probability=shares[index],
            )
            for index, model in enumerate(models)
        ]
        candidates.sort(key=lambda item: (item.probability, item.utility), reverse=True)
        best = max(candidates, key=lambda item: item.utility or 0.0).model if candidates else None
        return RankedTable(candidates=tuple(candidates), best=best)


def probabilities_of_best(means: Sequence[float], variances: Sequence[float]) -> list[float]:
    """Thompson sampling's choice probabilities, by quadrature instead of by drawing.

    P(i is best) = ∫ Π_{j≠i} F_j(x) dF_i(x) over independent normals N(means[i], variances[i]).
    Exact to the grid and free of chance, so the propensity a record stores is the one that was
    used. The grid spans where the maximum can lie; `GRID_POINTS` cells.
    """
    count = len(means)
    if count < 2:
        return [1.0] * count
    deviations = [max(sqrt(variance), 1e-9) for variance in variances]
    low = max(mean - 5 * deviation for mean, deviation in zip(means, deviations, strict=True))
    high = max(mean + 5 * deviation for mean, deviation in zip(means, deviations, strict=True))
    step = (high - low) / GRID_POINTS
    below = [_normal_cdf((low - mean) / deviation) for mean, deviation in zip(means, deviations, strict=True)]
    shares = [0.0] * count
    for point in range(1, GRID_POINTS + 1):
        upper = low + point * step
        at = [
            _normal_cdf((upper - mean) / deviation) for mean, deviation in zip(means, deviations, strict=True)
        ]
        middle = [(left + right) / 2 for left, right in zip(below, at, strict=True)]
        # Products of all but one, from both ends: division would fail where a factor is 0.
        before = [1.0] * (count + 1)
        for index in range(count):
            before[index + 1] = before[index] * middle[index]
        after = 1.0
        for index in range(count - 1, -1, -1):
            shares[index] += (at[index] - below[index]) * before[index] * after
            after *= middle[index]
        below = at
    total = sum(shares)
    if total <= 0:
        return _all_on_the_best(means)
    return [share / total for share in shares]


def _all_on_the_best(utilities: Sequence[float]) -> list[float]:
    best = max(range(len(utilities)), key=utilities.__getitem__, default=-1)
    return [1.0 if index == best else 0.0 for index in range(len(utilities))]


def _normal_cdf(z: float) -> float:
    return 0.5 * (1.0 + erf(z / 1.4142135623730951))


def _variance(mean: float, weight: float) -> float:
    return max(mean * (1.0 - mean), 0.01) / (weight + 1.0)


def _as_float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
