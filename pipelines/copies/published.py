"""The tables of the published warehouse, and the parts that their copies follow.

The list is the catalogue of the published file, so that a new table or mart is copied without a change
here. Views are copied as tables. A part of a table is, in this order: a segment, if its rows have one. A
day, by its first moment that is always known. The whole table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pipelines.copies.kinds import Copied, copied
from pipelines.warehouse import descriptions, sqlfiles
from pipelines.warehouse.sqlfiles import SelectList, quoted_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from pipelines.warehouse.sqlfiles import SqlFile

SEGMENT = "segment"
WHOLE = "all"
"""The only part of a table without segments and moments."""
_MOMENTS = ("DATE", "TIMESTAMP WITH TIME ZONE")


class Part(NamedTuple):
    """The content of a part."""

    rows: int
    digest: str


@dataclass(frozen=True)
class PublishedTable:
    """A table, with its columns as copies hold them."""

    name: str
    columns: tuple[Copied, ...]
    moment: str | None
    """The column that gives a row its day. None if segments or nothing divides the rows."""
    is_raw: bool
    """Whether segments divide the rows. A row then has a key, its first column."""

    @property
    def slicing(self) -> Literal["segments", "days", "all"]:
        """How rows are divided into parts."""
        return "segments" if self.is_raw else "days" if self.moment else "all"

    @property
    def key(self) -> Copied:
        """The first column. It identifies a row of a raw table."""
        return self.columns[0]

    @cached_property
    def part(self) -> str:
        """The part of a row, in DuckDB."""
        if self.is_raw:
            return SEGMENT
        if self.moment:
            return f"strftime(cast({quoted_name(self.moment)} as date), '%Y-%m-%d')"
        return f"'{WHOLE}'"

    @property
    def parts_file(self) -> SqlFile:
        """The statement that digests each part. A raw row does not change, so its key is enough."""
        digested = self.columns[:1] if self.is_raw else self.columns
        return sqlfiles.load(
            "copies/parts",
            table=self.name,
            part=SelectList(self.part),
            digested=SelectList(", ".join(column.quoted for column in digested)),
        )

    @property
    def rows_file(self) -> SqlFile:
        """The statement that reads the rows of parts."""
        return sqlfiles.load(
            "copies/rows",
            table=self.name,
            part=SelectList(self.part),
            columns=SelectList("\n    " + ",\n    ".join(column.expression for column in self.columns)),
        )


DOCUMENTS = ("request_documents",)
"""Views that document stores get. Their content is in the tables too."""


def tables(connection: duckdb.DuckDBPyConnection) -> list[PublishedTable]:
    """Every table that people query, raw tables first."""
    found = [
        _published(table)
        for table in descriptions.tables(connection)
        if "." not in table.name  # the schema `pipeline` is the pipelines' own
        and table.name not in DOCUMENTS
        and not descriptions.is_part(table.name)
    ]
    return sorted(found, key=lambda table: (not table.is_raw, table.name))


def _published(table: descriptions.Table) -> PublishedTable:
    is_raw = any(column.name == SEGMENT for column in table.columns)
    moments = (
        column.name
        for column in table.columns
        # A view does not say which of its columns are always known; its first moment is.
        if column.kind in _MOMENTS and (table.relation == "view" or not column.is_nullable)
    )
    return PublishedTable(
        name=table.name,
        columns=tuple(copied(column) for column in table.columns),
        moment=None if is_raw else next(moments, None),
        is_raw=is_raw,
    )


def parts(connection: duckdb.DuckDBPyConnection, table: PublishedTable) -> dict[str, Part]:
    """The parts of a table, in order."""
    found = connection.execute(table.parts_file.text).fetchall()
    return {name: Part(rows, digest) for name, rows, digest in found}


def batches(
    connection: duckdb.DuckDBPyConnection, table: PublishedTable, names: Sequence[str], rows: int
) -> Any:
    """The rows of parts, as a reader of Arrow batches."""
    relation = connection.sql(table.rows_file.text, params={"parts": list(names)})
    return relation.to_arrow_reader(rows)
