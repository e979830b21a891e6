"""The processes that are killed: a router at a steady rate, a loader without a pause."""

from __future__ import annotations

import os
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from router.journal.journal import Journal
from router.records import Attempt, Candidate
from tests.crash import preload
from tests.crash.operations import key_of, log_of, refresh, settings_of
from tests.factories import request_record

if TYPE_CHECKING:
    from router.records import Record, RequestRecord

Sync = Literal["os", "group", "memory"]
RECORDS_PER_S = 2000
"""Half of them requests, half their audit trail."""
SEAL_INTERVAL_S = 0.15
"""Shorter than a router's life here, so that kills meet every step of sealing."""
GROUP_CALLERS = 16
"""Callers at once: with `group` each waits some milliseconds for its sync."""
BUFFER_S = 0.1
"""How long the control keeps acknowledged records in memory."""


def serve_forever(home: Path, acknowledged: Path, sync: Sync, control: Path | None) -> None:
    """Append at a steady rate; note each id once its append has returned."""
    if control is not None:
        preload.use(control)
    journal = Journal(
        home,
        seal_interval_s=SEAL_INTERVAL_S,
        max_bytes=1 << 20,
        sync="group" if sync == "group" else "os",
    )
    descriptor = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append_forever(rate_per_s: float) -> None:
        started, done, number = time.monotonic(), 0, 0
        buffer: list[Record] = []
        while True:
            due = int((time.monotonic() - started) * rate_per_s)
            for number in range(done, due):
                record = realistic_record(number)
                records: tuple[Record, ...] = (record, log_of(record))
                if sync == "memory":
                    buffer += records
                else:
                    journal.append(*records)
                lines = "".join(f"{item.DATASET}\t{key_of(item)}\t{record.user_id}\n" for item in records)
                os.write(descriptor, lines.encode())
            if sync == "memory" and due // int(rate_per_s * BUFFER_S) != done // int(rate_per_s * BUFFER_S):
                journal.append(*buffer)
                buffer.clear()
            done = due
            time.sleep(0.001)

    callers = GROUP_CALLERS if sync == "group" else 1
    rate_per_s = RECORDS_PER_S / 2 / callers
    for _ in range(callers - 1):
        threading.Thread(target=append_forever, args=(rate_per_s,), daemon=True).start()
    append_forever(rate_per_s)


def realistic_record(number: int) -> RequestRecord:
    """What a routed request leaves."""
    model = ("small", "medium", "large")[number % 3]
    return request_record(
        organization_id=f"org{number % 5}",
        user_id=f"user{number % 50}",
        model_selected=model,
        model_decided=model,
        provider="fake",
        snapshot_id="a" * 16,
        snapshot_age_s=1.5,
        tokens_input=100 + number % 900,
        tokens_output=50,
        usage_source="provider",
        cost_usd=Decimal(number % 1000).scaleb(-6),
        price_id="fake/2026-01-01",
        status_code=200,
        candidates=[
            Candidate(model=name, is_eligible=True, quality=0.8, cost_usd=0.001, utility=0.7, probability=0.3)
            for name in ("small", "medium", "large")
        ],
        attempts=[Attempt(model=model, provider="fake", status_code=200, latency_ms=812.5)],
    )


def refresh_forever(home: Path, control: Path | None) -> None:
    """What the refresh job does, again and again."""
    if control is not None:
        preload.use(control)
    while True:
        refresh(settings_of(home))
        time.sleep(0.05)
