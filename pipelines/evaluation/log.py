"""Recorded requests as arrays.

A request is a draw (its model was chosen with a known probability), stays with the draw of its
session (sticky), or had its model named (pinned, preferred, by an experiment). The last ones would
be the same under any policy, and are counted and left out. A sticky request shares the weight of the
draw that decided for it: another draw would have taken its whole session elsewhere.

The action is the model decided on. Its outcome includes the fallback when that model failed, and its
cost includes all attempts: another policy that decides on a failing model gets the same. Without such
requests, only the model's good days would be left.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.reports.reports import opened
from pipelines.warehouse import sqlfiles
from router.scores.board import tokens_bucket

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

    from router.config import Settings

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

MAX_REQUESTS = 200_000
"""More requests are sampled by session: intervals are narrow long before."""
ABSENT, ELIGIBLE, EXCLUDED, EXCLUDED_BY_POLICY = range(4)
"""The state of a model in a record. Another policy lifts only the last one."""
POLICY_MARK = "policy `"
"""Part of the reason of every exclusion that the policy asked for."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """Requests that a draw decided, as columns, with the number left out."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    organizations: tuple[str | None, ...]
    snapshots: tuple[str | None, ...]
    task: Ints
    """The task of each request, as an index into `tasks`."""
    organization: Ints
    """The organisation of each request, as an index into `organizations`."""
    draw_task: Ints
    """The task of the request that was drawn, as an index into `tasks`."""
    draw_bucket: Ints
    """`tokens_bucket` of the input when it was drawn. 0: not recorded."""
    snapshot: Ints
    """The scores that the draw read, as an index into `snapshots`."""
    action: Ints
    """The model that was decided on, as an index into `models`. -1 when it was not a candidate."""
    propensity: Floats
    """The probability with which the draw decided so."""
    odds: Floats
    """Request by model: the probabilities of the draw."""
    state: npt.NDArray[np.int8]
    """Request by model: one of ABSENT, ELIGIBLE, EXCLUDED, EXCLUDED_BY_POLICY at the draw."""
    cluster: Ints
    """Requests of one session depend on each other. A request without one is its own cluster."""
    cost_usd: Floats
    """NaN: unknown."""
    quality: Floats
    """NaN: not judged."""
    is_answered: npt.NDArray[np.bool_]
    """Whether there was an answer that could be judged."""
    looks: Floats
    """Request by number: how the answer looks to a program, as in LOOKS. NaN: unknown."""
    fallbacks: int
    """Requests that another model answered than the one decided on."""
    unchanged: int
    """Requests that named their model: the same under any policy."""
    unchanged_cost_usd: float
    left_out: int
    """Requests of sessions with a draw older than the window."""
    environment: str
    """Where they were made. A load test does not speak for the users of another environment."""
    elsewhere: int
    """Requests of other environments in the window."""
    kept_share: float
    """Share of the sessions that were read."""

    def select(self, kept: npt.NDArray[np.bool_]) -> Log:
        """The same with some of the requests."""
        return replace(self, **{name: getattr(self, name)[kept] for name in COLUMNS})


COLUMNS = (
    "task",
    "organization",
    "draw_task",
    "draw_bucket",
    "snapshot",
    "action",
    "propensity",
    "odds",
    "state",
    "cluster",
    "cost_usd",
    "quality",
    "is_answered",
    "looks",
)
LOOKS = ("cost_usd", "latency_ms", "tokens_input", "tokens_output", "retries", "is_cut", "is_fallback")
"""Columns of the SQL that may show how good an answer is, and so whether only some kinds are judged."""


def read_log(
    settings: Settings,
    *,
    since: datetime,
    until: datetime | None = None,
    task: str | None = None,
    environment: str | None = None,
    build: duckdb.DuckDBPyConnection | None = None,
) -> Log:
    """Read the requests of one environment from the published warehouse. Default: that of the scores.

    A refresh passes the connection of the database that it builds.
    """
    with contextlib.ExitStack() as stack:
        connection = build or stack.enter_context(opened(settings))
        if environment is None:
            scored = connection.execute(
                sqlfiles.load("marts/scored_environment").text,
                {"environment": settings.environment, "now": datetime.now(UTC)},
            ).fetchone()
            environment = settings.environment if scored is None else str(scored[0])
        ((total, elsewhere),) = connection.execute(
            sqlfiles.load("evaluation/requests_by_environment").text,
            {"since": since, "until": until, "own": environment},
        ).fetchall()
        kept = 1000 if total <= MAX_REQUESTS else max(1, 1000 * MAX_REQUESTS // total)
        table = connection.sql(
            sqlfiles.load("evaluation/logged_requests").text,
            params={"since": since, "until": until, "environment": environment, "kept": kept},
        ).to_arrow_table()
    return log_of(table, task=task, kept_share=kept / 1000, environment=environment, elsewhere=elsewhere)


def log_of(table: Any, *, task: str | None, kept_share: float, environment: str, elsewhere: int) -> Log:
    """Arrays of the rows of `sql/evaluation/logged_requests.sql`, a pyarrow Table, of one task or all."""
    ids = table.column("id").to_pylist()
    drawn_ids = table.column("drawn_id").to_pylist()
    strategies = table.column("strategy").to_pylist()
    place = {name: row for row, name in enumerate(ids)}
    draws_of_all = np.array([place.get(name, -1) if name else -1 for name in drawn_ids], dtype=np.int64)
    is_named = np.array([name not in ("thompson", "greedy", "sticky") for name in strategies], dtype=bool)
    cost = _floats(table, "cost_usd")
    tasks, task_of = _codes(table.column("task_type").to_pylist())
    sizes = table.column("tokens_input_estimated").to_pylist()
    buckets = np.array([0 if size is None else tokens_bucket(size) for size in sizes], dtype=np.int64)
    is_meant = np.array([task is None or tasks[code] == task for code in task_of], dtype=bool)
    kept = (draws_of_all >= 0) & is_meant
    models, odds, state = _candidates(table)
    draws = draws_of_all[kept]
    organizations, organization = _codes(table.column("organization_id").to_pylist())
    snapshots, snapshot = _codes(table.column("snapshot_id").to_pylist())
    _, cluster = _codes(
        [session or name for session, name in zip(table.column("session_id").to_pylist(), ids, strict=True)]
    )
    column = {model: index for index, model in enumerate(models)}
    decided = np.array([column.get(name, -1) for name in table.column("model_decided").to_pylist()], np.int64)
    return Log(
        models=models,
        tasks=tasks,
        organizations=organizations,
        snapshots=snapshots,
        task=task_of[kept],
        organization=organization[kept],
        draw_task=task_of[draws],
        draw_bucket=buckets[draws],
        snapshot=snapshot[draws],
        action=decided[draws],
        propensity=_floats(table, "propensity")[draws],
        odds=odds[draws],
        state=state[draws],
        cluster=cluster[kept],
        cost_usd=cost[kept],
        quality=_floats(table, "quality")[kept],
        is_answered=np.array(table.column("success").to_pylist(), dtype=bool)[kept],
        looks=np.column_stack([_floats(table, name) for name in LOOKS])[kept],
        fallbacks=int(np.sum(np.array(table.column("is_fallback").to_pylist(), dtype=bool)[kept])),
        unchanged=int(np.sum(is_named & is_meant)),
        unchanged_cost_usd=float(np.nansum(cost[is_named & is_meant])),
        left_out=int(np.sum((draws_of_all < 0) & ~is_named & is_meant)),
        kept_share=kept_share,
        environment=environment,
        elsewhere=elsewhere,
    )


def _candidates(table: Any) -> tuple[tuple[str, ...], Floats, npt.NDArray[np.int8]]:
    """Every model named by a record, and the matrices of probabilities and states."""
    import pyarrow.compute as pc

    lists = table.column("candidates").combine_chunks()
    entries = lists.flatten()
    rows = np.asarray(pc.list_parent_indices(lists), dtype=np.int64)
    named = entries.field("model").dictionary_encode()
    models = tuple(named.dictionary.to_pylist())
    columns = np.asarray(named.indices, dtype=np.int64)
    odds = np.zeros((table.num_rows, len(models)))
    odds[rows, columns] = np.asarray(pc.fill_null(entries.field("probability"), 0.0))
    asked = np.asarray(pc.fill_null(pc.match_substring(entries.field("exclusion"), POLICY_MARK), False))
    excluded = np.where(asked, EXCLUDED_BY_POLICY, EXCLUDED)
    state = np.full((table.num_rows, len(models)), ABSENT, dtype=np.int8)
    state[rows, columns] = np.where(np.asarray(entries.field("is_eligible")), ELIGIBLE, excluded)
    return models, odds, state


def _floats(table: Any, name: str) -> Floats:
    values = [np.nan if value is None else value for value in table.column(name).to_pylist()]
    return np.array(values, dtype=np.float64)


def _codes(values: list[Any]) -> tuple[tuple[Any, ...], Ints]:
    known: dict[Any, int] = {}
    codes = np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int64)
    return tuple(known), codes
