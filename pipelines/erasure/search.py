"""Looks for texts in every file of a folder: in the bytes, and in the decoded values.

Parquet and DuckDB compress their values, so a search of only the bytes would miss them. Parquet, DuckDB
and SQLite files are recognised by their first bytes, not by their names.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from pipelines.erasure.text_places import CHUNK_BYTES, forms, names_person
from pipelines.warehouse.linked_views import PART
from pipelines.warehouse.sqlfiles import quoted_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

PERSON_COLUMN = "user_id"
"""Every table that holds a person calls the column so."""
SHORT = 6
"""A shorter text can occur in any file by chance. It must equal a whole decoded value, or be in a place of a
text file that can hold a person."""


@dataclass(slots=True, kw_only=True)
class Found:
    """The extent of a search, and its hits."""

    files: int = 0
    bytes: int = 0
    decoded: int = 0
    """Files whose values were read as well."""
    hits: dict[str, set[str]] = field(default_factory=dict)
    """By path: the texts that the file holds."""
    columns: dict[str, set[str]] = field(default_factory=dict)
    """By path: the columns whose decoded values hold a text, as `table.column` or `column`."""
    persons: set[str] = field(default_factory=set)
    """Paths of files in which a text is the whole value of a column for persons."""
    unreadable: list[str] = field(default_factory=list)
    """Files that look like Parquet, DuckDB or SQLite and cannot be decoded."""


class _Held(NamedTuple):
    """A text in the values of a column."""

    text: str
    column: str
    is_person: bool


def search(roots: Iterable[Path], texts: Sequence[str], *, others: Sequence[str] = ()) -> Found:
    """Look for the texts in every file under the roots. DuckDB files must not be open elsewhere.

    `others` are longer texts that contain one of the texts and do not count: `user-1` in `user-10` is
    not a hit. A file with several names (hard links) is searched once, under the first of them.
    """
    found, seen = Found(), set()
    for path in sorted({path for root in roots for path in root.rglob("*")}):
        if path.is_symlink() or not path.is_file():
            continue
        with contextlib.suppress(FileNotFoundError):  # a router sealed it meanwhile
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            if status.st_nlink > 1:
                seen.add((status.st_dev, status.st_ino))
            hits = look(path, texts, found, others)
            if hits:
                found.hits[str(path)] = hits
    return found


def look(path: Path, texts: Sequence[str], found: Found, others: Sequence[str] = ()) -> set[str]:
    """Return the texts that one file holds, other than as a part of `others`."""
    others = sorted({variant for text in others for variant in forms(text)}, key=len, reverse=True)
    variants = {variant: text for text in texts for variant in forms(text)}
    found.files += 1
    found.bytes += path.stat().st_size
    hits = {
        variants[variant]
        for variant in _in_bytes(path, [item for item in variants if len(item) >= SHORT], others)
    }
    with path.open("rb") as file:
        head = file.read(16)
    decoder = _decoder(head)
    if decoder is None:
        return hits | {text for text in texts if len(text) < SHORT and names_person(path, text)}
    try:
        held = decoder(path, list(variants), others)
        hits |= {variants[item.text] for item in held}
        if held:
            found.columns[str(path)] = {item.column for item in held}
        if any(item.is_person for item in held):
            found.persons.add(str(path))
        found.decoded += 1
    except (duckdb.Error, sqlite3.DatabaseError):
        found.unreadable.append(str(path))
    return hits


def _decoder(head: bytes) -> Any:
    if head.startswith(b"PAR1"):
        return _in_parquet
    if head[8:12] == b"DUCK":
        return _in_duckdb
    return _in_sqlite if head.startswith(b"SQLite format 3\0") else None


def _in_bytes(path: Path, texts: Sequence[str], others: Sequence[str]) -> set[str]:
    needles = {text: text.encode() for text in texts}
    overlap = max((len(text.encode()) for text in (*texts, *others)), default=1) - 1
    hits: set[str] = set()
    with path.open("rb") as file:
        tail = b""
        while block := file.read(CHUNK_BYTES):
            window = _without(tail + block, others)
            hits |= {text for text, needle in needles.items() if needle in window}
            tail = window[len(window) - overlap :] if overlap else b""
    return hits


def _without(content: bytes, others: Sequence[str]) -> bytes:
    """The content with each of `others` overwritten by zeros of the same length."""
    for other in others:
        content = content.replace(other.encode(), b"\0" * len(other.encode()))
    return content


def _in_parquet(path: Path, texts: Sequence[str], others: Sequence[str]) -> set[_Held]:
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        columns = connection.read_parquet(str(path), hive_partitioning=False).columns
        relation = "read_parquet($path, hive_partitioning = false)"
        return {
            _Held(text, column, column == PERSON_COLUMN and is_whole)
            for column, text, is_whole in _held(connection, relation, columns, texts, others, path=str(path))
        }


def _in_duckdb(path: Path, texts: Sequence[str], others: Sequence[str]) -> set[_Held]:
    with duckdb.connect(
        str(path), read_only=True, config={"python_enable_replacements": False}
    ) as connection:
        tables = connection.execute(
            # A view shows what tables and other files hold, and they are searched.
            "select schema_name, table_name, list(column_name) from duckdb_columns()"
            " where table_oid in (select table_oid from duckdb_tables() where not internal) group by all"
        ).fetchall()
        # A find in a part of a view's rows is shown under the view's name.
        return {
            _Held(text, f"{table.removesuffix(PART)}.{column}", column == PERSON_COLUMN and is_whole)
            for schema, table, columns in tables
            for column, text, is_whole in _held(
                connection, f"{quoted_name(schema)}.{quoted_name(table)}", columns, texts, others
            )
        }


def _held(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    columns: Sequence[str],
    texts: Sequence[str],
    others: Sequence[str],
    **parameters: Any,
) -> list[tuple[str, str, bool]]:
    """(column, text, whether it is a whole value) of each text that a column's values hold.

    One scan reads all columns: a warehouse has hundreds, and a query of each costs more than the rows do.
    """
    pairs = [(column, text) for column in columns for text in texts]
    if not pairs:
        return []
    for number, text in enumerate(texts):
        parameters[f"text{number}"] = text
    if others and any(len(text) >= SHORT for text in texts):
        parameters["others"] = list(others)
    tests = ", ".join(
        _test_of(column, number, is_long=len(text) >= SHORT, has_others=bool(others))
        for column in columns
        for number, text in enumerate(texts)
    )
    answers = connection.execute(f"select {tests} from {relation}", parameters).fetchall()[0]  # noqa: S608
    return [
        (column, text, bool(is_whole))
        for (column, text), is_whole in zip(pairs, answers, strict=True)
        if is_whole is not None
    ]


def _test_of(column: str, number: int, *, is_long: bool, has_others: bool) -> str:
    """An aggregate: whether a text is a whole value of the column; NULL if no value holds it."""
    whole = value = f"cast({quoted_name(column)} as varchar)"
    if has_others and is_long:
        value = (
            f"list_reduce(list_concat([{value}], $others), lambda kept, longer: replace(kept, longer, ''))"
        )
    test = f"contains({value}, $text{number})" if is_long else f"{value} = $text{number}"
    return f"bool_or({whole} = $text{number}) filter (where {test})"


def _in_sqlite(path: Path, texts: Sequence[str], others: Sequence[str]) -> set[_Held]:
    hits: set[_Held] = set()
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            rows = connection.execute(f"select * from {quoted_name(table.decode())}")  # noqa: S608
            columns = [item[0] for item in rows.description]
            for row in rows:
                hits |= {
                    _Held(
                        text,
                        f"{table.decode()}.{column}",
                        column == PERSON_COLUMN and value == text.encode(),
                    )
                    for column, cell in zip(columns, row, strict=True)
                    for value in _contents(cell, others)
                    for text in texts
                    if _stands_in(value, text)
                }
    return hits


def _contents(value: Any, others: Sequence[str]) -> Iterator[bytes]:
    """A text or blob of a row, also decompressed: Dagster compresses some of its values."""
    if isinstance(value, bytes):
        yield _without(value, others)
        with contextlib.suppress(zlib.error):
            yield _without(zlib.decompress(value), others)


def _stands_in(value: bytes, text: str) -> bool:
    return text.encode() in value if len(text) >= SHORT else text.encode() == value
