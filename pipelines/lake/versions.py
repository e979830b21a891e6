"""Reads segments of an older schema version as the current one.

A release only adds fields, so an older file lacks columns and has no unknown ones. It is copied, and
missing columns are filled with the contract's default, or NULL. The load statement reads the copy.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import MISSING, fields
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from pipelines.lake import reading
from router.files import TEMPORARY_PREFIX
from router.journal.segments import arrow_schema, parquet_bytes
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipelines.lake.reading import Segment
    from router.records import Record

FOLDER = f"{TEMPORARY_PREFIX}upgraded"


def release() -> str:
    """The version of this program."""
    try:
        return version("intellirouter")
    except PackageNotFoundError:
        return "a checkout that is not installed"


@contextlib.contextmanager
def as_current(segments: Sequence[Segment], scratch: Path) -> Iterator[list[str]]:
    """The segments' files. For an older version, an upgraded copy that exists until the context ends."""
    folder = scratch / FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # files of a killed load
    files = []
    try:
        for segment in segments:
            path = segment.path
            record = DATASETS[segment.manifest.dataset]
            if segment.manifest.schema_version < record.SCHEMA_VERSION:
                folder.mkdir(exist_ok=True)
                # Keep the name: it shows which segment a row came from.
                path = folder / path.name
                path.write_bytes(parquet_bytes(upgrade(reading.read_rows(segment.path), record)))
            files.append(str(path))
        yield files
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def upgrade(rows: Any, record: type[Record]) -> Any:
    """Give an older version's table the current version's columns."""
    import pyarrow as pa

    defaults = {item.name: default_of(item) for item in fields(record)}
    schema = arrow_schema(record)
    columns = [
        rows.column(item.name).cast(item.type)
        if item.name in rows.column_names
        else pa.array([defaults[item.name]] * rows.num_rows, item.type)
        for item in schema
    ]
    return pa.table(columns, schema=schema)


def default_of(item: Any) -> Any:
    """The value of a contract's field in records of the versions before it."""
    if item.default is not MISSING:
        return item.default
    return None if item.default_factory is MISSING else item.default_factory()
