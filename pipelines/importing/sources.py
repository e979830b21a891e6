"""A file or a PostgreSQL table as the DuckDB relation `source`: one text column for each wanted one.

Every value is text at first. One statement then types all formats, and a value of the wrong type is the
fault of its row, not of the file. `row` counts rows from 1: lines of JSON, rows of Parquet, records of CSV.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from pipelines.errors import ImportSourceError
from pipelines.warehouse.sqlfiles import quoted_name, quoted_text
from router.errors import nearest
from router.files import TEMPORARY_PREFIX
from router.settings.database_url import shown_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_LINE_BYTES = 64 << 20
"""A longer line of JSON is an error of the file."""
SAMPLED_LINES = 10_000
"""Lines of JSON whose members are looked at for their names."""
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The readable source, which is the relation `source` of the connection."""

    name: str
    """The file, or the table's address without its password."""
    columns: tuple[str, ...]
    """Its own columns, or the members of its first lines."""
    found: Mapping[str, str]
    """The wanted columns that it has, by our name of them."""
    refused: tuple[tuple[int, str], ...] = ()
    """Lines that are no rows at all, with their causes."""
    refused_lines: int = 0
    """The number of all such lines."""


def open_source(
    connection: duckdb.DuckDBPyConnection, target: str, wanted: Sequence[str], table: str, scratch: Path
) -> Source:
    """Make `source` from a file, or from `table` at a postgresql:// address.

    `scratch` is a folder for a copy of a remote table. ImportSourceError if the source cannot be read.
    """
    is_table = target.startswith(("postgresql://", "postgres://"))
    shown = shown_address(target, unreadable="the server of the table") if is_table else target
    try:
        if is_table:
            return _postgresql(connection, target, shown, wanted, table, scratch)
        path = Path(target)
        if not path.is_file():
            raise ImportSourceError(f"the file `{target}` does not exist: name a Parquet, CSV or JSONL file")
        return _file(connection, path, wanted, str(path))
    except duckdb.Error as error:
        raise ImportSourceError(f"`{shown}` cannot be read: {first_line(error)}") from error


def _file(connection: duckdb.DuckDBPyConnection, path: Path, wanted: Sequence[str], name: str) -> Source:
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        return _columns(connection.read_parquet(str(path)), wanted, name)
    if head[:2] == _GZIP:
        with gzip.open(path) as file:
            head = file.read(1)
    if head[:1] in (b"{", b"["):
        return _json(connection, path, wanted, name, is_array=head[:1] == b"[")
    return _csv(connection, path, wanted, name)


def _csv(connection: duckdb.DuckDBPyConnection, path: Path, wanted: Sequence[str], name: str) -> Source:
    found = connection.read_csv(
        str(path), header=True, all_varchar=True, store_rejects=True, max_line_size=MAX_LINE_BYTES,
        strict_mode=True, quotechar='"', escapechar='"', sep=",",
    )  # fmt: skip
    source = _columns(found, wanted, name)
    refused = [
        (int(line), first_line(text))
        for line, text in connection.table("reject_errors")
        .aggregate("line, any_value(error_message)", "line")
        .order("line")
        .fetchall()
    ]
    return Source(
        name=name,
        columns=source.columns,
        found=source.found,
        refused=tuple(refused[:100]),
        refused_lines=len(refused),
    )


def _json(
    connection: duckdb.DuckDBPyConnection, path: Path, wanted: Sequence[str], name: str, *, is_array: bool
) -> Source:
    """Lines as texts, each read by itself, so that a broken one hurts only itself."""
    if is_array:
        raw = connection.read_json(
            str(path), format="array", records="false", columns={"json": "JSON"},
            maximum_object_size=MAX_LINE_BYTES,
        ).project("cast(json as varchar) as line")  # fmt: skip
    else:
        raw = connection.read_csv(
            str(path), columns={"line": "VARCHAR"}, sep="\x01", quotechar="", escapechar="", header=False,
            max_line_size=MAX_LINE_BYTES,
        )  # fmt: skip
    lines = raw.project("row_number() over () as row, line").filter("trim(coalesce(line, '')) <> ''")
    members = lines.limit(SAMPLED_LINES).filter(f"{_IS_OBJECT}").project("unnest(json_keys(line)) as member")
    columns = tuple(sorted(str(found) for (found,) in members.distinct().fetchall()))
    found = _match(columns, wanted, name, wanted[:2])
    shape = "{" + ", ".join(f'"{_json_text(actual)}": "VARCHAR"' for actual in found.values()) + "}"
    read = lines.project(
        f"row, if({_IS_OBJECT}, json_transform(line, {quoted_text(shape)}), null) as found,"
        f" not coalesce({_IS_OBJECT}, false) as is_broken"
    )
    values = [
        f"found.{quoted_name(found[column])} as {quoted_name(column)}"
        if column in found
        else f"cast(null as varchar) as {quoted_name(column)}"
        for column in wanted
    ]
    read.project(", ".join(["row", "is_broken", *values])).create("source")
    return Source(name=name, columns=columns, found=found)


_IS_OBJECT = "if(json_valid(line), json_type(line) = 'OBJECT', false)"


def _columns(relation: Any, wanted: Sequence[str], name: str) -> Source:
    """Make `source` from a relation with typed columns."""
    found = text_columns(relation, wanted, name, wanted[:2])
    found.relation.create("source")
    return Source(name=name, columns=tuple(relation.columns), found=found.found)


class TextColumns(NamedTuple):
    """The wanted columns of a relation as text, with the number of each row."""

    relation: Any
    found: Mapping[str, str]
    """The wanted columns that it has, by our name of them."""
    unread: tuple[str, ...]


def text_columns(relation: Any, wanted: Sequence[str], name: str, needed: Sequence[str]) -> TextColumns:
    """`row`, `is_broken`, and each wanted column as text. ImportSourceError if a needed one is missing."""
    types = dict(zip(relation.columns, (str(kind) for kind in relation.types), strict=True))
    found = _match(tuple(types), wanted, name, needed)
    values = [
        f"{_as_text(found[column], types[found[column]], column)} as {quoted_name(column)}"
        if column in found
        else f"cast(null as varchar) as {quoted_name(column)}"
        for column in wanted
    ]
    rows = relation.project(", ".join(["row_number() over () as row", "false as is_broken", *values]))
    return TextColumns(rows, found, tuple(sorted(set(types) - set(found.values()))))


def _as_text(column: str, kind: str, wanted: str) -> str:
    name = quoted_name(column)
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "JSON")):
        return f"cast(to_json({name}) as varchar)"
    if kind == "BLOB":  # ClickHouse writes ids as 16 bytes, and may write texts as bytes
        return (
            f"cast(cast(lower(hex({name})) as uuid) as varchar)"
            if wanted.endswith("id")
            else f"decode({name})"
        )
    return f"cast({name} as varchar)"


def _match(columns: Sequence[str], wanted: Sequence[str], name: str, needed: Sequence[str]) -> dict[str, str]:
    """Our names to the source's: `startTime`, `starttime` and `start_time` are one column."""
    known = {_plain(column): column for column in reversed(columns)}
    found = {column: known[_plain(column)] for column in wanted if _plain(column) in known}
    for column in needed:  # without them no row can be placed
        if column not in found:
            raise ImportSourceError(
                f"`{name}` has no column `{column}`: {nearest(column, columns)}. It needs"
                f" {', '.join(f'`{item}`' for item in needed)}"
            )
    return found


def _plain(column: str) -> str:
    return column.lower().replace("_", "")


def _postgresql(
    connection: duckdb.DuckDBPyConnection,
    url: str,
    shown: str,
    wanted: Sequence[str],
    table: str,
    scratch: Path,
) -> Source:
    """Copy the wanted columns of the table into a file, and read that. The file is removed."""
    try:
        import psycopg
        from psycopg import sql
    except ModuleNotFoundError as error:
        raise ImportSourceError(
            "a table needs the extra `postgres`: pip install 'intellirouter[postgres]'"
        ) from error
    copy = scratch / f"{TEMPORARY_PREFIX}import.csv"
    try:
        with psycopg.connect(url) as server:
            described = server.execute(sql.SQL("table {} limit 0").format(sql.Identifier(table)))
            columns = tuple(item.name for item in described.description or ())
            found = _match(columns, wanted, table, wanted[:2])
            names = sql.SQL(", ").join(map(sql.Identifier, found.values()))
            options = sql.SQL("({}) to stdout (format csv, header)").format(names)
            statement = sql.SQL(" ").join([sql.SQL("copy"), sql.Identifier(table), options])
            scratch.mkdir(parents=True, exist_ok=True)
            with copy.open("wb") as file, server.cursor().copy(statement) as stream:
                for block in stream:
                    file.write(block)
        source = _csv(connection, copy, wanted, table)
    except psycopg.Error as error:
        raise ImportSourceError(f"`{shown}` cannot be read: {first_line(error)}") from error
    finally:
        copy.unlink(missing_ok=True)
    return Source(
        name=f"{shown}, {table}",
        columns=columns,
        found=found,
        refused=source.refused,
        refused_lines=source.refused_lines,
    )


def first_line(error: object) -> str:
    """The first line of an error's text."""
    return str(error).strip().partition("\n")[0]


def _json_text(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
