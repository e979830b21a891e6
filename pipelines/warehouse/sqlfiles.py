"""Reads the statements in `sql/`. A file is a checked header and one statement. Its path is its name.

    -- name: usage_hourly
    -- grain: hour, environment, ...
    -- unique: hour, environment, ...
    -- reads: request_analytics, feedback
    -- One sentence that says what it is for.

Values are bound as `$name`, never formatted into the text. A statement that serves several tables
is a template, with places such as `{table}` and `{moment}`, also in its header. A place can take only
a table or column that a migration creates, or a select list that `columns` makes from the record
contract.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

_HEADER = re.compile(r"^-- (name|grain|unique|reads): ?(.*)$")
_PLACE = re.compile(r"\{([a-z_]+)\}")
_TABLE = re.compile(
    r"^(?:create (?:table|view) (?:if not exists )?|alter table [a-z_.]+ rename to )([a-z_.]+)", re.MULTILINE
)
_COLUMN = re.compile(
    r"(?:^    |\badd column )([a-z][a-z0-9_]*)"
    r" (?:bigint|boolean|date|decimal|double|integer|json|map|struct|timestamptz|varchar)\b",
    re.MULTILINE,
)


class SelectList(str):
    """A select list made from the record contract, never from text from outside."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlFile:
    """One statement and its header."""

    key: str
    """Folder and stem: `rollups/usage_hourly`."""
    header: Mapping[str, str]
    """name, grain, unique, reads."""
    sentence: str
    """The statement's purpose."""
    text: str

    @property
    def reads(self) -> frozenset[str]:
        """The tables the statement reads, as the header lists them."""
        return frozenset(part.strip() for part in self.header.get("reads", "").split(",") if part.strip())


def folder() -> Path:
    """`sql/`: next to the packages in a checkout, inside this package in an installed wheel."""
    here = Path(__file__).resolve().parents[1]
    for candidate in (here / "sql", here.parent / "sql"):
        if (candidate / "migrations").is_dir():
            return candidate
    raise WarehouseError(f"no SQL files next to `{here}`: the installation is incomplete, install it again")


@cache
def load(key: str, /, **names: str | tuple[str, ...]) -> SqlFile:
    """Read the file `sql/<key>.sql`, and fill the places of a template with the names."""
    return parse(key, fill((folder() / f"{key}.sql").read_text(encoding="utf-8"), **names))


def delete_between(table: str, moment: str) -> SqlFile:
    """The statement that deletes a table's rows from $start to $end."""
    return load("tables/delete_between", table=table, moment=moment)


def delete_before(table: str, moment: str) -> SqlFile:
    """The statement that deletes a table's rows from before $cutoff."""
    return load("tables/delete_before", table=table, moment=moment)


def delete_equal(table: str, column: str) -> SqlFile:
    """The statement that deletes a table's rows in which the column equals $value."""
    return load("tables/delete_equal", table=table, column=column)


def insert(table: str, columns: tuple[str, ...]) -> SqlFile:
    """The statement that inserts rows. A list of values is bound by the name of each column."""
    values = SelectList(",\n    ".join(f"unnest(${name}) as {name}" for name in columns))
    return load("tables/insert", table=table, columns=columns, values=values)


def insert_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows in one statement: a statement for each costs 30 times as much."""
    if rows:
        columns = tuple(rows[0])
        values = {name: [row[name] for row in rows] for name in columns}
        connection.execute(insert(table, columns).text, values)


def fill(text: str, /, **names: str | tuple[str, ...]) -> str:
    """Replace every `{place}` in the text with a known name, or a list of known names."""
    places = set(_PLACE.findall(text))
    if places != names.keys():
        raise WarehouseError(
            f"the template has the places `{', '.join(sorted(places))}`,"
            f" but `{', '.join(sorted(names))}` were given: give each place one name"
        )
    return _PLACE.sub(lambda match: _listed(names[match[1]]), text)


def _listed(value: str | tuple[str, ...]) -> str:
    if isinstance(value, SelectList):
        return value
    listed = (value,) if isinstance(value, str) else value
    for name in listed:
        if name not in known_names():
            raise WarehouseError(
                f"`{name}` is neither a table nor a column: name one that a file in `sql/migrations` creates"
            )
    return ",\n    ".join(listed)


@cache
def known_names() -> frozenset[str]:
    """Every table, view and column that a migration creates, and every name that it gives a table."""
    text = "\n".join(load(key).text for key in ("tables/migrations", *names("migrations")))
    return frozenset(_TABLE.findall(text)) | frozenset(_COLUMN.findall(text))


def names(room: str) -> list[str]:
    """Keys of every file in `sql/<room>`, sorted."""
    return sorted(f"{room}/{path.stem}" for path in (folder() / room).glob("*.sql"))


def quoted_name(name: str) -> str:
    """A name that is not ours, as SQL takes it: in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """A text as SQL takes it, for the statements that bind no values."""
    return "'" + text.replace("'", "''") + "'"


def parse(key: str, text: str) -> SqlFile:
    """Split a file's text into its header and its statement."""
    header: dict[str, str] = {}
    prose: list[str] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        if match := _HEADER.match(line):
            header[match[1]] = match[2].strip()
        else:
            prose.append(line.removeprefix("--").strip())
    return SqlFile(key=key, header=header, sentence=" ".join(prose).strip(), text=text)
