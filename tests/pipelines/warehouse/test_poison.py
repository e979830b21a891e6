"""A lake full of poison: every bad file is named, every good one is read, nothing is read wrong."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.warehouse import loading
from router.files import sha256_of
from router.journal.places import manifest_path
from tests.pipelines.helpers import NOW, make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings
    from router.journal.manifests import Manifest

FLIPS = 300


def _clone(lake: Path, model: Manifest, name: str, content: bytes, *, agrees: bool = False) -> str:
    """A segment of another name with `content` as its file; the manifest says what the model's said."""
    manifest = replace(model, name=name, path=model.path.replace(model.name, name))
    path = lake / manifest.path
    path.write_bytes(content)
    if agrees:
        manifest = replace(manifest, bytes=len(content), sha256=sha256_of(path))
    manifest_path(path).write_bytes(manifest.content())
    return manifest.path


def _as_parquet(change: Callable[[pa.Table], pa.Table]) -> Callable[[bytes], bytes]:
    def apply(content: bytes) -> bytes:
        buffer = pa.BufferOutputStream()
        pq.write_table(change(pq.read_table(pa.BufferReader(content))), buffer, store_schema=False)
        return bytes(buffer.getvalue())

    return apply


def _recast(column: str, kind: pa.DataType) -> Callable[[bytes], bytes]:
    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(column)
        return table.set_column(index, column, table.column(index).cast(kind))

    return _as_parquet(change)


POISON: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "junk": lambda _: b"\x00junk" * 200,
    "wrong-footer": lambda content: content[:-8] + content[-4:] + content[-8:-4],
    "foreign-schema": _as_parquet(lambda _: pa.table({"a": [1, 2, 3]})),
    "missing-column": _as_parquet(lambda table: table.drop_columns(["latency_ms"])),
    "money-as-double": _recast("cost_usd", pa.float64()),
    "count-as-text": _recast("tokens_input", pa.string()),
    "fewer-rows": _as_parquet(lambda table: table.slice(1)),
}
"""Each stands twice: with the manifest of the good file, and with one that agrees with the bad one."""


def test_poison_is_named_and_the_rest_is_read(settings: Settings, warehouse: Warehouse) -> None:
    """Every kind of bad file, 300 single bit flips among them, is quarantined with a reason; 0 read wrong."""
    rng = random.Random(12)
    good = [make_record(NOW + timedelta(seconds=index)) for index in range(50)]
    (model,) = seal_records(settings, good)
    path = settings.lake / model.path
    content, folder = path.read_bytes(), path.parent
    bad = set()
    for index in range(FLIPS):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        bad.add(_clone(settings.lake, model, f"20261120T12-flip-{index:08d}", bytes(flipped)))
    for kind, change in POISON.items():
        bad.add(_clone(settings.lake, model, f"20261120T12-{kind}-00000001", change(content)))
        bad.add(_clone(settings.lake, model, f"20261120T12-{kind}-00000002", change(content), agrees=True))
    elsewhere = settings.home / "elsewhere.parquet"
    elsewhere.write_bytes(content)
    for name in ("link", "foreign"):
        bad.add(str((folder / f"{name}.parquet").relative_to(settings.lake)))
    (folder / "link.parquet").symlink_to(elsewhere)
    (folder / "foreign.parquet").write_bytes(content)
    (folder / ".tmp-20261120T12-w9-00000001.parquet-77").write_bytes(content[:100])
    late = make_record(NOW + timedelta(minutes=59))
    seal_records(settings, [late])

    result = loading.load(warehouse, "request_analytics")

    assert {suspect.path for suspect in result.quarantined} == bad
    assert len(bad) == FLIPS + 2 * len(POISON) + 2
    assert all(suspect.reason for suspect in result.quarantined)
    assert warehouse.rows("select id, latency_ms, cost_usd from request_analytics order by timestamp") == [
        (record.id, record.latency_ms, record.cost_usd) for record in [*good, late]
    ]
