"""Columns of the lake's segments, each record once, whatever the pipelines rewrite meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from router.errors import SegmentError
from router.journal.manifests import Manifest
from router.records import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LISTINGS = 5
"""How often folders are listed again whose files were replaced while they were read."""
REMOVED = "removals"
"""The lake's folder of what removed rows (an erased person's) had added to the rollups."""
_REMOVING = ("erasure", "retention")


class Rows(NamedTuple):
    """What some folders hold."""

    table: Any
    """A pyarrow Table."""
    damaged: list[str]
    """Files that cannot be read: their rows are missing."""
    removals: frozenset[frozenset[str]]
    """For each rewriting that took rows out, the names of the segments it replaced."""


def read_folders(folders: list[Path], columns: list[str], *, where: Any = None) -> Rows:
    """Columns of every segment that stands in some hour folders of `request_analytics`.

    `where` is a pyarrow expression that rows must fulfil.
    """
    for attempt in range(LISTINGS):
        try:
            return _read_listed(folders, columns, where)
        except FileNotFoundError:  # replaced meanwhile: what replaces it is listed next
            if attempt == LISTINGS - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def read_removed(folder: Path, removals: Collection[frozenset[str]]) -> Iterator[Any]:
    """For each removal that took place in a day, a table of `organization_id` and `cost_usd`."""
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("[!.]*.json")):
        if frozenset(json.loads(path.read_bytes())["sources"]) in removals:
            with pq.ParquetFile(path.with_name(f"{path.stem}.usage_hourly.parquet")) as file:
                yield file.read(columns=["organization_id", "cost_usd"])


def _read_listed(folders: list[Path], columns: list[str], where: Any) -> Rows:
    import pyarrow as pa
    import pyarrow.dataset as pads

    from router.journal.segments import arrow_schema

    schema = arrow_schema(RequestRecord)
    paths, damaged, removals = _list(folders)
    try:
        table = pads.dataset(paths, schema=schema, format="parquet").to_table(columns=columns, filter=where)
    except (pa.ArrowException, OSError):
        if not all(Path(path).exists() for path in paths):
            raise FileNotFoundError from None
        table, unreadable = _one_by_one(paths, schema, columns, where)
        damaged += unreadable
    return Rows(table, damaged, frozenset(removals))


def _list(folders: list[Path]) -> tuple[list[str], list[str], set[frozenset[str]]]:
    found: dict[str, str] = {}
    replaced: set[str] = set()
    removals: set[frozenset[str]] = set()
    damaged = []
    for folder in folders:
        for path in sorted(folder.glob("[!.]*.json")):
            try:
                manifest = Manifest.read(path)
                tree = [manifest, *(source for source, _ in manifest.replaced())]
            except SegmentError:
                if not path.exists():
                    raise FileNotFoundError(path) from None
                damaged.append(path.name)
                continue
            replaced |= {source.name for source in tree[1:]}
            removals |= {_sources(item) for item in tree if item.operation in _REMOVING}
            found[manifest.name] = str(path.with_suffix(".parquet"))
    return [path for name, path in found.items() if name not in replaced], damaged, removals


def _sources(manifest: Manifest) -> frozenset[str]:
    """Names of the segments that a derived one replaced itself."""
    return frozenset(Manifest.parse(text.encode(), manifest.name).name for text in manifest.sources)


def _one_by_one(paths: list[str], schema: Any, columns: list[str], where: Any) -> tuple[Any, list[str]]:
    """What can be read, and the names of the files that cannot."""
    import pyarrow as pa
    import pyarrow.dataset as pads

    tables = [pads.dataset([], schema=schema, format="parquet").to_table(columns=columns)]
    damaged = []
    for path in paths:
        try:
            tables.append(
                pads.dataset([path], schema=schema, format="parquet").to_table(columns=columns, filter=where)
            )
        except (pa.ArrowException, OSError):
            damaged.append(Path(path).name)
    return pa.concat_tables(tables), damaged
