"""Made traffic: hours of two organisations on two models and two tasks."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.pipelines.helpers import make_record, seal_records

if TYPE_CHECKING:
    from router.config import Settings
    from router.records import RequestRecord

START = datetime(2026, 6, 1, tzinfo=UTC)
"""A Monday."""
HOUR = timedelta(hours=1)


def after(hours: float) -> datetime:
    """A moment that lies so many hours after START."""
    return START + hours * HOUR


def hour_of(index: int, *, per_hour: int = 12, **changes: Any) -> list[RequestRecord]:
    """The requests of one hour. `changes` are fields of all requests of acme."""
    rng, records = random.Random(index), []
    for organization in ("acme", "beta"):
        for _ in range(per_hour):
            at = after(index) + timedelta(seconds=rng.uniform(0, 3590))
            fields: dict[str, Any] = {
                "organization_id": organization,
                "api_key_id": f"key_{organization}",
                "task_type": rng.choice(("chat", "math")),
                "model_selected": rng.choice(("small", "large")),
                "tokens_output": int(50 * rng.lognormvariate(0, 0.3)),
                "cost_usd": Decimal(f"{0.002 * rng.lognormvariate(0, 0.3):.9f}"),
                "latency_ms": 800 * rng.lognormvariate(0, 0.2),
                "finish_reason": "stop",
            }
            records.append(make_record(at, **(fields | (changes if organization == "acme" else {}))))
    return records


def seal_hours(settings: Settings, first: int, end: int, **changes: Any) -> None:
    """Seal the requests of the hours from `first` to `end`."""
    records = [record for index in range(first, end) for record in hour_of(index, **changes)]
    records.sort(key=lambda record: record.id)
    seal_records(settings, records)
