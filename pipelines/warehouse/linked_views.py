"""The views of records: rows of tables, and rows of the files that `linked` lists.

A view divides the files by day or month, with bounds on the moment, so that a query of some days opens no
other file.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.lake.versions import default_of
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.columns import HOUR_OF_REQUEST, as_read
from pipelines.warehouse.sqlfiles import SelectList, quoted_text
from router.journal.segments import arrow_schema
from router.records import DATASETS, FeedbackRecord, RequestLog, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pipelines.warehouse.sqlfiles import SqlFile
    from router.config import Settings

ADDED: Mapping[str, Mapping[str, str]] = {
    RequestRecord.DATASET: {},
    FeedbackRecord.DATASET: {"request_hour": HOUR_OF_REQUEST},
    RequestLog.DATASET: {"id": "source.request_id"},
}
"""The datasets whose segments are linked, with their table's columns that a file lacks."""
FOLDER = "segments"
PART = "_rows"
"""Ends the name of the table with the rows of a view that are not read in files."""
RECENT = timedelta(days=7)
"""The view divides the files of the newest days by day, older ones by month."""


def rows_table(dataset: str) -> str:
    """The table with those rows of a dataset that are not read in files."""
    return f"{dataset}{PART}" if dataset in ADDED else dataset


def folder(settings: Settings) -> Path:
    """The folder of the files that views read."""
    return settings.warehouse_file.absolute().parent / FOLDER


def follow(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Make the views again that are out of date: after a stop, a migration or a move of the data folder."""
    for dataset in ADDED:
        follow_one(connection, settings, dataset)


def view_file(dataset: str, columns: Sequence[str]) -> SqlFile:
    """The statement that makes a dataset's view, without files."""
    listed_columns = SelectList(",\n    ".join(columns))
    return sqlfiles.load("load/linked_view", view=dataset, table=rows_table(dataset), columns=listed_columns)


def part_file(dataset: str, version: int, columns: Sequence[str]) -> SqlFile:
    """The statement of a part in files of a schema version, with `$files`, `$start` and `$end` to fill."""
    found = expressions(dataset, version)
    return sqlfiles.load(
        "load/linked_part",
        view=dataset,
        table=rows_table(dataset),
        moment=DATASETS[dataset].MOMENT,
        columns=select_list(found, columns),
        files=SelectList("[$files]"),
        start=SelectList("$start"),
        end=SelectList("$end"),
    )


def follow_one(connection: duckdb.DuckDBPyConnection, settings: Settings, dataset: str) -> None:
    """Make one view again if it is out of date. It leaves out a lost file, and stays out of date then."""
    columns = columns_of(connection, dataset)
    state = f"{folder(settings)}: {', '.join(columns)}"
    found = connection.execute(
        "select state from pipeline.linked_views where dataset = $dataset", {"dataset": dataset}
    ).fetchone()
    if found == (state,):
        return
    connection.begin()
    try:
        linked = connection.execute(sqlfiles.load("load/linked_of").text, {"dataset": dataset}).fetchall()
        # A power cut takes a second name that was not synced. The next load links such a file again.
        there = [row for row in linked if path_of(settings, dataset, row[0]).exists()]
        connection.execute(view_of(settings, dataset, columns, there))
        connection.execute(sqlfiles.delete_equal("pipeline.linked_views", "dataset").text, {"value": dataset})
        if len(there) == len(linked):
            sqlfiles.insert_rows(connection, "pipeline.linked_views", [{"dataset": dataset, "state": state}])
    except BaseException:
        with contextlib.suppress(duckdb.Error):
            connection.rollback()
        raise
    connection.commit()


def columns_of(connection: duckdb.DuckDBPyConnection, dataset: str) -> list[str]:
    """The columns of a dataset's table, in order."""
    statement = sqlfiles.load("tables/columns_of").text
    found = connection.execute(statement, {"table": rows_table(dataset)}).fetchall()
    return [name for (name,) in found]


def view_of(
    settings: Settings, dataset: str, columns: Sequence[str], linked: Iterable[tuple[str, datetime, int]]
) -> str:
    """The statement that makes a dataset's view. DuckDB binds no parameters in a view."""
    days: dict[tuple[datetime, int], list[str]] = defaultdict(list)
    for name, first_at, version in linked:
        day = first_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        days[day, version].append(name)
    recent = max((day for day, _ in days), default=None)
    parts: dict[tuple[datetime, int], list[datetime]] = defaultdict(list)
    for day, version in sorted(days):
        is_recent = recent is not None and day > recent - RECENT
        parts[day if is_recent else day.replace(day=1), version].append(day)
    text = view_file(dataset, columns).text
    for (_, version), found in parts.items():
        files = [str(path_of(settings, dataset, name)) for day in found for name in days[day, version]]
        text += "\nunion all\n" + (
            _body(part_file(dataset, version, columns).text)
            .replace("$files", ",\n    ".join(quoted_text(path) for path in files))
            .replace("$start", _moment(found[0]))
            .replace("$end", _moment(found[-1] + timedelta(days=1)))
        )
    return text


def expressions(dataset: str, version: int) -> dict[str, str]:
    """SQL for each column of a dataset's table, from the files of a schema version."""
    record = DATASETS[dataset]
    known = set(arrow_schema(record, version).names)
    defaults = {item.name: _literal(default_of(item)) for item in fields(record) if item.name not in known}
    found = {name: defaults.get(name, text) for name, text in as_read(record).items()}
    return {**found, **ADDED[dataset], "segment": "parse_filename(source.filename, true)"}


def path_of(settings: Settings, dataset: str, name: str) -> Path:
    return folder(settings) / dataset / f"{name}.parquet"


def select_list(expressions: Mapping[str, str], names: Iterable[str]) -> SelectList:
    return SelectList(",\n    ".join(f"{expressions.get(name, 'null')} as {name}" for name in names))


def _body(text: str) -> str:
    """A statement without its header."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


def _literal(value: Any) -> str:
    """SQL for the default of a contract's field: NULL, a number, a text, or an empty list or map."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float | Decimal):
        return str(value).lower()
    if isinstance(value, str):
        return quoted_text(value)
    return "map {}" if isinstance(value, dict) else "[]"


def _moment(value: datetime) -> str:
    return f"timestamptz '{value:%Y-%m-%d %H:%M:%S}+00'"
