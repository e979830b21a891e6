"""Request documents: each request in the shape that a document store holds, from `request_documents`.

    {"_id", "timestamp", "user_id",
     "routing_decision": {"selected_model", "reason", "alternatives_considered", "decision_factors"},
     "performance_metrics": {"cost_usd", "latency_ms", "tokens": {"input", "output"}}}

A document without a known value holds null. Moments are text in UTC. Money is a double: its shortest text
has all digits of an amount below $1,000. A target follows the warehouse: documents of requests that were
erased or have expired are removed.

The parts of the documents are ranges of ids. Ids begin with their moment, so a part is 17.5 minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.copies import remaining
from pipelines.copies.jsonl import JsonLines
from pipelines.copies.mongodb import Collection, is_mongodb
from pipelines.copies.published import Part
from pipelines.errors import CopyError
from pipelines.reports.reports import opened
from pipelines.warehouse import sqlfiles
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    import duckdb

    from router.config import Settings

    Document = dict[str, Any]

BATCH = 1000
"""Documents in memory at once."""
MAX_NAMED = 8
"""Refused documents that an error names."""


@dataclass(slots=True, kw_only=True)
class ExportResult:
    """The result of one export."""

    target: str
    documents: int = 0
    """Documents that the target holds now."""
    written: int = 0
    removed: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Documents that the target cannot hold, with the reason."""

    def raise_if_refused(self) -> None:
        """CopyError that names documents that were left out."""
        if self.refused:
            named = "; ".join(f"`{name}`: {why}" for name, why in list(self.refused.items())[:MAX_NAMED])
            raise CopyError(
                f"{len(self.refused)} documents are not in `{self.target}`, all others are: {named}."
                " Look at these requests with `intellirouter explain`"
            )


class DocumentTarget(Protocol):
    """A place that holds documents, while it is entered."""

    shown: str

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def held(self) -> Mapping[str, Part]:
        """The parts that the place holds."""

    def replace(
        self, part: str, content: Part | None, documents: Iterator[Document]
    ) -> tuple[int, int, dict[str, str]]:
        """Make these the only documents of the part. Returns (written, removed, refused)."""

    def finish(self) -> tuple[int, int]:
        """Called after the last part. Returns documents that it has (written, removed) itself."""


def export_documents(
    settings: Settings, target: str, *, collection: str = "request_documents"
) -> ExportResult:
    """Make the target's documents equal to the published warehouse's. Only parts that differ are written."""
    place: DocumentTarget = _place(target, collection)
    with opened(settings) as connection, place:
        result = ExportResult(target=place.shown)
        started_at = datetime.now(UTC)
        # Even an export that is stopped has written, so an erasure must know of the place.
        remaining.note_export(settings, place.shown)
        wanted = parts(connection)
        held = place.held()
        for part in sorted({*wanted, *held}):
            content = wanted.get(part)
            if content is not None and held.get(part) == content:
                continue
            found = documents(connection, part) if content else iter(())
            written, removed, refused = place.replace(part, content, found)
            result.written += written
            result.removed += removed
            result.refused.update(refused)
        written, removed = place.finish()
        result.written += written
        result.removed += removed
        result.documents = sum(content.rows for content in wanted.values()) - len(result.refused)
    remaining.note_export(settings, place.shown, complete_since=started_at)
    return result


def _place(target: str, collection: str) -> DocumentTarget:
    if is_mongodb(target):
        return Collection(target, collection)
    if "://" in target:
        scheme = target.partition("://")[0]
        raise ConfigError(
            f"documents cannot be exported to `{scheme}://`: name a file that ends in `.jsonl`, or a MongoDB"
            " database as mongodb://HOST/DATABASE, with `USER:PASSWORD@` before HOST"
        )
    if not target.endswith(".jsonl"):
        raise ConfigError(
            f"`{target}` cannot hold documents: name a file that ends in `.jsonl`, or mongodb://HOST/DATABASE"
        )
    return JsonLines(target)


def parts(connection: duckdb.DuckDBPyConnection) -> dict[str, Part]:
    """The parts of the documents, in the order of their ids."""
    found = connection.execute(sqlfiles.load("copies/document_parts").text).fetchall()
    return {name: Part(rows, digest) for name, rows, digest in found}


def documents(connection: duckdb.DuckDBPyConnection, part: str) -> Iterator[Document]:
    """The documents of a part, in the order of their ids."""
    found = connection.execute(sqlfiles.load("copies/documents").text, {"part": part})
    names = [item[0] for item in found.description or ()]
    while rows := found.fetchmany(BATCH):
        for row in rows:
            yield _document(dict(zip(names, row, strict=True)))


def _document(row: Document) -> Document:
    metrics = row["performance_metrics"]
    cost = metrics["cost_usd"]
    return {
        **row,
        "timestamp": moment_text(row["timestamp"]),
        "performance_metrics": {**metrics, "cost_usd": None if cost is None else float(cost)},
    }


def moment_text(moment: datetime) -> str:
    """A moment with milliseconds in UTC. Texts of this form sort as their moments do."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
