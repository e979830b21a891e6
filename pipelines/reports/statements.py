"""The statements of a person's SQL, with their parameters."""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.errors import QueryError
from router.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

WRITING = frozenset({"copy", "export"})
CHANGING = frozenset(
    {
        duckdb.StatementType.DELETE,
        duckdb.StatementType.INSERT,
        duckdb.StatementType.MERGE_INTO,
        duckdb.StatementType.UPDATE,
    }
)
_WORD = re.compile(r"[A-Za-z]+")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
_WORDS: Mapping[str, bool | None] = {"null": None, "true": True, "false": False}
_ENDING = re.compile(r";(\s|--[^\n]*(\n|$)|/\*.*?\*/)*$", re.DOTALL)
"""The semicolon of a statement, and the comments after it."""


_CANDIDATES = re.compile(r"[!.]?\s*(?:Did you mean|Candidate [a-z]+)[\s:]*((?:\"[^\"]+\"(?:, )?)+)\??")
_SIGNATURES = re.compile(r"\s*Candidate functions:.*", re.DOTALL)


def split(connection: duckdb.DuckDBPyConnection, sql: str) -> list[duckdb.Statement]:
    """The statements of a text, in order. QueryError if it holds none, or is no SQL."""
    try:
        found = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(f"the query cannot be run: {fault(error)}") from error
    if not found:
        raise QueryError("there is no statement in this text: write one, such as `select 1`")
    for statement in found:
        if word := _writes(statement):
            raise QueryError(
                f"the query cannot be run: `{word}` writes a file; use --output FILE to write the answer"
            )
    return found


def _writes(statement: duckdb.Statement) -> str | None:
    """The word by which a statement would write a file, also inside `explain analyze` and `prepare`.

    DuckDB would let it write where the warehouse's views read.
    """
    if statement.type == duckdb.StatementType.SELECT:
        return None
    text = statement.query
    words = (found[0].lower() for start, _ in duckdb.tokenize(text) if (found := _WORD.match(text, start)))
    return next((word for word in words if word in WRITING), None)


def fault(error: duckdb.Error) -> str:
    """DuckDB's message in one line: the fault, the nearest known names, and the line of the statement."""
    said, _, place = str(error).partition("\n\nLINE ")
    said = _SIGNATURES.sub("", said)
    said = _CANDIDATES.sub(lambda found: f"; nearest known: {found[1].replace(chr(34), '`')}", said)
    line = place.partition(":")[0]
    return " ".join(said.split()).replace(" ;", ";") + (f" (line {line})" if line.isdecimal() else "")


@contextlib.contextmanager
def named_way(statement: duckdb.Statement) -> Iterator[None]:
    """Add to the error of a statement that changes rows how records change: the lake holds them."""
    try:
        yield
    except QueryError as error:
        if statement.type not in CHANGING:
            raise
        raise QueryError(
            f"{error}; the warehouse is a read-only copy of the lake's records. `intellirouter retention`"
            " removes those past ANALYTICS_RETENTION_DAYS, and `intellirouter erase` those of a person"
        ) from error


def text_of(statement: duckdb.Statement) -> str:
    """The text of one statement, without what follows it."""
    return _ENDING.sub("", statement.query)


def read_parameters(given: Iterable[str]) -> dict[str, Any]:
    """NAME=VALUE texts as values. Numbers, true, false and null are read as such, the rest as text."""
    values: dict[str, Any] = {}
    for item in given:
        name, equals, text = item.partition("=")
        name = name.strip().removeprefix("$")
        if not equals or not re.fullmatch(r"\w+", name):
            raise QueryError(f"`{item:.80}` is no parameter: write NAME=VALUE, such as `organization=acme`")
        if name in values:
            raise QueryError(f"the parameter `{name}` is given twice: leave one out")
        values[name] = _value(text)
    return values


def bound(statement: duckdb.Statement, values: Mapping[str, Any]) -> dict[str, Any] | list[Any]:
    """The values that one statement uses: a list where it counts them ($1, $2). QueryError if one lacks."""
    names = statement.named_parameters
    missing = sorted(names - values.keys())
    if missing:
        raise QueryError(f"the statement needs a value for `${missing[0]}`: add --param {missing[0]}=VALUE")
    if names and all(name.isdecimal() for name in names):
        return [values[name] for name in sorted(names, key=int)]
    return {name: values[name] for name in names}


def require_used(statements: Iterable[duckdb.Statement], values: Mapping[str, Any]) -> None:
    """QueryError for a parameter that no statement uses: it is more likely misspelt."""
    used = {name for statement in statements for name in statement.named_parameters}
    for name in values:
        if name not in used:
            raise QueryError(f"no statement uses the parameter `{name}`: {nearest(name, used)}")


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if _NUMBER.fullmatch(text):
        try:
            return int(text) if text.lstrip("-").isdecimal() else Decimal(text)
        except InvalidOperation:
            return text
    return text
