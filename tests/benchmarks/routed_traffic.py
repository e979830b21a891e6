"""Do the scores rank two models rightly where traffic is routed by what also decides the outcome?

    python tests/benchmarks/routed_traffic.py [--seeds 20] [--requests 8000] [--smoke]

Half of the prompts are hard (quality 0.45 on the small model, 0.85 if easy); the large model is better
by 0.1 on both. In each world some of the traffic names the large model for hard prompts and the small
one for easy ones; the rest is drawn evenly. `sticky`: half of the sessions begin so, and hard ones are
four times as long. `policies`: nothing is named, but hard prompts draw the large model with 0.8, easy
ones with 0.2. `staging`: a load test of another environment judges the large model 0. Rows go through
the pipelines' own statements. Exit 1 when a seed ranks the small model first.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.rollups.tables import BLOCK, HOURLY
from pipelines.scores import outcomes
from pipelines.scores.change_detection import DISCOUNT
from pipelines.scores.quality_model import Outcomes, estimate
from pipelines.scores.versions import OLD_OUTCOMES
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.warehouse import in_memory
from router.config import Settings

if TYPE_CHECKING:
    import duckdb

START = datetime(2026, 1, 1, tzinfo=UTC)
WORLDS = ("named 0%", "named 50%", "named 80%", "named 90%", "sticky", "policies", "staging")
TASK = "math"


def rows_of(world: str, requests: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The requests of a world, each with its verdict."""
    share = float(world[6:-1]) / 100 if world.startswith("named") else 0.0
    rows: list[dict[str, Any]] = []
    while len(rows) < requests:
        is_hard = rng.random() < 0.5
        length = (8 if is_hard else 2) if world == "sticky" else 1
        is_named = rng.random() < (0.5 if world == "sticky" else share)
        chance = (0.8 if is_hard else 0.2) if world == "policies" else 0.5
        is_large = is_hard if is_named else rng.random() < chance
        session = f"s{len(rows)}" if length > 1 else None
        for turn in range(length):
            strategy = "pinned" if is_named else "thompson"
            drawn = chance if is_large else 1 - chance
            rows.append(
                _row(
                    len(rows),
                    model="large" if is_large else "small",
                    strategy="sticky" if turn else strategy,
                    propensity=1.0 if turn or is_named else drawn,
                    value=float(rng.random() < (0.45 if is_hard else 0.85) + (0.1 if is_large else 0.0)),
                    session_id=session,
                )
            )
    if world == "staging":
        rows += [
            _row(len(rows) + place, model="large", value=0.0, environment="staging")
            for place in range(requests // 2)
        ]
    return rows


def _row(place: int, **values: Any) -> dict[str, Any]:
    row = {
        "id": f"{place:08}",
        "timestamp": START + timedelta(seconds=8 * place),
        "environment": "production",
        "organization_id": None,
        "user_id": None,
        "session_id": None,
        "task_type": TASK,
        "strategy": "thompson",
        "propensity": 0.5,
    } | values
    return row | {"model_selected": row["model"], "model_decided": row["model"]}


def scores(connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Each model's quality by the pipelines' statements and estimates."""
    connection.register("made", pa.Table.from_pylist(rows))
    connection.execute(
        "create or replace temp table request_analytics as"
        " select * exclude (value, session_id, organization_id, user_id),"
        " cast(session_id as varchar) as session_id, cast(organization_id as varchar) as organization_id,"
        " cast(user_id as varchar) as user_id from made"
    )
    connection.execute(
        "create or replace temp table feedback as select id as request_id, id as feedback_id, value,"
        " 'user' as source, 'quality' as metric, timestamp as created_at,"
        " date_trunc('hour', timestamp) as request_hour from made"
    )
    connection.execute("delete from quality_blocks_hourly")
    end = START + timedelta(seconds=8 * len(rows) + 3600)
    blocks = sqlfiles.load("rollups/quality_blocks_hourly").text
    connection.execute(blocks, {"start": START, "end": end, **HOURLY["quality_blocks_hourly"]})
    found = connection.execute(
        sqlfiles.load("marts/quality_outcomes").text,
        {
            "start": START,
            "environment": "production",
            "group_size": BLOCK,
            "discount": DISCOUNT,
            "old_outcomes": OLD_OUTCOMES,
        },
    ).fetchall()
    counted = outcomes.count(
        outcomes.Part(
            cell=(task, model),
            is_drawn=is_drawn,
            source=source,
            outcomes=Outcomes(count, quality, squared),
            weight=weight,
            weight_squared=weight_squared,
        )
        for task, model, is_drawn, source, count, quality, squared, weight, weight_squared in found
    )
    beliefs = estimate({cell: item.outcomes for cell, item in counted.items()}, {TASK: 1.0}, {})
    return {model: beliefs[TASK, model].mean for model in ("large", "small")}


def main() -> int:
    """Print how often the order is right."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--smoke", action="store_true", help="1 seed")
    options = parser.parse_args()
    seeds = 1 if options.smoke else options.seeds
    wrong = 0
    with in_memory(Settings.load({}, home=Path("unused"))) as connection:
        for world in WORLDS:
            found = [
                scores(connection, rows_of(world, options.requests, np.random.default_rng(seed)))
                for seed in range(seeds)
            ]
            leads = [item["large"] - item["small"] for item in found]
            right = sum(lead > 0 for lead in leads)
            wrong += seeds - right
            print(
                f"{world:>10}: the order is right in {right} of {seeds} seeds; the lead (truth 0.1) is"
                f" {np.mean(leads):.3f}, at worst {min(leads):.3f}",
                flush=True,
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
