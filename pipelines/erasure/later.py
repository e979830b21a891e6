"""Tells the records of an erased person that came while they were erased from those that should be gone.

A person may go on to send requests. Those of after the erasure's moment stay, and the certificate names
their places. A journal that a router wrote meanwhile, and a segment that was sealed after the last load, are
pending: the next refresh erases them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.erasure.search import PERSON_COLUMN
from pipelines.warehouse import linked_views, sqlfiles
from pipelines.warehouse.warehouse import in_utc
from router.records import DATASETS
from router.request.usage import usage_root

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime
    from pathlib import Path

    from pipelines.warehouse.sqlfiles import SqlFile
    from router.config import Settings

MOMENTS = {dataset: record.MOMENT for dataset, record in DATASETS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """The records of a person from the erasure's moment on."""

    settings: Settings
    user: str
    erased_at: datetime
    loaded: Collection[str]
    """Segments in the ledger."""

    def pending(self, traces: Iterable[str]) -> set[str]:
        """Journals, and segments that were sealed since the last load, relative to the data folder."""
        found = set()
        for name in traces:
            path = self.settings.home / name
            is_open = path.is_relative_to(self.settings.home / "journal") and path.suffix == ".jsonl"
            is_new = self._dataset(path) and path.suffix == ".parquet" and path.stem not in self.loaded
            if is_open or is_new:
                found.add(name)
        return found

    def explains(self, traces: Iterable[str], columns: dict[str, set[str]]) -> set[str]:
        """The paths that hold the person only by records from the moment on."""
        found, usage = set(), usage_root(self.settings.home)
        for name in traces:
            path = self.settings.home / name
            if self._dataset(path):
                is_later = self._only_later_rows(path)
            elif path in (self.settings.build_file, self.settings.warehouse_file):
                is_later = self._only_later_tables(path, columns.get(str(path), set()))
            else:
                continue
            if is_later:
                found.add(name)
        if found:  # the files of usage follow from the tables
            found |= {name for name in traces if (self.settings.home / name).is_relative_to(usage)}
        return found

    def _dataset(self, path: Path) -> str | None:
        """The dataset of a file of the lake, or of one that the warehouse reads."""
        for root in (self.settings.lake, self.settings.home / "warehouse" / linked_views.FOLDER):
            if path.is_relative_to(root):
                name = path.relative_to(root).parts[0]
                return name if name in DATASETS else None
        return None

    def _only_later_rows(self, path: Path) -> bool:
        moment = MOMENTS[str(self._dataset(path))]
        try:
            with pq.ParquetFile(path) as file:
                rows = file.read(columns=[moment, PERSON_COLUMN])
        except (OSError, KeyError, pa.ArrowException):
            return False
        mine = rows.filter(pc.equal(rows.column(PERSON_COLUMN), self.user)).column(moment)
        return bool(len(mine)) and bool(pc.all(pc.greater_equal(mine, self.erased_at)).as_py())

    def _only_later_tables(self, path: Path, columns: Iterable[str]) -> bool:
        tables = {
            name.removesuffix(f".{PERSON_COLUMN}") for name in columns if name.endswith(f".{PERSON_COLUMN}")
        }
        if not tables or not tables <= MOMENTS.keys():
            return False
        values: dict[str, Any] = {"user": self.user, "erased_at": self.erased_at}
        with contextlib.suppress(duckdb.Error), duckdb.connect(str(path), read_only=True) as connection:
            in_utc(connection)
            return not any(
                connection.execute(_rows_before(table).text, values).fetchall() for table in tables
            )
        return False


def _rows_before(dataset: str) -> SqlFile:
    """The statement that finds a person's row of before the erasure. Rows in files are searched there."""
    return sqlfiles.load(
        "erasure/rows_before", table=linked_views.rows_table(dataset), moment=MOMENTS[dataset]
    )
