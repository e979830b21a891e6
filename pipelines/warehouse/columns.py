"""The warehouse's columns of each dataset, derived from the record contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.warehouse.sqlfiles import SelectList
from router.journal.segments import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.records import Record

MAPS = frozenset({"tags"})
"""Lists of {key, value} that the warehouse keeps as MAP(VARCHAR, VARCHAR)."""
MOST_OF_A_COUNT, MOST_DOLLARS = 10**12, 10**9
"""Bounds of the integers and amounts of a record, above and below."""
BOUNDS = {"BIGINT": MOST_OF_A_COUNT, "DECIMAL(38,12)": MOST_DOLLARS}
JSON_TEXTS = frozenset({"request_data", "response_data", "routing_decision"})
"""Texts that the warehouse keeps as JSON."""
HOUR_OF_REQUEST = """case
        when source.request_id like '0_______-____-7___-____-____________'
            and regexp_matches(
                source.request_id, '^[0-9A-Fa-f]+-[0-9A-Fa-f]+-[0-9A-Fa-f]+-[0-9A-Fa-f]+-[0-9A-Fa-f]+$'
            )
        then date_trunc('hour', uuid_extract_timestamp(cast(source.request_id as uuid)))
    end"""
"""The hour of a judged request, read from its UUIDv7. NULL for an id that is none.

A cast would also take an id without hyphens or in braces, whose digit of the version is in another place.
The first digit is 0 until the year 2527. Later moments, of made-up ids, are beyond the range of some engines.
"""


def contract_columns(record: type[Record]) -> list[tuple[str, str, bool]]:
    """(name, DuckDB type, may be NULL) of every field, in order."""
    return [(item.name, _warehouse_type(item), bool(item.nullable)) for item in arrow_schema(record)]


def as_in_table(record: type[Record]) -> SelectList:
    """A select list that converts the columns of a file, `source`, to those of the warehouse."""
    return SelectList(
        ",\n    ".join(
            f"map_from_entries(source.{name}) as {name}"
            if name in MAPS
            else f"{as_json(f'source.{name}')} as {name}"
            if name in JSON_TEXTS
            else f"{_bounded(name, kind)} as {name}"
            for name, kind, _ in contract_columns(record)
        )
    )


def as_read(record: type[Record]) -> dict[str, str]:
    """SQL that reads each column of a file, `source`, whose numbers are known to be within bounds."""
    return {
        name: f"map_from_entries(source.{name})"
        if name in MAPS
        else f"cast({as_json(f'source.{name}')} as json)"
        if name in JSON_TEXTS
        else f"cast(source.{name} as {kind.lower()})"
        for name, kind, _ in contract_columns(record)
    }


def bounds_broken(record: type[Record]) -> list[str]:
    """SQL conditions of a row that the load refuses, in addition to the checks of its table."""
    found = []
    for name, kind, _ in contract_columns(record):
        if bound := BOUNDS.get(kind):
            found.append(f"source.{name} not between -{bound} and {bound}")
        elif name in MAPS:  # an error if a key is there twice
            found.append(f"map_from_entries(source.{name}) is null")
    return found


def _bounded(name: str, kind: str) -> str:
    """SQL that reads a column. It refuses a number that no sum could hold."""
    bound = BOUNDS.get(kind)
    value = f"cast(source.{name} as {kind.lower()})"
    if bound is None:
        return value
    problem = f"error('`{name}` is `' || source.{name} || '`, beyond {bound} or -{bound}')"
    return f"case when source.{name} not between -{bound} and {bound} then {problem} else {value} end"


def as_json(text: str) -> str:
    """SQL that reads a text as JSON, or makes it a JSON string. A cast's error would quote the text."""
    return f"if(json_valid({text}), {text}, to_json({text}))"


def as_in_file(names: Iterable[str]) -> SelectList:
    """A select list that converts the warehouse's columns to those of a segment's file."""
    return SelectList(
        ", ".join(
            f"map_entries({name}) as {name}"
            if name in MAPS
            else f"cast({name} as varchar) as {name}"
            if name in JSON_TEXTS
            else name
            for name in names
        )
    )


def _warehouse_type(item: Any) -> str:
    if item.name in MAPS:
        return "MAP(VARCHAR, VARCHAR)"
    return "JSON" if item.name in JSON_TEXTS else duckdb_type(item.type)


def duckdb_type(arrow_type: Any) -> str:
    """DuckDB's name of an Arrow type that the contracts use."""
    import pyarrow as pa

    if pa.types.is_list(arrow_type):
        return f"{duckdb_type(arrow_type.value_type)}[]"
    if pa.types.is_struct(arrow_type):
        inner = ", ".join(f'"{item.name}" {duckdb_type(item.type)}' for item in arrow_type)
        return f"STRUCT({inner})"
    if pa.types.is_decimal(arrow_type):
        return f"DECIMAL({arrow_type.precision},{arrow_type.scale})"
    if pa.types.is_timestamp(arrow_type):
        return "TIMESTAMP WITH TIME ZONE"
    return {"string": "VARCHAR", "bool": "BOOLEAN", "int64": "BIGINT", "double": "DOUBLE"}[str(arrow_type)]
