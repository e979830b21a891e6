"""A small lake with everything that a fold must count, and the values at which engines differ."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.rollups.tables import GAMMA
from tests.pipelines.helpers import id_at, make_feedback, make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.config import Settings
    from router.records import Record, RequestRecord

START = datetime(2026, 10, 24, 21, tzinfo=UTC)
"""Zones of Europe turn their clocks back in the night after."""
HOURS = 8
LATER = timedelta(days=12)
"""A second run of hours begins so long after the first."""
PERSON = "person-4711"
COSTS = [
    None,
    Decimal(0),
    Decimal("0.000000000001"),
    Decimal("0.000012345500"),  # half a nano-dollar more than a whole number of them
    Decimal("0.000012346500"),
    Decimal("0.0000000005"),
    Decimal("1.2345678905"),
    Decimal("0.1"),
    Decimal("999.999999999999"),
    Decimal("1000.0000000005"),
    Decimal("999999999.999999999999"),
]
TOKENS = [None, 0, 1, 1023, 1024, 16383, 16384, 7_654_321, 10**12]
LATENCIES = [
    0.0,
    1e-9,
    0.0005,
    0.001,
    0.0015,
    1.0,
    GAMMA,
    GAMMA**7,
    GAMMA**-40,
    GAMMA**333,
    0.1 + 0.2,
    12.3455,
    999_999_999_999.9,
]
VALUES = [0.0, 1.0, 0.5, 0.1 + 0.2, 1 / 3, 0.0000005, 0.0000015, 0.9999995, 2**-40]
PROPENSITIES = [None, 0.0, 1e-12, 0.000999999, 0.001, 0.001, 0.01, 0.0100000001, 0.1, 1 / 3, 0.7, 1.0]
STRATEGIES = ["thompson", "thompson", "thompson", "sticky", "sticky", "greedy", "pinned", "experiment"]
TEXTS = [None, "", "acme", "ACME", "acme ", "ünïcode-☂", "it's; -- 'quoted'", "a\\b%_"]
"""Names at which engines could fold case, trim or escape."""


def write(settings: Settings, writers: Sequence[int], *, each: int, seed: int) -> list[RequestRecord]:
    """Requests of some hours from some writers, with judgements. Returns the requests."""
    rng = random.Random(seed)
    requests = []
    for hour, writer in itertools.product(range(HOURS), writers):
        start = START + timedelta(hours=hour) + (LATER if hour >= HOURS // 2 else timedelta())
        mine = [_request(start, rng) for _ in range(each)]
        mine += [_rare(start + timedelta(seconds=second), rng) for second in range(12)]
        seal_records(settings, mine, writer_id=f"w{writer}")
        seal_records(settings, _judgements(mine, rng), writer_id=f"w{writer}")
        requests += mine
    return requests


def late_judgements(requests: list[RequestRecord], seed: int = 12) -> list[Record]:
    """Judgements given days after their requests, and corrections of earlier ones."""
    rng = random.Random(seed)
    found: list[Record] = []
    for request in rng.sample(requests, len(requests) // 5):
        at = request.timestamp + timedelta(days=rng.randint(1, 20))
        found.append(make_feedback(request, rng.choice(VALUES), at, source=rng.choice(["user", "judge"])))
    return found


def _request(start: datetime, rng: random.Random) -> RequestRecord:
    millis = rng.choice([0, 1, 899_999, 900_000, 1_800_000, 3_599_999, rng.randrange(3_600_000)])
    at = start + timedelta(milliseconds=millis)
    model = rng.choice([None, "small", "large", "large", "ünïcode-☂"])
    is_known = rng.random() < 0.8
    in_experiment = rng.random() < 0.3
    changes: dict[str, Any] = {
        "id": id_at(at, rng),
        "environment": rng.choice(["production", "staging"]),
        "organization_id": rng.choice(TEXTS),
        "user_id": rng.choice([PERSON, "u1", "u2", None]),
        "session_id": rng.choice([None, "s1", "s2", "s3"]),
        "task_type": rng.choice(["math", "code"]),
        "model_selected": model,
        "model_decided": rng.choice([model, model, "small"]),
        "model_answered": rng.choice([None, "large-2026-01-01"]),
        "provider": rng.choice([None, "fake", "other"]),
        "strategy": rng.choice(STRATEGIES),
        "propensity": rng.choice(PROPENSITIES),
        "is_exploration": rng.random() < 0.2,
        "experiment_id": "e1" if in_experiment else None,
        "variant": rng.choice(["a", "b", None]) if in_experiment else None,
        "tokens_input": rng.choice(TOKENS) if is_known else None,
        "tokens_output": rng.choice(TOKENS) if is_known else None,
        "tokens_cached_input": rng.choice(TOKENS),
        "tokens_cache_write": rng.choice([None, 5]),
        "tokens_reasoning": rng.choice(TOKENS),
        "tokens_input_estimated": rng.choice(TOKENS),
        "cost_usd": rng.choice(COSTS),
        "baseline_cost_usd": rng.choice(COSTS),
        "price_id": rng.choice([None, "p1", "p2"]),
        "service_tier": rng.choice([None, "flex"]),
        "success": rng.random() < 0.9,
        "latency_ms": rng.choice([*LATENCIES, rng.lognormvariate(6, 1)]),
        "ttft_ms": rng.choice([None, *LATENCIES]),
        "overhead_ms": rng.choice([None, -3.5, 0.2]),
    }
    return make_record(at, **changes)


def _rare(at: datetime, rng: random.Random) -> RequestRecord:
    """A dear request that was hardly ever drawn: the sum of ten of them needs more than 64 bits."""
    drawn = {"strategy": "thompson", "model_decided": "large", "propensity": 0.001}
    return make_record(at, id=id_at(at, rng), cost_usd=Decimal(2000), **drawn)


def _judgements(requests: list[RequestRecord], rng: random.Random) -> list[Record]:
    """Judgements of a third, several of some: by each source, at one moment, of other metrics."""
    found: list[Record] = []
    for request in requests:
        for _ in range(rng.choice([0, 0, 0, 1, 1, 3])):
            at = request.timestamp + timedelta(seconds=rng.choice([5, 5, 30]))
            source = rng.choice(["user", "judge", "program"])
            metric = rng.choice(["quality", "quality", "quality", "tone"])
            found.append(make_feedback(request, rng.choice(VALUES), at, source=source, metric=metric))
    stray = make_feedback(requests[0], 1.0)
    strange = ["req-1", "0190163D-8694-739B-AEA5-66C26F8AD91A", "ffffffff-ffff-7fff-bfff-ffffffffffff", ""]
    found += [
        make_feedback(requests[0], 0.0, feedback_id=f"{stray.feedback_id}-{number}", request_id=request_id)
        for number, request_id in enumerate(strange)
    ]
    return found
