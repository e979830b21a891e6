"""The table `savings`: the saving of the router against BASELINE_MODEL over the last days.

The requests' candidates are read for it, so a large log is compared again at most once for each hour of
traffic. A small one is compared at each refresh.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.errors import EvaluationError
from pipelines.evaluation.savings import savings
from pipelines.warehouse import sqlfiles
from router.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.evaluation.savings import Saving
    from pipelines.warehouse.warehouse import Warehouse

SAVINGS_DAYS = 30
FEW_REQUESTS = 20_000
"""A log of no more requests is compared at each refresh: it takes less than a second."""
EVERY = timedelta(hours=1)


def compute_savings(warehouse: Warehouse) -> str | None:
    """Bring the table up to date. Return why it is empty, if it is."""
    settings = warehouse.settings
    latest = warehouse.value(sqlfiles.load("rollups/latest_record"), now=datetime.now(UTC))
    if settings.baseline_model is None or not isinstance(latest, datetime):
        warehouse.replace_rows("savings", [])
        return "there is no BASELINE_MODEL" if settings.baseline_model is None else "there are no requests"
    stored = warehouse.run("evaluation/whole_saving").fetchall()
    if stored:
        baseline, as_of, requests = stored[0]
        is_fresh = as_of <= latest < as_of + EVERY and requests > FEW_REQUESTS
        if baseline == settings.baseline_model and is_fresh:
            return None
    since = latest - timedelta(days=SAVINGS_DAYS)
    try:
        found = savings(settings, since=since, by=("organization", "task"), build=warehouse.connection)
    except ConfigError as error:
        return f"{error}; the table was left as it is"
    except EvaluationError as error:  # the baseline left the catalog, or its name is misspelt
        warehouse.replace_rows("savings", [])
        return f"BASELINE_MODEL: {error}"
    warehouse.replace_rows("savings", [_row(item, since, latest) for item in found])
    return None


def _row(found: Saving, since: datetime, as_of: datetime) -> dict[str, Any]:
    facts = asdict(found)
    keys = ("baseline", "environment", "scope", "organization_id", "task_type")
    figures = [name for name in facts if name not in (*keys, "is_policy", "source")]
    return {
        **{name: facts[name] for name in keys},
        "since": since,
        "as_of": as_of,
        **{name: facts[name] for name in figures},
    }
