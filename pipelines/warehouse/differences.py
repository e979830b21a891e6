"""Finds the record of a segment that was changed, removed or added since the segment was loaded."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import duckdb

from pipelines.warehouse import sqlfiles
from pipelines.warehouse.columns import JSON_TEXTS, as_in_file, as_json
from pipelines.warehouse.sqlfiles import SelectList
from pipelines.warehouse.warehouse import configuration, in_utc
from router.journal.segments import arrow_schema
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipelines.warehouse.sqlfiles import SqlFile
    from router.config import Settings


def first_difference(settings: Settings, dataset: str, path: Path) -> str | None:
    """The first record in which a segment's file differs from the rows loaded from it, and how.

    None if they agree, if the published warehouse has not loaded the segment, or if either cannot be
    read. A record is not a difference if its id was loaded from another segment.
    """
    try:
        with duckdb.connect(
            str(settings.warehouse_file), read_only=True, config=configuration(settings)
        ) as connection:
            return _first_difference(in_utc(connection), dataset, path)
    except (duckdb.Error, OSError):
        return None


def _first_difference(connection: duckdb.DuckDBPyConnection, dataset: str, path: Path) -> str | None:
    known = connection.execute(
        "select schema_version from pipeline.load_ledger"
        " where dataset = $dataset and name = $name and replaced_by is null and expired_at is null",
        {"dataset": dataset, "name": path.stem},
    ).fetchone()
    if known is None:
        return None
    values = {"name": path.stem, "path": str(path)} if path.exists() else {"name": path.stem}
    statement = first_difference_file(dataset, known[0], has_file=path.exists())
    first = connection.execute(statement.text, values).fetchone()
    return None if first is None else f"record `{first[0]}` {first[1]}"


def first_difference_file(dataset: str, schema_version: int, *, has_file: bool) -> SqlFile:
    """The statement that compares a segment's file, or a missing file, with the rows loaded from it."""
    record = DATASETS[dataset]
    names = arrow_schema(record, schema_version).names
    return sqlfiles.load(
        "load/first_difference",
        table=dataset,
        key=fields(record)[0].name,
        moment=record.MOMENT,
        columns=tuple(names),
        as_in_file=as_in_file(names),
        as_loaded=_as_loaded(names),
        file=SelectList(
            "read_parquet($path, hive_partitioning = false)" if has_file else "loaded_rows limit 0"
        ),
    )


def _as_loaded(names: Iterable[str]) -> SelectList:
    """A file's columns with the change that the load makes: a text that is not JSON becomes a JSON string."""
    return SelectList(
        ", ".join(
            f"cast({as_json(name)} as varchar) as {name}" if name in JSON_TEXTS else name for name in names
        )
    )
