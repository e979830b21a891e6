"""The meaning of every table and column, one line each: `sql/columns.toml`.

The Dagster assets, `sql/README.md` and the comments in the warehouse all show these lines.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from pipelines.errors import WarehouseError
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.linked_views import PART

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

FILE = "columns.toml"
SHARED = "shared"
"""The section for columns with the same meaning in several tables."""
TABLE = "table"
"""The line of a section that describes its table."""
_REMOVED = "pipeline.removed_"
"""Rollups of removed rows have the columns of the rollup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a database, with its line. The line is None if the file has none."""

    name: str
    kind: str
    is_nullable: bool
    description: str | None
    comment: str | None
    """The line that the database shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table or view of a database, with its line. The line is None if the file has none."""

    name: str
    relation: str
    """`table` or `view`."""
    description: str | None
    comment: str | None
    columns: tuple[Column, ...]


@cache
def lines() -> Mapping[str, Mapping[str, str]]:
    """Read the file: sections by table, lines by column."""
    return tomllib.loads((sqlfiles.folder() / FILE).read_text(encoding="utf-8"))


def tables(connection: duckdb.DuckDBPyConnection) -> list[Table]:
    """Every table and view of a database, with its columns in order. The schema `pipeline` comes last."""
    columns: dict[str, list[Column]] = {}
    found = connection.execute(sqlfiles.load("tables/columns").text).fetchall()
    comments = {table: comment for table, comment, *_ in found}
    relations = {table: relation for table, *_, relation in found}
    nullable = {(table, name): is_nullable for table, _, name, _, is_nullable, *_ in found}
    for table, _, name, kind, is_nullable, comment, _ in found:
        columns.setdefault(table, []).append(
            Column(
                name=name,
                kind=kind,
                # Every column of a view is nullable for DuckDB.
                is_nullable=nullable.get((f"{table}{PART}", name), is_nullable),
                description=_line(table, name),
                comment=comment,
            )
        )
    return [
        Table(
            name=table,
            relation=relations[table],
            description=_line(table, TABLE),
            comment=comments[table],
            columns=tuple(items),
        )
        for table, items in columns.items()
    ]


def comment(connection: duckdb.DuckDBPyConnection) -> None:
    """Set each line as the comment on its table or column."""
    connection.begin()
    for table in tables(connection):
        named = {f"{table.relation} {table.name}": table} | {
            f"column {table.name}.{column.name}": column for column in table.columns
        }
        for name, item in named.items():
            if item.description != item.comment:
                connection.execute(f"comment on {name} is {_quoted(item.description)}")
    connection.commit()


def is_part(table: str) -> bool:
    """Whether a table only holds some rows of a view of records."""
    return table.endswith(PART)


def check(found: list[Table]) -> None:
    """Raise a WarehouseError that names each table or column without a line, and each line without either."""
    missing = [table.name for table in found if table.description is None]
    missing += [
        f"{table.name}.{column.name}"
        for table in found
        for column in table.columns
        if column.description is None
    ]
    names = {table.name: {TABLE, *(column.name for column in table.columns)} for table in found}
    stale = [
        f"{section}.{name}"
        for section, items in lines().items()
        if section != SHARED
        for name in items
        if name not in names.get(section, ())
    ]
    used = {
        column.name
        for table in found
        for column in table.columns
        if column.name not in lines().get(table.name, ())
    }
    stale += [f"{SHARED}.{name}" for name in lines()[SHARED] if name not in used]
    if missing or stale:
        raise WarehouseError(
            f"`sql/{FILE}` must describe each table and column: add a line for"
            f" `{', '.join(missing) or 'nothing'}`, remove the lines `{', '.join(stale) or 'none'}`"
        )


def _line(table: str, name: str) -> str | None:
    if table.startswith(_REMOVED):
        rollup = table.removeprefix(_REMOVED)
        return (
            f"Rows that erasures and retention took out of {rollup}."
            if name == TABLE
            else _line(rollup, name)
        )
    if is_part(table):
        view = table.removesuffix(PART)
        return (
            f"Rows of {view} that are not read in the lake's files. Query {view}."
            if name == TABLE
            else _line(view, name)
        )
    own = lines().get(table, {})
    return own.get(name) if name in own or name == TABLE else lines()[SHARED].get(name)


def _quoted(text: str | None) -> str:
    return "null" if text is None else sqlfiles.quoted_text(text)
