"""How far retention has come, as a warehouse knows it.

The published copy is behind while a retention runs, and stays behind when one is stopped. The build
database tells then whether retention removed what is missing; it is read only while nobody uses it.
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
    """What retention has removed, or is about to."""

    cutoffs: dict[str, datetime] = field(default_factory=dict)
    """By dataset: everything before is gone, but for rows that are kept. Missing where it is not known."""
    expired: frozenset[tuple[str, str]] = frozenset()
    """Dataset and name of the segments whose rows went."""

    @property
    def days(self) -> dict[str, date]:
        """The cutoffs as days."""
        return {dataset: cutoff.date() for dataset, cutoff in self.cutoffs.items()}

    @classmethod
    def read(cls, connection: duckdb.DuckDBPyConnection) -> Progress:
        """What a warehouse knows; a copy that an earlier release published may know less."""
        tables = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
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
    """What the build database knows; nothing when there is none, it is in use or cannot be opened."""
    if not settings.build_file.exists():
        return Progress()
    try:
        # The lock, so that no run finds the file open; not the Warehouse's connection, which migrates.
        with (
            Warehouse(settings, lock_wait_s=0.0),
            duckdb.connect(
                str(settings.build_file), read_only=True, config=configuration(settings)
            ) as connection,
        ):
            return Progress.read(in_utc(connection))
    except (WarehouseBusyError, duckdb.Error, OSError):
        return Progress()
