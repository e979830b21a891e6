"""Which record of a segment was changed, removed or added, told by the rows that were loaded of it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import duckdb

from pipelines.warehouse.columns import JSON_TEXTS, as_in_file
from pipelines.warehouse.warehouse import configuration
from router.journal.segments import arrow_schema
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from router.config import Settings

_FIRST = """
with
    differences as (
        select id, moment, 'was removed' as what
        from loaded
        where id not in (select id from found where id is not null)

        union all

        select id, moment, 'was changed' as what
        from loaded
        where
            id in (select id from found)
            and not exists (
                from found
                where found.id = loaded.id and found.content is not distinct from loaded.content
            )

        union all

        select id, moment, 'was added' as what
        from found
        where id is null or id not in (select id from known)
    )

select id, what
from differences
order by moment, id, what
limit 1
"""


def first_difference(settings: Settings, dataset: str, path: Path) -> str | None:
    """The first record in which a segment's file differs from the rows loaded of it, and how.

    None when there is none, when the published warehouse has not loaded the segment, or when either
    cannot be read. A record whose id was loaded from another segment is no difference: it stands there.
    """
    try:
        with duckdb.connect(
            str(settings.warehouse_file), read_only=True, config=configuration(settings)
        ) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return _first_difference(connection, dataset, path)
    except (duckdb.Error, OSError):
        return None


def _first_difference(connection: duckdb.DuckDBPyConnection, dataset: str, path: Path) -> str | None:
    record = DATASETS[dataset]
    known = connection.execute(
        "select schema_version from pipeline.load_ledger"
        " where dataset = $dataset and name = $name and replaced_by is null and expired_at is null",
        {"dataset": dataset, "name": path.stem},
    ).fetchone()
    if known is None:
        return None
    names = arrow_schema(record, known[0]).names
    key = fields(record)[0].name
    facts = f"{key} as id, {record.MOMENT} as moment, row({', '.join(names)}) as content"
    for table, source in {
        "known": f"select {key} as id from {dataset}",  # noqa: S608 - names of our own contracts
        "loaded": f"select {facts} from (select {as_in_file(names)} from {dataset} where segment = $name)",  # noqa: S608
        "found": f"select {facts} from (select {_as_loaded(names)} from read_parquet($path,"  # noqa: S608
        " hive_partitioning = false))"
        if path.exists()
        else "from loaded limit 0",
    }.items():
        values = {"name": path.stem, "path": str(path)}
        used = {name: value for name, value in values.items() if f"${name}" in source}
        connection.execute(f"create temp table {table} as {source}", used)
    first = connection.execute(_FIRST).fetchone()
    return None if first is None else f"record `{first[0]}` {first[1]}"


def _as_loaded(names: Iterable[str]) -> str:
    """A file's columns with the one change that the load makes: what is no JSON becomes a JSON text."""
    return ", ".join(
        f"cast(if(json_valid({name}), {name}, to_json({name})) as varchar) as {name}"
        if name in JSON_TEXTS
        else name
        for name in names
    )
