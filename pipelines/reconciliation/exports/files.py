"""Files as rows: the names of a row are lower case, with `_` for spaces."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.errors import ReconciliationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Row = dict[str, Any]
MAX_BYTES = 1 << 30
"""A larger file is refused: it is read whole."""
BUCKET_ENDS = ("start_time", "end_time", "starting_at", "ending_at")
"""Members of a bucket that hold for each of its results."""
WRAPPERS = ("data", "results", "usage", "items")


def rows_of(path: Path) -> list[Row]:
    """The rows of a file, by the end of its name. ReconciliationError if it cannot be read."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ReconciliationError(
                f"`{path}` has {size} bytes, and at most {MAX_BYTES} are read: split it by days"
            )
        found = list(_rows(path))
    except OSError as error:
        raise ReconciliationError(f"`{path}` cannot be read: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise ReconciliationError(
            f"`{path}` is not the {path.suffix.lstrip('.') or 'CSV'} that its name says: {error}."
            " Export it again, or give it the right suffix: .csv, .json, .jsonl or .parquet"
        ) from error
    if not found:
        raise ReconciliationError(f"`{path}` has no rows: export the days that you want to compare")
    return found


def _rows(path: Path) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        yield from map(_named, _parquet(path))
        return
    text = path.read_bytes().decode("utf-8-sig")
    if suffix in (".jsonl", ".ndjson"):
        for line in filter(str.strip, text.splitlines()):
            yield from _flat(json.loads(line, parse_float=Decimal), path)
    elif suffix == ".json":
        yield from _flat(json.loads(text, parse_float=Decimal), path)
    else:
        lines = csv.DictReader(io.StringIO(text), strict=True)
        for row in lines:
            if None in row or None in row.values():
                raise ValueError(f"line {lines.line_num} has another number of fields than the header")
            yield _named(row)


def _parquet(path: Path) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[Row] = pq.read_table(path).to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    return rows


def _flat(value: Any, path: Path, **bucket: Any) -> Iterator[Row]:
    """The results inside pages, buckets and lists, each with the ends of its bucket."""
    if isinstance(value, list):
        for item in value:
            yield from _flat(item, path, **bucket)
        return
    if not isinstance(value, dict):
        raise ValueError("it holds a value where an object is expected")
    if value.get("has_more") is True:
        _refuse_page(value, path)
    inner = next((value[name] for name in WRAPPERS if isinstance(value.get(name), list | dict)), None)
    if inner is None or not set(value) <= {*WRAPPERS, *BUCKET_ENDS, "object", "has_more", "next_page"}:
        yield _named({**bucket, **value})
        return
    ends = {name: value[name] for name in BUCKET_ENDS if name in value}
    if inner == []:
        yield _named({**bucket, **ends})  # an empty bucket is a day without use
    yield from _flat(inner, path, **{**bucket, **ends})


def _refuse_page(value: Row, path: Path) -> None:
    raise ReconciliationError(
        f"`{path}` is one page of several (`has_more`): fetch the page `{value.get('next_page')}` and those"
        " after it, and put the `data` of all pages into one file"
    )


def _named(row: Row) -> Row:
    return {str(name).strip().lower().replace(" ", "_"): value for name, value in row.items()}
