"""Records, segments sealed by the router's own code, and the refresh without Dagster around it."""

from __future__ import annotations

import itertools
import os
import random
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
import pytest

from pipelines import flow
from pipelines.warehouse.compliance import load_compliance
from pipelines.warehouse.registry import load_model_registry
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.journal.manifests import Manifest
from router.journal.segments import seal
from router.records import DATASETS, FeedbackRecord, Record, RequestLog, RequestRecord, SecurityEvent
from tests.factories import feedback_record, request_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

NOW = datetime(2026, 6, 19, 12, 0, tzinfo=UTC)
_sequence = itertools.count(1)


def id_at(moment: datetime, rng: random.Random | None = None) -> str:
    """A UUIDv7 that embeds `moment`."""
    bits = int.from_bytes(os.urandom(10), "big") if rng is None else rng.getrandbits(80)
    millis = int(moment.timestamp() * 1000)
    value = millis << 80 | 0x7 << 76 | (bits >> 64 & 0xFFF) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
    return str(UUID(int=value))


def make_record(at: datetime = NOW, **changes: Any) -> RequestRecord:
    """A successful request at `at`, with any field changed."""
    record = request_record(
        id=id_at(at),
        timestamp=at,
        organization_id="acme",
        user_id="u1",
        model_selected="large",
        provider="fake",
        candidates=[],
        tokens_input=100,
        tokens_output=50,
        usage_source="provider",
        cost_usd=Decimal("0.0015"),
        status_code=200,
        latency_ms=800.0,
    )
    return replace(record, **changes)


def make_feedback(
    request: RequestRecord, value: float, at: datetime | None = None, **changes: Any
) -> FeedbackRecord:
    """A quality judgement of `request`."""
    moment = at or request.timestamp + timedelta(seconds=30)
    feedback = feedback_record(request.id, value, feedback_id=id_at(moment), created_at=moment)
    return replace(feedback, **changes)


def make_log(request: RequestRecord, **changes: Any) -> RequestLog:
    """The audit trail of `request`."""
    log = RequestLog(
        request_id=request.id,
        timestamp=request.timestamp,
        organization_id=request.organization_id,
        user_id=request.user_id,
        body_mode="full",
        request_data='{"messages":[]}',
    )
    return replace(log, **changes)


def make_event(at: datetime = NOW, **changes: Any) -> SecurityEvent:
    """Three refusals of a wrong key, the first at `at`."""
    event = SecurityEvent(
        id=id_at(at),
        timestamp=at,
        last_at=at,
        environment="production",
        kind="key",
        code="invalid_api_key",
        status_code=401,
        refusals=3,
        key_fingerprint="aa",
        ip_address="192.0.2.1",
    )
    return replace(event, **changes)


def seal_records(settings: Settings, records: Sequence[Record], writer_id: str = "w1") -> list[Manifest]:
    """Write records to a journal and seal it, as the router does."""
    manifests = []
    for dataset, kind in DATASETS.items():
        mine = [record for record in records if isinstance(record, kind)]
        if not mine:
            continue
        sequence = next(_sequence)
        journal = settings.home / f"{dataset}-{sequence}.jsonl"
        journal.parent.mkdir(parents=True, exist_ok=True)
        option = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
        journal.write_bytes(
            b"".join(
                orjson.dumps(record, default=lambda amount: f"{amount:f}", option=option) for record in mine
            )
        )
        manifests += seal(
            journal, dataset=dataset, writer_id=writer_id, sequence=sequence, lake=settings.lake
        )
        journal.unlink()
    return manifests


@contextmanager
def stopped_after(calls: int, steps: Iterable[tuple[Any, str]]) -> Iterator[None]:
    """A Ctrl-C before the call that follows `calls` of the steps: attributes named by their owner."""
    left = itertools.count(calls, -1)

    def stopping(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(left) <= 0:
                raise KeyboardInterrupt
            return function(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in steps:
            patch.setattr(owner, name, stopping(getattr(owner, name)))
        yield


def run_steps(warehouse: Warehouse) -> None:
    """The refresh without Dagster around it, up to what is published; no erasure is honoured."""
    flow.catch_up(warehouse)
    load_model_registry(warehouse)
    load_compliance(warehouse)
