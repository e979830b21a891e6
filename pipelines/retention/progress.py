"""Reads from a warehouse how far retention has come.

The published copy is behind while a retention runs, and stays behind if it was stopped. Then the build
database shows whether retention removed a missing segment. It is read only while no process uses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import duckdb

from pipelines.errors import WarehouseBusyError
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.warehouse import Warehouse, configuration, in_utc
from router.records import FeedbackRecord, RequestRecord

if TYPE_CHECKING:
    from router.config import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The data that retention has removed, or is about to remove."""

    cutoffs: dict[str, datetime] = field(default_factory=dict)
    """By dataset: rows before are gone, except for kept ones. A dataset is missing if it is not known."""
    expired: frozenset[tuple[str, str]] = frozenset()
    """Dataset and name of each segment with removed rows."""

    @property
    def days(self) -> dict[str, date]:
        """The cutoffs as days."""
        return {dataset: cutoff.date() for dataset, cutoff in self.cutoffs.items()}

    @classmethod
    def read(cls, connection: duckdb.DuckDBPyConnection) -> Progress:
        """Read the progress from a warehouse. A copy that an earlier release published may hold less."""
        tables = {name for (name,) in connection.execute(sqlfiles.load("tables/names").text).fetchall()}
        found = connection.execute(sqlfiles.load("retention/expired_before").text).fetchone()
        cutoffs = {}
        if found and isinstance(found[0], datetime):
            cutoffs = dict.fromkeys((RequestRecord.DATASET, FeedbackRecord.DATASET), found[0].astimezone(UTC))
        if "retention_cutoffs" in tables:
            rows = connection.execute(sqlfiles.load("retention/cutoffs").text).fetchall()
            cutoffs |= {dataset: cutoff.astimezone(UTC) for dataset, cutoff in rows if dataset not in cutoffs}
        names = connection.execute(
            "select dataset, name from pipeline.load_ledger where expired_at is not null"
        ).fetchall()
        return cls(cutoffs=cutoffs, expired=frozenset(names))


def of_build(settings: Settings) -> Progress:
    """Read the progress from the build database. Empty if it is missing, in use or cannot be opened."""
    if not settings.build_file.exists():
        return Progress()
    try:
        # Take the lock, so that no run finds the file open. The Warehouse's own connection would migrate.
        with (
            Warehouse(settings, lock_wait_s=0.0),
            duckdb.connect(
                str(settings.build_file), read_only=True, config=configuration(settings)
            ) as connection,
        ):
            return Progress.read(in_utc(connection))
    except (WarehouseBusyError, duckdb.Error, OSError):
        return Progress()
