"""Registers the lake's segments as Iceberg tables, so that other engines see tables. No row is copied.

    iceberg/catalog.db                                    the catalog (SQLite)
    iceberg/intellirouter/<dataset>/metadata/             lists of files, as every Iceberg reader takes them

The manifests stay the record, and this is a view of them: remove the folder, and the next export makes it
again. New segments are added. If a file is gone (merged, erased, expired), the table is made again, so that
no earlier list of files is left. The metadata hold counts and the bounds of the moment: bounds of other
columns would keep names of users.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import CopyError
from pipelines.warehouse.warehouse import Warehouse
from router.errors import ConfigError
from router.files import make_folder
from router.journal.segments import arrow_schema
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.table import Table

    from router.config import Settings
    from router.records import Record

FOLDER = "iceberg"
NAMESPACE = "intellirouter"
BATCH = 1000
"""Files that one commit adds."""
PREVIOUS_VERSIONS = 5
"""Older lists of files that a table keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A table after an export."""

    table: str
    rows: int
    files: int
    added: int
    is_new: bool
    """Whether it was made, or made again."""
    left_out: tuple[str, ...]
    """Segments that it lacks: their file is missing, or holds rows that another segment has too."""
    location: str
    """The folder that engines without this catalog read."""


def export_iceberg(settings: Settings) -> list[Registered]:
    """Bring the tables up to the segments that the warehouse has loaded."""
    try:
        from pyiceberg.exceptions import NoSuchTableError  # noqa: F401
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise ConfigError(
            f"Iceberg tables need `pyiceberg` ({error}): pip install 'intellirouter[iceberg]'"
        ) from None
    root = folder(settings)
    with Warehouse(settings) as warehouse:
        make_folder(root)
        try:
            with _catalog(root) as catalog:
                return [_follow(warehouse, catalog, root, dataset) for dataset in DATASETS]
        except (SQLAlchemyError, sqlite3.DatabaseError, OSError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise CopyError(
                f"the Iceberg tables in `{root}` cannot be brought up to date: {reason}. Remove the folder,"
                " which holds no rows, and run the export again"
            ) from error


def folder(settings: Settings) -> Path:
    """The folder of the catalog and the lists of files."""
    return settings.home.absolute() / FOLDER


@contextlib.contextmanager
def _catalog(root: Path) -> Iterator[SqlCatalog]:
    from pyiceberg.catalog.sql import SqlCatalog

    path = root / "catalog.db"
    # A catalog that fails to open leaves its connection open, so a damaged file is found before.
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma schema_version")
    catalog = SqlCatalog(NAMESPACE, uri=f"sqlite:///{path}", warehouse=f"file://{root}")
    with contextlib.closing(catalog):
        catalog.create_namespace_if_not_exists(NAMESPACE)
        yield catalog


def _follow(warehouse: Warehouse, catalog: SqlCatalog, root: Path, dataset: str) -> Registered:
    wanted, left_out = _segments(warehouse, dataset)
    table = _standing(catalog, dataset)
    held = set() if table is None else set(_files(table))
    if is_new := table is None or not held <= wanted.keys() or not _has_columns(table, DATASETS[dataset]):
        table = _made(catalog, root, dataset)
        held = set()
    missing = sorted(wanted.keys() - held)
    for at in range(0, len(missing), BATCH):
        table.add_files(missing[at : at + BATCH])
    return Registered(
        table=dataset,
        rows=sum(wanted.values()),
        files=len(wanted),
        added=len(missing),
        is_new=is_new,
        left_out=tuple(left_out),
        location=table.location(),
    )


def _segments(warehouse: Warehouse, dataset: str) -> tuple[Mapping[str, int], list[str]]:
    """Files with their rows, and the paths of segments that cannot be registered."""
    lake = warehouse.settings.lake.absolute()
    found, left_out = {}, []
    for path, rows, rows_loaded in warehouse.run("copies/standing_segments", dataset=dataset).fetchall():
        if rows == rows_loaded and (lake / path).exists():
            found[f"file://{lake / path}"] = rows
        else:
            left_out.append(path)
    return found, left_out


def _standing(catalog: SqlCatalog, dataset: str) -> Table | None:
    """The table as it is. None without one, or without its lists of files."""
    from pyiceberg.exceptions import NoSuchTableError

    try:
        table = catalog.load_table((NAMESPACE, dataset))
        list(_files(table))
    except (NoSuchTableError, FileNotFoundError):
        return None
    return table


def _files(table: Table) -> Iterator[str]:
    return (task.file.file_path for task in table.scan().plan_files())


def _has_columns(table: Table, record: type[Record]) -> bool:
    return {item.name for item in table.schema().fields} == set(arrow_schema(record).names)


def _made(catalog: SqlCatalog, root: Path, dataset: str) -> Table:
    """An empty table. The lists of files of an earlier one are removed."""
    import pyarrow as pa
    from pyiceberg.exceptions import NoSuchTableError
    from pyiceberg.transforms import DayTransform

    with contextlib.suppress(NoSuchTableError):
        catalog.drop_table((NAMESPACE, dataset))
    shutil.rmtree(root / NAMESPACE / dataset, ignore_errors=True)
    moment = DATASETS[dataset].MOMENT
    # Files of an earlier schema version lack columns: they read as NULL.
    schema = pa.schema([item.with_nullable(True) for item in arrow_schema(DATASETS[dataset])])
    properties: dict[str, Any] = {
        "write.metadata.metrics.default": "none",
        f"write.metadata.metrics.column.{moment}": "full",
        "write.metadata.delete-after-commit.enabled": "true",
        "write.metadata.previous-versions-max": str(PREVIOUS_VERSIONS),
    }
    table = catalog.create_table((NAMESPACE, dataset), schema=schema, properties=properties)
    with table.update_spec() as spec:
        spec.add_field(moment, DayTransform(), "day")
    return table
