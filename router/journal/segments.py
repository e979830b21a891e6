"""Sealed segments: immutable Parquet files, each with a manifest.

    lake/<dataset>/date=2026-11-23/hour=04/20261123T04-<writer>-<sequence>.parquet
                                           20261123T04-<writer>-<sequence>.json      (manifest)

A segment exists once its manifest does: the Parquet file is written under a temporary name,
synced and renamed, then the manifest the same way. Readers use manifests, never a glob, so they never
read a half-written or foreign file. Sealing the same journal twice gives the same names and rows, so
repeating it repairs a crash between the two steps. The manifests of a writer form a hash chain
(`router.journal.manifests`).

Compaction and erasure replace segments by rewritten ones (`pipelines.lake.replacing`). A derived manifest
holds the manifests of the segments it replaced, so that their chains can still be walked.

pyarrow is imported on first use, so that `import router` stays light.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import logging
import types
import typing
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from router.errors import SegmentError
from router.files import make_folder, whole_lines, write_atomically
from router.journal import chains
from router.journal.manifests import FORMAT, Manifest, Operation, commit, was_sealed
from router.journal.places import hour_folder, manifest_path
from router.records import DATASETS, MONEY_SCALE, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("router.journal")

READ_BLOCK_BYTES = 16 << 20
"""pyarrow's JSON reader cannot split a line over two blocks, so this bounds one record's size."""
UNIQUE = ("id", "request_id", "feedback_id", "provider_request_id", "session_id")
"""Columns with a value of its own in most rows. A dictionary would only repeat them, and a reader can skip
files by their bounds. The other bounds and dictionaries were up to a third of a file. Ids that follow the
clock begin alike, so they are stored as differences to the one before, as whole numbers and moments are."""


def arrow_schema(record: type[Record], version: int | None = None) -> Any:
    """The Arrow schema of a dataset, derived from the contract's annotations.

    `version` leaves out the fields that a later schema version added, by the `since` of their metadata.
    """
    key: Any = record  # a class can be hashed, which its type does not say
    return _schema(key, record.SCHEMA_VERSION if version is None else version)


@functools.cache  # it takes 2 ms, and a refresh asks for it once a segment
def _schema(record: Any, version: int) -> Any:
    import pyarrow as pa

    return pa.schema(_arrow_fields(record, version))


def _arrow_fields(owner: type, version: int) -> list[Any]:
    import pyarrow as pa

    hints = typing.get_type_hints(owner)
    return [
        pa.field(item.name, _arrow_type(hints[item.name], version), nullable=_is_optional(hints[item.name]))
        for item in fields(owner)
        if item.metadata.get("since", 1) <= version
    ]


def _is_optional(hint: Any) -> bool:
    return type(None) in get_args(hint) and get_origin(hint) is not list


def _arrow_type(hint: Any, version: int) -> Any:
    import pyarrow as pa

    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is list:
        return pa.list_(pa.struct(_arrow_fields(get_args(hint)[0], version)))
    if get_origin(hint) is Literal:
        return pa.string()
    return {
        str: pa.string(),
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        Decimal: pa.decimal128(38, MONEY_SCALE),
        datetime: pa.timestamp("us", "UTC"),
    }[hint]


def seal(
    journal: Path, *, dataset: str, writer_id: str, sequence: int, lake: Path, is_new: bool = False
) -> list[Manifest]:
    """Write a finished journal's records as one segment for each hour of the records.

    The journal stays in place: its owner removes it once this returns. A torn last line (a write that a
    crash cut short) was never acknowledged and is left out. Lines that are not records of this dataset
    go to a separate `.bad` file. SegmentError, with nothing written, if there are no other lines.

    `is_new` means that this is the first try. Otherwise an hour may have been sealed already, and its
    segment compacted, erased from or dropped since: that hour is left unchanged.
    """
    record = DATASETS[dataset]
    hours = _by_hour(_read_journal(journal, record), record.MOMENT)
    # Locked, so that a replacement of a segment is seen either before or after it.
    with contextlib.nullcontext() if is_new else chains.locked(lake, chains.REWRITING):
        return [
            write_segment(rows, dataset=dataset, writer_id=writer_id, sequence=sequence, hour=hour, lake=lake)
            for hour, rows in hours
            if is_new
            or not was_sealed(lake, dataset=dataset, writer_id=writer_id, sequence=sequence, hour=hour)
        ]


def write_segment(
    rows: Any,
    *,
    dataset: str,
    writer_id: str,
    sequence: int,
    hour: datetime,
    lake: Path,
    sealed_at: datetime | None = None,
    schema_version: int | None = None,
    operation: Operation = "seal",
    sources: tuple[str, ...] = (),
) -> Manifest:
    """Put a table of one hour's records into the lake, unless a segment of that name exists."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    record = DATASETS[dataset]
    name = f"{hour:%Y%m%dT%H}-{writer_id}-{sequence:08d}"
    folder = hour_folder(lake, dataset, hour)
    path = folder / f"{name}.parquet"
    if manifest_path(path).exists():
        return commit(lake, Manifest.read(manifest_path(path)))
    make_folder(folder)
    content = parquet_bytes(rows)
    write_atomically(path, content)
    if sources:  # they are removed next, so their replacement must read back as the given rows
        with pq.ParquetFile(path) as file:
            if not file.read().equals(rows):
                raise SegmentError(f"`{path.name}` does not read as it was written; nothing was replaced")
    moments = pc.min_max(rows.column(record.MOMENT)).as_py()
    manifest = Manifest(
        format=FORMAT,
        dataset=dataset,
        schema_version=record.SCHEMA_VERSION if schema_version is None else schema_version,
        writer_id=writer_id,
        sequence=sequence,
        name=name,
        path=str(path.relative_to(lake)),
        rows=rows.num_rows,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        first_at=moments["min"] or hour,
        last_at=moments["max"] or hour,
        sealed_at=(sealed_at or datetime.now(UTC)).astimezone(UTC),
        chain_position=0,
        previous_sha256=None,
        previous_path=None,
        operation=operation,
        sources=sources,
    )
    return commit(lake, manifest)


def parquet_bytes(rows: Any) -> bytes:
    """The bytes of a segment's file for a table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    leaves = [leaf for field in rows.schema for leaf in _leaves(field.name, field.type)]
    empty = {name for name in rows.column_names if _is_empty(rows.column(name))}
    moments = [path for path, kind in leaves if pa.types.is_temporal(kind)]
    numbers = [path for path, kind in leaves if pa.types.is_integer(kind) and not _repeats(path, kind)]
    unique = [path for path, _ in leaves if path in UNIQUE]
    buffer = io.BytesIO()
    pq.write_table(
        rows,
        buffer,
        compression="zstd",
        store_schema=False,
        use_dictionary=[
            path for path, kind in leaves if _repeats(path, kind) and path.partition(".")[0] not in empty
        ],
        write_statistics=[*moments, *unique],
        column_encoding=dict.fromkeys([*moments, *numbers], "DELTA_BINARY_PACKED")
        | dict.fromkeys(unique, "DELTA_BYTE_ARRAY"),
    )
    return buffer.getvalue()


def _leaves(path: str, kind: Any) -> Iterator[tuple[str, Any]]:
    """The columns of a field as Parquet names them, and their types."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    else:
        yield path, kind


def _is_empty(column: Any) -> bool:
    """Whether no row has a value, or an element of a list."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(column.type):
        return not pc.sum(pc.list_value_length(column)).as_py()
    return bool(column.null_count == len(column))


def _repeats(path: str, kind: Any) -> bool:
    """Whether a column's values repeat within a segment: texts but ids, and what candidates share."""
    import pyarrow as pa

    return "." in path or (pa.types.is_string(kind) and path not in UNIQUE)


def _read_journal(journal: Path, record: type[Record]) -> Any:
    """The journal's records. Other lines are set aside for a person, if there are any records."""
    content = journal.read_bytes()
    whole = whole_lines(content)
    if b"\0" in whole:
        # JSON holds no raw NUL: it is a hole that a power cut left in unsynced data.
        whole = b"".join(line for line in whole.splitlines(keepends=True) if b"\0" not in line)
    try:
        return _table(whole, record)
    except SegmentError as error:
        tables, strangers = _tell_apart(whole.splitlines(keepends=True), record)
        what = f"journal `{journal.name}` holds lines that are not `{record.DATASET}` records: {error}"
        if not tables:
            raise SegmentError(f"{what}; the file is kept as it is") from error
    # Under an unused name: once it is repaired, it is sealed as a separate journal.
    aside = journal.with_name(f"{journal.stem}-00000001.bad")
    write_atomically(aside, b"".join(strangers))
    logger.error("%s; %d of its lines are kept in `%s`", what, len(strangers), aside)
    import pyarrow as pa

    return pa.concat_tables(tables)


def _tell_apart(lines: list[bytes], record: type[Record]) -> tuple[list[Any], list[bytes]]:
    """Tables of the lines that are records, in order, and the lines that are not."""
    try:
        return [_table(b"".join(lines), record)], []
    except SegmentError:
        if len(lines) == 1:
            return [], lines
    half = len(lines) // 2
    first, second = _tell_apart(lines[:half], record), _tell_apart(lines[half:], record)
    return first[0] + second[0], first[1] + second[1]


def _table(lines: bytes, record: type[Record]) -> Any:
    """Whole lines as a table; SegmentError if one is not a record."""
    import pyarrow as pa
    import pyarrow.json

    schema = arrow_schema(record)
    if not lines:
        return schema.empty_table()
    try:
        return pyarrow.json.read_json(
            io.BytesIO(lines),
            read_options=pyarrow.json.ReadOptions(block_size=READ_BLOCK_BYTES),
            # Fields stay nullable while parsing: the JSON reader has no other kind.
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema([item.with_nullable(True) for item in schema]),
                unexpected_field_behavior="error",
            ),
        ).cast(schema)
    except (pa.ArrowException, ValueError) as error:  # ValueError: a NULL in a required field
        raise SegmentError(str(error)) from error


def _by_hour(table: Any, moment: str) -> Iterator[tuple[datetime, Any]]:
    """Split by the UTC hour of `moment`, in time order; rows keep their order within an hour."""
    import pyarrow.compute as pc

    hours = pc.floor_temporal(table.column(moment), unit="hour")
    for hour in sorted(hours.unique().to_pylist()):
        yield hour.astimezone(UTC), table.filter(pc.equal(hours, hour))
