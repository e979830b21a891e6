"""LiteLLM's spend logs (`LiteLLM_SpendLogs`) as request records.

A row is imported once, by its `request_id`, in however many files it comes. A row that is no request is
left out and named with its cause. LiteLLM writes 0 where it does not know a price or a count, so those
are NULL here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.importing import lakes
from pipelines.importing.sources import Source, open_source
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.warehouse import configuration, in_zone
from router.catalog.entries import DEFAULT_TASKS
from router.records import RequestRecord
from router.tasks.tasks import task_of

if TYPE_CHECKING:
    from router.config import Settings

TABLE = "LiteLLM_SpendLogs"
KIND = "litellm-logs"
WANTED = (
    "request_id", "startTime", "endTime", "completionStartTime", "request_duration_ms", "call_type",
    "api_key", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "model", "model_group",
    "custom_llm_provider", "user", "metadata", "cache_hit", "request_tags", "team_id", "organization_id",
    "end_user", "messages", "session_id", "status",
)  # fmt: skip
"""The columns that are read. Without the first two, no row can be placed."""
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)
"""A clock may be wrong by that much."""
NAMED = 20
"""Rows that are named one by one. All are counted."""
_PARTS = 2000
"""Texts that are classified in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row that was left out."""

    row: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The result of one import."""

    source: str
    rows: int
    added: int
    segments: int
    known: int
    """Requests that the lake had already."""
    duplicates: int
    """Further rows with a `request_id` of the same source."""
    refused: int
    faults: tuple[Fault, ...]
    """The first of the refused rows."""
    without_cost: int
    """New requests whose cost is unknown."""
    zero_with_tokens: int
    """Those of them with tokens and a spend of 0: LiteLLM had no price."""
    unread: tuple[str, ...]
    """Columns of the source that are not kept."""


def import_logs(settings: Settings, target: str, *, time_zone: str = "UTC") -> Imported:
    """Import a file, or the table at a postgresql:// address, into a lake of imports.

    Moments without an offset are read in `time_zone`. ImportSourceError, with nothing written, if the source
    cannot be read or the folder holds own traffic.
    """
    with lakes.opened(settings) as lake, duckdb.connect(config=configuration(settings)) as connection:
        in_zone(connection, time_zone)
        scratch = settings.home / "imports"
        source = open_source(connection, target, WANTED, TABLE, scratch)
        connection.execute(
            sqlfiles.load("importing/spend_rows").text,
            {"earliest": EARLIEST, "latest": datetime.now(UTC) + AHEAD},
        )
        lake.note_known(connection, "known", RequestRecord.DATASET, "provider_request_id")
        connection.execute(sqlfiles.load("importing/spend_new").text)
        _guess_tasks(connection, settings)
        in_zone(connection, "UTC")
        tables = lakes.by_day(connection, connection.table("spend_new"), "importing/spend_records")
        segments = lake.add((RequestRecord.DATASET, table) for table in tables)
        result = _result(connection, source, segments)
        lake.finish(KIND, result)
    return result


def _guess_tasks(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Make `guesses`: the task of each request whose text was logged, as the router would guess it."""
    import pyarrow as pa

    texts = connection.table("spend_rows").filter("messages like '[%'").project("row, messages")
    classifier = _classifier(settings)
    known = frozenset(DEFAULT_TASKS)
    found = []
    for batch in texts.to_arrow_table().to_batches(max_chunksize=_PARTS):
        for row, messages in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            text = _last_text(messages)
            task = None if text is None else task_of(None, {}, text, known, classifier)
            if task is not None and task.source != "default":
                found.append((row, task.task_type, task.source, task.confidence))
    columns: list[tuple[Any, ...]] = list(zip(*found, strict=True)) or [(), (), (), ()]
    kinds = {"row": pa.int64(), "task_type": pa.string(), "source": pa.string(), "confidence": pa.float64()}
    arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds.values(), strict=True)]
    connection.from_arrow(pa.Table.from_arrays(arrays, names=list(kinds))).create("guesses")


def _classifier(settings: Settings) -> Any:
    """The task classifier of the data folder, if a person put one there."""
    from router.tasks.classifier import ClassifierFile, TaskClassifier
    from router.tasks.features import FeatureSpace

    if not settings.classifier_file.exists() or not settings.features_key_file.exists():
        return None
    space = FeatureSpace(settings.features_key_file.read_bytes())
    return TaskClassifier(ClassifierFile.read(settings.classifier_file), space)


def _last_text(messages: str) -> str | None:
    """The text of the last message of the user. None if there is none."""
    try:
        found = json.loads(messages)
    except ValueError:
        return None
    for message in reversed(found):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                parts = [part.get("text") for part in content if isinstance(part, dict)]
                content = "\n".join(part for part in parts if isinstance(part, str))
            return content if isinstance(content, str) and content else None
    return None


def _result(connection: duckdb.DuckDBPyConnection, source: Source, segments: int) -> Imported:
    (counted,) = connection.execute(sqlfiles.load("importing/spend_counts").text).fetchall()
    rows, requests, distinct, added, refused, without_cost, zeros = map(int, counted)
    bad = connection.table("spend_rows").filter("cause is not null").project("row, cause")
    faults = bad.order("row").limit(NAMED).fetchall()
    named = sorted([*source.refused, *((int(row), str(cause)) for row, cause in faults)])
    return Imported(
        source=source.name,
        rows=rows + source.refused_lines,
        added=added,
        segments=segments,
        known=distinct - added,
        duplicates=requests - distinct,
        refused=refused + source.refused_lines,
        faults=tuple(Fault(row=row, cause=cause) for row, cause in named[:NAMED]),
        without_cost=without_cost,
        zero_with_tokens=zeros,
        unread=tuple(sorted(set(source.columns) - set(source.found.values()))),
    )
