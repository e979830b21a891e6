"""Sealed segments: immutable Parquet files with a manifest beside each.

    lake/<dataset>/date=2026-11-23/hour=04/20261123T04-<writer>-<sequence>.parquet
                                           20261123T04-<writer>-<sequence>.json      (manifest)

A segment exists once its manifest does: the Parquet file is written under a temporary name,
synced and renamed, then the manifest the same way. Readers go by manifests, never by a glob, so a
half-written or foreign file is never read. Sealing the same journal twice gives the same names and
rows, so a crash between the two steps is repaired by doing it again.

pyarrow is imported on first use: `import router` stays light.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import types
import typing
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from router.errors import SegmentError
from router.records import DATASETS, MONEY_SCALE, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = "intellirouter.segment/1"
TEMPORARY_PREFIX = ".tmp-"
READ_BLOCK_BYTES = 16 << 20
"""pyarrow's JSON reader cannot split a line over two blocks, so this bounds one record's size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a segment holds and how to tell that it was not changed."""

    format: str
    dataset: str
    schema_version: int
    writer_id: str
    sequence: int
    name: str
    """Unique over all writers; the key of the load ledger."""
    path: str
    """Relative to the lake's folder."""
    rows: int
    bytes: int
    sha256: str
    first_at: datetime
    last_at: datetime
    sealed_at: datetime

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest at `path`; SegmentError when it is not one."""
        try:
            raw = json.loads(path.read_bytes())
            moments = {key: datetime.fromisoformat(raw[key]) for key in ("first_at", "last_at", "sealed_at")}
            manifest = cls(**{**raw, **moments})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SegmentError(f"manifest `{path.name}` cannot be read: {error}") from error
        if manifest.format != FORMAT:
            raise SegmentError(f"manifest `{path.name}` has format `{manifest.format}`, expected `{FORMAT}`")
        if manifest.dataset not in DATASETS:
            raise SegmentError(f"manifest `{path.name}` names the unknown dataset `{manifest.dataset}`")
        return manifest

    def write(self, path: Path) -> None:
        """Put the manifest at `path`, whole or not at all."""
        raw = asdict(self)
        for key in ("first_at", "last_at", "sealed_at"):
            raw[key] = raw[key].isoformat()
        write_atomically(path, json.dumps(raw, indent=1).encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Write under a temporary name in the same folder, sync, rename, sync the folder."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries (a rename, a removal) durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def arrow_schema(record: type[Record]) -> Any:
    """The Arrow schema of a dataset, derived from the contract's annotations."""
    import pyarrow as pa

    return pa.schema(_arrow_fields(record))


def _arrow_fields(owner: type) -> list[Any]:
    import pyarrow as pa

    hints = typing.get_type_hints(owner)
    return [
        pa.field(item.name, _arrow_type(hints[item.name]), nullable=_is_optional(hints[item.name]))
        for item in fields(owner)
    ]


def _is_optional(hint: Any) -> bool:
    return type(None) in get_args(hint) and get_origin(hint) is not list


def _arrow_type(hint: Any) -> Any:
    import pyarrow as pa

    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is list:
        return pa.list_(pa.struct(_arrow_fields(get_args(hint)[0])))
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


def seal(journal: Path, *, dataset: str, writer_id: str, sequence: int, lake: Path) -> list[Manifest]:
    """Write a finished journal's records as one segment per hour they fall in.

    The journal is left in place: its owner removes it once this returns. A torn last line (a write
    that a crash cut short) was never acknowledged and is left out. A line that is not a record of
    this dataset raises SegmentError and nothing is written.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    record = DATASETS[dataset]
    manifests = []
    for hour, rows in _by_hour(_read_journal(journal, record), record.MOMENT):
        name = f"{hour:%Y%m%dT%H}-{writer_id}-{sequence:08d}"
        folder = lake / dataset / f"date={hour:%Y-%m-%d}" / f"hour={hour:%H}"
        manifest_path = folder / f"{name}.json"
        if manifest_path.exists():
            manifests.append(Manifest.read(manifest_path))
            continue
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd", store_schema=False)
        content = buffer.getvalue()
        path = folder / f"{name}.parquet"
        write_atomically(path, content)
        moments = pc.min_max(rows.column(record.MOMENT)).as_py()
        manifest = Manifest(
            format=FORMAT,
            dataset=dataset,
            schema_version=record.SCHEMA_VERSION,
            writer_id=writer_id,
            sequence=sequence,
            name=name,
            path=str(path.relative_to(lake)),
            rows=rows.num_rows,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            first_at=moments["min"],
            last_at=moments["max"],
            sealed_at=datetime.now(UTC),
        )
        manifest.write(manifest_path)
        manifests.append(manifest)
    return manifests


def _read_journal(journal: Path, record: type[Record]) -> Any:
    import pyarrow as pa
    import pyarrow.json

    content = journal.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    schema = arrow_schema(record)
    if not whole:
        return schema.empty_table()
    try:
        return pyarrow.json.read_json(
            io.BytesIO(whole),
            read_options=pyarrow.json.ReadOptions(block_size=READ_BLOCK_BYTES),
            # Fields stay nullable while parsing: the JSON reader knows no other.
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema([item.with_nullable(True) for item in schema]),
                unexpected_field_behavior="error",
            ),
        ).cast(schema)
    except pa.ArrowInvalid as error:
        raise SegmentError(
            f"journal `{journal.name}` holds a line that is no `{record.DATASET}` record: {error};"
            " the file is kept as it is"
        ) from error


def _by_hour(table: Any, moment: str) -> Iterator[tuple[datetime, Any]]:
    """Split by the UTC hour of `moment`, in time order; rows keep their order within an hour."""
    import pyarrow.compute as pc

    hours = pc.floor_temporal(table.column(moment), unit="hour")
    for hour in sorted(hours.unique().to_pylist()):
        yield hour.astimezone(UTC), table.filter(pc.equal(hours, hour))
