"""TensorZero's tables in ClickHouse, dumped as Parquet, as request records and feedback.

    FOLDER/ChatInference.parquet, or FOLDER/ChatInference/*.parquet, and the same of the other tables

An inference is one request. The tokens and the cost of its model inferences are added up.
Ids are TensorZero's own, so that a second import adds nothing. Rows that are no requests or judgements are
left out and named with their cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.errors import ImportSourceError
from pipelines.importing import lakes
from pipelines.importing.sources import first_line, text_columns
from pipelines.importing.spend_logs import AHEAD, EARLIEST, NAMED
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.warehouse import configuration, in_zone
from router.records import FeedbackRecord, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from router.config import Settings

KIND = "tensorzero-logs"
INFERENCES = (
    "id", "function_name", "variant_name", "episode_id", "processing_time_ms", "ttft_ms", "tags",
)  # fmt: skip
CALLS = (
    "id", "inference_id", "model_name", "model_provider_name", "input_tokens", "output_tokens",
    "response_time_ms", "ttft_ms", "cached", "finish_reason", "cost", "provider_cache_read_input_tokens",
    "provider_cache_write_input_tokens",
)  # fmt: skip
JUDGEMENTS = ("id", "target_id", "metric_name", "value", "tags")
TABLES: Mapping[str, tuple[Sequence[str], Mapping[str, Sequence[str]]]] = {
    "inferences": (("id", "function_name"), {"ChatInference": INFERENCES, "JsonInference": INFERENCES}),
    "model_inferences": (("id", "inference_id"), {"ModelInference": CALLS}),
    "judgements": (
        JUDGEMENTS[:4],
        {"BooleanMetricFeedback": JUDGEMENTS, "FloatMetricFeedback": JUDGEMENTS},
    ),
}
"""Relation: the columns that it needs, and its tables in the dump."""
UNREAD = ("CommentFeedback", "DemonstrationFeedback")
"""Tables of texts, which a judgement from 0 to 1 cannot hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row that was left out."""

    table: str
    row: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedTables:
    """The result of one import."""

    source: str
    rows: int
    """Inferences of the dump."""
    added: int
    """New requests."""
    without_cost: int
    """New requests whose cost is unknown."""
    judgements: int
    """Judgements of the dump."""
    judgements_added: int
    segments: int
    refused: int
    """Inferences and judgements that were left out."""
    faults: tuple[Fault, ...]
    """The first of them."""
    missing: tuple[str, ...]
    """Tables that the dump lacks."""
    unread: tuple[str, ...]
    """Tables and columns of the dump that are not kept."""


def import_tables(settings: Settings, folder: Path, *, quality: str | None = None) -> ImportedTables:
    """Import a folder of Parquet files into a lake of imports. `quality` is the metric that scores models.

    ImportSourceError, with nothing written, if a file cannot be read or the data folder holds own traffic.
    """
    found = {name: files_of(folder, name) for _, tables in TABLES.values() for name in tables}
    if not (found["ChatInference"] or found["JsonInference"]) or not found["ModelInference"]:
        raise ImportSourceError(
            f"`{folder}` lacks ChatInference.parquet (or JsonInference.parquet) or ModelInference.parquet:"
            " dump the tables of TensorZero as Parquet, one file or folder for each, named as the table"
        )
    with lakes.opened(settings) as lake, duckdb.connect(config=configuration(settings)) as connection:
        in_zone(connection, "UTC")
        unread = _read(connection, found)
        bounds: dict[str, Any] = {"earliest": EARLIEST, "latest": datetime.now(UTC) + AHEAD}
        connection.execute(sqlfiles.load("importing/tensorzero_rows").text, bounds)
        lake.note_known(connection, "known", RequestRecord.DATASET, "id")
        lake.note_known(connection, "known_feedback", FeedbackRecord.DATASET, "feedback_id")
        connection.execute(sqlfiles.load("importing/tensorzero_new").text)
        connection.execute(
            sqlfiles.load("importing/tensorzero_judgements").text, {**bounds, "quality": quality or ""}
        )
        feedback = connection.sql(sqlfiles.load("importing/tensorzero_feedback").text).to_arrow_table()
        new = connection.table("tensorzero_new")
        days = new.project("cast(date_trunc('day', timestamp at time zone 'UTC') as date) as day")
        requests = lakes.by_day(connection, days, "importing/tensorzero_records")
        segments = lake.add(
            chain(
                ((RequestRecord.DATASET, table) for table in requests),
                [(FeedbackRecord.DATASET, feedback)] if feedback.num_rows else [],
            )
        )
        faults = [*_faults(connection, "tensorzero_rows"), *_faults(connection, "tensorzero_judgements")]
        result = ImportedTables(
            source=str(folder),
            rows=_count(connection.table("tensorzero_rows")),
            added=_count(new),
            without_cost=_count(new.filter("cost_usd is null")),
            judgements=_count(connection.table("tensorzero_judgements")),
            judgements_added=feedback.num_rows,
            segments=segments,
            refused=len(faults),
            faults=tuple(faults[:NAMED]),
            missing=tuple(name for name, files in found.items() if not files),
            unread=(*(name for name in UNREAD if files_of(folder, name)), *unread),
        )
        lake.finish(KIND, result)
    return result


def files_of(folder: Path, table: str) -> list[Path]:
    """The Parquet files of a table: one of its name, or those in a folder of its name."""
    if not folder.is_dir():
        raise ImportSourceError(f"the folder `{folder}` does not exist: name a dump of TensorZero's tables")
    whole = folder / f"{table}.parquet"
    return [whole] if whole.is_file() else sorted((folder / table).glob("*.parquet"))


def _read(connection: duckdb.DuckDBPyConnection, found: Mapping[str, list[Path]]) -> list[str]:
    """Make the relations of TABLES, in which every value is text. Returns the columns that are not kept."""
    unread = []
    for relation, (needed, tables) in TABLES.items():
        parts = []
        for table, wanted in tables.items():
            try:
                if found[table]:
                    rows = connection.read_parquet([str(path) for path in found[table]], union_by_name=True)
                    source = text_columns(rows, wanted, table, needed)
                    source.relation.create(table)
                    unread += [f"{table}.{name}" for name in source.unread]
                    parts.append(connection.table(table).project(f"'{table}' as source, *"))
            except duckdb.Error as error:
                names = ", ".join(path.name for path in found[table][:3])
                raise ImportSourceError(f"`{names}` cannot be read: {first_line(error)}") from error
        if not parts:  # no judgements
            empty = ", ".join(f"cast(null as varchar) as {name}" for name in next(iter(tables.values())))
            parts.append(connection.sql(f"select '' as source, 0 as row, {empty} limit 0"))
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.union(part)
        whole.create(relation)
    return unread


def _faults(connection: duckdb.DuckDBPyConnection, relation: str) -> list[Fault]:
    bad = connection.table(relation).filter("cause is not null").project("source, row, cause")
    return [
        Fault(table=str(table), row=int(row), cause=str(cause))
        for table, row, cause in bad.order("source, row").fetchall()
    ]


def _count(relation: Any) -> int:
    ((counted,),) = relation.count("*").fetchall()
    return int(counted)
