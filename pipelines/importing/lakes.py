"""A lake of imports: whose it is, the requests that it knows, and new segments.

`imports.json` in the data folder marks it, with a line for each import. A folder with own traffic is
refused: imported requests have other models, prices and callers, and no total over both means anything.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.errors import ImportSourceError
from pipelines.lake.reading import scan
from pipelines.warehouse import sqlfiles
from router.errors import ConfigError
from router.files import locked, make_folder, sync_folder, synced_together, write_atomically
from router.journal.places import CHAINS, EVERY_HOUR
from router.journal.segments import arrow_schema, write_segment
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import duckdb

    from router.config import Settings

MARKER = "imports.json"
COMPLETE = "complete"
"""The file that says that every staged segment is whole and durable."""
WRITER_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One finished import."""

    kind: str
    """`litellm-logs`, `tensorzero-logs`."""
    source: str
    imported_at: str
    rows: int
    """Rows of the source."""
    added: int
    """New requests."""
    refused: int
    """Rows that could not be read."""


class Summary(Protocol):
    """The result of an import, as far as it is kept: see the fields of Import."""

    @property
    def source(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def added(self) -> int: ...
    @property
    def refused(self) -> int: ...


@contextmanager
def opened(settings: Settings) -> Iterator[ImportLake]:
    """The lake of imports of a data folder, for one import at a time.

    ImportSourceError, with nothing written, if the folder holds own traffic.
    """
    marker = settings.home / MARKER
    if not marker.exists():
        for name in ("lake", "journal"):
            folder = settings.home / name
            if folder.exists() and any(path.is_file() for path in folder.rglob("*")):
                raise ImportSourceError(
                    f"`{settings.home}` holds own traffic (`{folder}`): name another folder with --home."
                    " Imported requests have a lake of their own"
                )
    with locked(marker):
        yield ImportLake(settings, _read(marker))


class ImportLake:
    """The lake of imports, while no other import writes it.

    New segments are written into `imports/lake`, synced together, and moved into the lake. A stop before
    the sync leaves nothing. After it, the next import moves the rest.
    """

    def __init__(self, settings: Settings, done: list[Import]) -> None:
        self._marker = settings.home / MARKER
        self._done = done
        self._lake = settings.lake
        self._staging = settings.home / "imports"
        self._staged = self._staging / "lake"
        self._complete = self._staging / COMPLETE
        if self._complete.exists():
            self._move()
        shutil.rmtree(self._staged, ignore_errors=True)

    def files(self, dataset: str) -> list[str]:
        """The Parquet files of a dataset."""
        return [str(segment.path) for segment in scan(self._lake, dataset).segments]

    def note_known(self, connection: duckdb.DuckDBPyConnection, name: str, dataset: str, column: str) -> None:
        """Make the table `name` of a column of the rows that the lake holds."""
        if files := self.files(dataset):
            connection.read_parquet(files).project(column).create(name)
        else:
            connection.sql(f"select cast(null as varchar) as {column} limit 0").create(name)

    def add(self, tables: Iterable[tuple[str, Any]]) -> int:
        """Add rows: pairs of a dataset and a pyarrow Table, sorted by its moment. No hour is in two tables.

        A table has some of the dataset's columns. The others are NULL, or empty lists. Returns the number of
        segments, one for each hour.
        """
        writer_id = uuid.uuid4().hex[:WRITER_DIGITS]
        sequences: Counter[str] = Counter()
        with synced_together():
            for dataset, table in tables:
                for hour, rows in _hours(dataset, table):
                    sequences[dataset] += 1
                    write_segment(
                        rows,
                        dataset=dataset,
                        writer_id=writer_id,
                        sequence=sequences[dataset],
                        hour=hour,
                        lake=self._staged,
                    )
        make_folder(self._staging)
        if sequences:
            write_atomically(self._complete, b"")
        self._write()  # before the first segment: it is never taken for own traffic
        if sequences:
            self._move()
        return sequences.total()

    def finish(self, kind: str, result: Summary) -> None:
        """Note a finished import."""
        self._done.append(
            Import(
                kind=kind,
                source=result.source,
                imported_at=datetime.now(UTC).isoformat(timespec="seconds"),
                rows=result.rows,
                added=result.added,
                refused=result.refused,
            )
        )
        self._write()

    def _write(self) -> None:
        make_folder(self._marker.parent)
        content = json.dumps([asdict(item) for item in self._done], indent=1)
        write_atomically(self._marker, content.encode() + b"\n")

    def _move(self) -> None:
        """Move the staged files into the lake: data first, then manifests, then the heads of the chains."""
        if not self._lake.exists() and self._staged.exists():
            self._staged.replace(self._lake)
            sync_folder(self._lake.parent)
        data = sorted(self._staged.glob(f"*/{EVERY_HOUR}/*.parquet"))
        manifests = sorted(self._staged.glob(f"*/{EVERY_HOUR}/*.json"))
        heads = sorted(self._staged.glob(f"{CHAINS}/*/*.json"))
        with synced_together():
            for path in (*data, *manifests, *heads):
                target = self._lake / path.relative_to(self._staged)
                make_folder(target.parent)
                path.replace(target)
        shutil.rmtree(self._staged, ignore_errors=True)
        self._complete.unlink(missing_ok=True)


def by_day(connection: duckdb.DuckDBPyConnection, new: Any, key: str) -> Iterator[Any]:
    """The new records as a pyarrow Table for each day, so that memory follows a day and not the source.

    `new` is a relation with the column `day`, and `key` the statement of the records of `$day`.
    """
    text = sqlfiles.load(key).text
    for (day,) in new.project("day").distinct().order("day").fetchall():
        yield connection.sql(text, params={"day": day}).to_arrow_table()


def _hours(dataset: str, table: Any) -> Iterator[tuple[datetime, Any]]:
    """The rows of each hour, with every column of the dataset."""
    import pyarrow.compute as pc

    record = DATASETS[dataset]
    rows = _complete(table, arrow_schema(record), record.SCHEMA_VERSION)
    hours = pc.floor_temporal(rows.column(record.MOMENT), unit="hour").combine_chunks()
    start = 0
    for count in pc.value_counts(hours).to_pylist():
        yield count["values"].astimezone(UTC), rows.slice(start, count["counts"])
        start += count["counts"]


def _complete(table: Any, schema: Any, version: int) -> Any:
    """The table with every column of the schema, in its order."""
    import pyarrow as pa

    columns = []
    for item in schema:
        if item.name in table.column_names:
            columns.append(table.column(item.name).cast(item.type))
        elif item.name == "schema_version":
            columns.append(pa.repeat(pa.scalar(version, item.type), table.num_rows))
        elif pa.types.is_list(item.type):
            offsets = pa.repeat(pa.scalar(0, pa.int32()), table.num_rows + 1)
            columns.append(
                pa.ListArray.from_arrays(offsets, pa.array([], item.type.value_type), type=item.type)
            )
        elif pa.types.is_boolean(item.type):
            columns.append(pa.repeat(pa.scalar(False), table.num_rows))
        else:
            columns.append(pa.nulls(table.num_rows, item.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _read(marker: Path) -> list[Import]:
    try:
        return [Import(**item) for item in json.loads(marker.read_bytes())]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"`{marker}` cannot be read ({error}): write `[]` into it, if all requests of the folder are"
            " imported"
        ) from error
