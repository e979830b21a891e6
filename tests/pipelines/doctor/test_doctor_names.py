"""An audit names the first record that was changed, removed or added, and prints heads to keep."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipelines import flow
from pipelines.cli import doctor_command
from pipelines.doctor import doctor
from pipelines.lake import audit, compaction, reading
from pipelines.lake.audit import KeptHead
from pipelines.warehouse import publishing
from pipelines.warehouse.warehouse import Warehouse
from router.files import sha256_of
from router.journal import chains
from router.journal.manifests import Manifest
from router.journal.places import manifest_path, without_prefix
from router.journal.segments import parquet_bytes
from router.records import DATASETS, RequestRecord, Tag
from tests.pipelines.helpers import (
    NOW,
    make_event,
    make_feedback,
    make_log,
    make_record,
    run_steps,
    seal_records,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.config import Settings

Rows = list[dict[str, Any]]


def refresh(settings: Settings) -> None:
    """Load, roll up, publish."""
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        publishing.publish_warehouse(warehouse)


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """Two segments of each dataset; in one a record that stands in the other too."""
    records = [
        make_record(NOW + timedelta(seconds=second), tags=[Tag(key="team", value="a")], user_id=None)
        for second in range(8)
    ]
    events = [make_event(record.timestamp) for record in records]
    for part in (slice(5), slice(4, None)):
        some = records[part]
        seal_records(settings, [*some, *(make_feedback(item, 0.5) for item in some), *events[part]])
        seal_records(settings, [make_log(item, response_data="no JSON") for item in some])
    refresh(settings)
    assert doctor.inspect(settings, with_audit=True).findings == []
    return settings


def segment(settings: Settings, dataset: str, index: int = 0) -> Path:
    """A segment's file, in the order of sealing."""
    return sorted((settings.lake / dataset).rglob("*.parquet"), key=lambda path: path.name[-16:])[index]


def rewrite(path: Path, change: Callable[[Rows], Rows], *, with_manifest: bool) -> None:
    """Change rows of a segment; with its manifest, or behind its back."""
    table = reading.read_rows(path)
    path.write_bytes(parquet_bytes(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema)))
    if with_manifest:
        manifest = Manifest.read(manifest_path(path))
        changed = replace(
            manifest, bytes=path.stat().st_size, sha256=sha256_of(path), rows=reading.read_rows(path).num_rows
        )
        changed.write(manifest_path(path))


def _changed(column: str, value: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [row | {column: value} if index in (2, 3) else row for index, row in enumerate(rows)]


def _without(rows: Rows) -> Rows:
    return rows[:2] + rows[4:]


def _with_more(key: str) -> Callable[[Rows], Rows]:
    return lambda rows: [*rows, rows[2] | {key: "forged-2"}, rows[1] | {key: "forged-1"}]


VALUES = {
    "request_analytics": ("cost_usd", None),
    "feedback": ("value", 0.75),
    "request_logs": ("user_id", "x"),
    "security_events": ("refusals", 99),
}


@pytest.mark.parametrize("with_manifest", [False, True])
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_first_record_is_named(filled: Settings, dataset: str, *, with_manifest: bool) -> None:
    """The earliest record that was changed, removed or added, whether the manifest was forged or not."""
    path = segment(filled, dataset)
    content, manifest = path.read_bytes(), manifest_path(path).read_bytes()
    key = fields(DATASETS[dataset])[0].name
    ids = reading.read_rows(path).column(key).to_pylist()
    for change, expected in (
        (_changed(*VALUES[dataset]), f"record `{ids[2]}` was changed"),
        (_without, f"record `{ids[2]}` was removed"),
        (_with_more(key), "record `forged-1` was added"),
    ):
        rewrite(path, change, with_manifest=with_manifest)
        errors = [
            item for item in doctor.inspect(filled, with_audit=True).findings if item.severity == "error"
        ]
        assert [item.value for item in errors if expected not in item.value] == []
        assert {item.what.split(" `")[0] for item in errors} >= {"the chain of"}
        path.write_bytes(content)
        manifest_path(path).write_bytes(manifest)


def _swap(settings: Settings) -> None:
    one, other = segment(settings, "feedback"), segment(settings, "feedback", 1)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _remove(settings: Settings) -> None:
    path = segment(settings, "feedback")
    path.unlink()
    manifest_path(path).unlink()


def _remove_the_file_alone(settings: Settings) -> None:
    segment(settings, "feedback").unlink()


@pytest.mark.parametrize("tamper", [_swap, _remove, _remove_the_file_alone])
def test_the_first_record_of_a_file_that_is_gone_is_named(
    filled: Settings, tamper: Callable[[Settings], None]
) -> None:
    """A removed file, or one that another took the place of, lacks its first record first."""
    first = reading.read_rows(segment(filled, "feedback")).column("feedback_id")[0].as_py()
    tamper(filled)
    values = [item.value for item in doctor.inspect(filled, with_audit=True).findings if "chain" in item.what]
    assert f"record `{first}` was removed" in values[0]


def test_without_rows_or_a_readable_file_the_file_is_named(filled: Settings) -> None:
    """A file that is no Parquet any more, and a segment that nobody loaded, are named alone."""
    path = segment(filled, "request_analytics")
    path.write_bytes(b"PAR1 and nothing else PAR1")
    (chain,) = [item for item in doctor.inspect(filled, with_audit=True).findings if "chain" in item.what]
    assert path.name in chain.value
    assert "record" not in chain.value
    filled.warehouse_file.unlink()
    rewrite(segment(filled, "feedback"), _without, with_manifest=False)
    chain = next(
        item for item in doctor.inspect(filled, with_audit=True).findings if "`feedback`" in item.what
    )
    assert "record" not in chain.value


def test_a_row_that_stands_elsewhere_is_not_blamed(filled: Settings) -> None:
    """The second copy of a record was never loaded from its segment; only the real change is named."""
    path = segment(filled, "request_analytics", 1)
    ids = reading.read_rows(path).column("id").to_pylist()
    assert len(ids) == 4
    rewrite(path, lambda rows: [row | {"latency_ms": 1.5} for row in rows], with_manifest=False)
    (chain,) = [item for item in doctor.inspect(filled, with_audit=True).findings if "chain" in item.what]
    assert chain.value.endswith(f"record `{ids[1]}` was changed")


def heads(settings: Settings) -> list[KeptHead]:
    """What an audit prints."""
    return doctor.inspect(settings, with_audit=True).heads


def _cut_the_end(settings: Settings) -> Path:
    """Remove the last segment and set its chain's head back, so that the lake agrees with itself."""
    path = segment(settings, RequestRecord.DATASET, 1)
    first = manifest_path(segment(settings, RequestRecord.DATASET))
    path.unlink()
    manifest_path(path).unlink()
    named = without_prefix(first).relative_to(settings.lake)
    head = chains.Head(position=1, manifest_sha256=sha256_of(first), path=str(named))
    chains.write_head(chains.head_path(settings.lake, RequestRecord.DATASET, "w1"), head)
    return path


def test_a_kept_head_shows_that_an_end_was_cut(filled: Settings) -> None:
    """Without the ledger nothing else could tell; with the head of an earlier audit it is found."""
    kept = heads(filled)
    assert [str(head).partition("=")[0] for head in kept] == [
        "feedback/w1",
        "request_analytics/w1",
        "request_logs/w1",
        "security_events/w1",
    ]
    assert all(head.position == 2 for head in kept)
    _cut_the_end(filled)
    for file in (filled.warehouse_file, filled.build_file):
        file.unlink()
    assert audit.audit(filled.home)[0] == []
    (only,) = audit.audit(filled.home, expected=kept)[0]
    assert (only.dataset, only.position) == (RequestRecord.DATASET, 2)
    assert "cut or replaced" in only.reason
    gone = KeptHead(dataset="feedback", writer_id="w7", position=1, manifest_sha256="0" * 64)
    (only,) = audit.audit(filled.home, expected=[gone])[0]
    assert only.writer_id == "w7"


def test_kept_heads_outlive_compaction_erasure_and_retention(filled: Settings) -> None:
    """What the product itself does to the lake never contradicts a head that was kept."""
    kept = heads(filled)
    seal_records(filled, [make_record(NOW + timedelta(minutes=5), user_id="u9")])
    kept += heads(filled)
    compaction.compact(filled.lake, now=NOW + timedelta(days=1))
    kept += heads(filled)
    assert audit.audit(filled.home, expected=kept)[0] == []
    flow.erase(filled, "u9")
    kept += heads(filled)
    assert audit.audit(filled.home, expected=kept)[0] == []
    with Warehouse(filled) as warehouse:
        flow.retain(warehouse, now=NOW + timedelta(days=100))
        publishing.publish_warehouse(warehouse)
    assert doctor.inspect(filled, with_audit=True, expected=kept).findings == []
    assert list(filled.lake.rglob("date=*/hour=*")) == []


def run(settings: Settings, *options: str) -> Any:
    """The command."""
    return CliRunner().invoke(doctor_command, ["--home", str(settings.home), *options])


@pytest.mark.parametrize("form", ["table", "json"])
def test_the_printed_heads_are_taken_back(filled: Settings, tmp_path: Path, form: str) -> None:
    """The output of an audit, in either format, is what a later one is given."""
    printed = run(filled, "--audit", "--format", form)
    assert printed.exit_code == 0
    file = tmp_path / "kept"
    file.write_text(printed.output)
    assert KeptHead.find_all(printed.output) == heads(filled)
    assert run(filled, "--expect-heads", str(file)).exit_code == 0
    backup = tmp_path / "backup"
    shutil.copytree(filled.home, backup)
    _cut_the_end(filled)
    answer = run(filled, "--expect-heads", str(file), "--format", "json")
    assert answer.exit_code == 1
    assert any("cut or replaced" in item["value"] for item in json.loads(answer.output))
    head = next(
        str(item) for item in KeptHead.find_all(printed.output) if item.dataset == "request_analytics"
    )
    assert run(filled, "--expect-head", head).exit_code == 1
    assert CliRunner().invoke(doctor_command, ["--home", str(backup), "--expect-head", head]).exit_code == 0


def test_a_head_that_is_none_is_refused(filled: Settings, tmp_path: Path) -> None:
    """A typing error must not pass for a head that was checked."""
    (tmp_path / "empty").write_text("everything is in order\n")
    for options in (
        ("--expect-head", "w1=2:abc"),
        ("--expect-head", f"logs/w1=2:{'0' * 64}"),
        ("--expect-heads", str(tmp_path / "empty")),
    ):
        answer = run(filled, *options)
        assert answer.exit_code == 2, answer.output
    assert "is not a chain head" in run(filled, "--expect-head", "w1=2:abc").output


def test_a_plain_examination_prints_no_heads(filled: Settings) -> None:
    """Heads are an audit's: without one the output stays short."""
    assert run(filled).output == "everything is in order\n"
    assert pq.read_metadata(segment(filled, "feedback")).num_rows == 5
