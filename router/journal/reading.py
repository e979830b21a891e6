"""Reads records: journals that are not sealed yet, and columns of the lake's segments.

Each record is read once, even if the pipelines rewrite segments meanwhile. Read journals before the
lake: then a record that is sealed in between is seen twice, and never missed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from router.errors import SegmentError
from router.journal.manifests import REMOVING, Manifest
from router.records import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

LISTINGS = 5
"""Most listings of folders, if files are replaced during the read."""


class Rows(NamedTuple):
    """The rows of some folders."""

    table: Any
    """A pyarrow Table."""
    damaged: list[str]
    """Files that cannot be read. Their rows are missing."""
    removals: frozenset[frozenset[str]]
    """For each rewriting that removed rows, the names of the segments it replaced."""


def unsealed_records(home: Path, dataset: str, *, naming: str | None = None) -> Iterator[Any]:
    """The records in the lines of a dataset's journals, or only those with the id `naming`.

    A `.bad` journal waits for a person to repair it. Its readable lines count.
    """
    text = None if naming is None else f'"id":"{naming}"'.encode()
    return (row for _, row in _unsealed(home, dataset, text))


def unsealed_of_session(home: Path, session_id: str) -> Iterator[tuple[str, Any]]:
    """(name of the journal, record) of each request in the journals that may be of a session."""
    return _unsealed(home, RequestRecord.DATASET, b'"session_id":' + orjson.dumps(session_id))


def _unsealed(home: Path, dataset: str, text: bytes | None) -> Iterator[tuple[str, Any]]:
    """The records in journals, by the name of the journal. With a text, only of the lines that hold it."""
    folder = home / "journal" / dataset
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.bad")]):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # sealed meanwhile: the lake has it
        for line in content.splitlines() if text is None else _lines_with(text, content):
            try:
                yield path.stem, orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # torn: it was never acknowledged


def _lines_with(text: bytes, content: bytes) -> Iterator[bytes]:
    at = content.find(text)
    while at >= 0:
        start, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at)
        yield content[start : end if end >= 0 else None]
        at = content.find(text, end) if end >= 0 else -1


def read_folders(
    folders: list[Path], columns: list[str], *, where: Any = None, writers: Collection[str] | None = None
) -> Rows:
    """Columns of every current segment in some hour folders of `request_analytics`.

    `where` is a pyarrow expression that rows must fulfil. With `writers`, only segments whose rows are all
    of these writers.
    """
    for attempt in range(LISTINGS):
        try:
            return _read_listed(folders, columns, where, writers)
        except FileNotFoundError:  # replaced meanwhile: its replacement is listed next
            if attempt == LISTINGS - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def read_removed(folder: Path, removals: Collection[frozenset[str]]) -> Iterator[Any]:
    """For each of `removals` in a day's folder, a table of `organization_id` and `cost_usd`."""
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("[!.]*.json")):
        if frozenset(json.loads(path.read_bytes())["sources"]) in removals:
            usage = path.with_name(f"{path.stem}.usage_quarter_hourly.parquet")
            if not usage.exists():  # an earlier release wrote it
                usage = path.with_name(f"{path.stem}.usage_hourly.parquet")
            with pq.ParquetFile(usage) as file:
                yield file.read(columns=["organization_id", "cost_usd"])


def _read_listed(
    folders: list[Path], columns: list[str], where: Any, writers: Collection[str] | None
) -> Rows:
    import pyarrow as pa
    import pyarrow.dataset as pads

    from router.journal.segments import arrow_schema

    schema = arrow_schema(RequestRecord)
    paths, damaged, removals = _list(folders, writers)
    try:
        table = pads.dataset(paths, schema=schema, format="parquet").to_table(columns=columns, filter=where)
    except (pa.ArrowException, OSError):
        if not all(Path(path).exists() for path in paths):
            raise FileNotFoundError from None
        table, unreadable = _one_by_one(paths, schema, columns, where)
        damaged += unreadable
    return Rows(table, damaged, frozenset(removals))


def read_manifests(folder: Path) -> tuple[list[Manifest], list[str]]:
    """The manifests of an hour folder, replaced ones too, and the names of damaged ones.

    FileNotFoundError if one was replaced since it was listed: list again.
    """
    manifests, damaged = [], []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            manifests.append(Manifest.read(path))
        except SegmentError:
            if not path.exists():
                raise FileNotFoundError(path) from None
            damaged.append(path.name)
    return manifests, damaged


def replaced_names(manifests: Iterable[Manifest]) -> set[str]:
    """Names of the segments that derived ones among these replace. They are no longer read."""
    return {source.name for manifest in manifests for source, _ in manifest.replaced()}


def _list(
    folders: list[Path], writers: Collection[str] | None
) -> tuple[list[str], list[str], set[frozenset[str]]]:
    found: list[str] = []
    damaged: list[str] = []
    removals: set[frozenset[str]] = set()
    for folder in folders:
        manifests, unreadable = read_manifests(folder)
        damaged += unreadable
        replaced = replaced_names(manifests)
        if writers is not None:
            manifests = [item for item in manifests if _sealers(item) <= set(writers)]
        found += [str(folder / f"{item.name}.parquet") for item in manifests if item.name not in replaced]
        removals |= {
            frozenset(source.name for source in item.direct_sources())
            for manifest in manifests
            for item in manifest.tree()
            if item.operation in REMOVING
        }
    return list(dict.fromkeys(found)), damaged, removals


def _sealers(manifest: Manifest) -> set[str]:
    """The writers of a segment's rows."""
    return {item.writer_id for item in manifest.tree() if item.operation == "seal"}


def _one_by_one(paths: list[str], schema: Any, columns: list[str], where: Any) -> tuple[Any, list[str]]:
    """The rows that can be read, and the names of the files that cannot."""
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
