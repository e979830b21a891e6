"""The doctor reads what erasures left: shares of removed rows, tombstones and certificates."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines import flow
from pipelines.doctor import doctor
from pipelines.erasure import certificates
from pipelines.erasure.certificates import Certificate
from pipelines.errors import WarehouseError
from pipelines.retention import retention
from pipelines.rollups.tables import HOURLY
from pipelines.warehouse import publishing
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.files import sha256_of
from router.journal.places import REMOVALS
from tests.pipelines.helpers import NOW, make_record, run_steps, seal_records, stopped_after

PERSON = "person-4711@example.org"


@pytest.fixture
def erased(settings: Settings) -> Settings:
    """A data folder that a person was erased from."""
    for user in (PERSON, "u1"):
        seal_records(settings, [make_record(NOW, user_id=user)])
    flow.erase(settings, PERSON)
    assert doctor.inspect(settings, with_audit=True).findings == []
    return settings


def _record(settings: Settings) -> Path:
    (path,) = (settings.lake / REMOVALS).rglob("*.json")
    return path


def _edited(settings: Settings, **facts: object) -> None:
    path = _record(settings)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | facts))


def _flip_a_part(settings: Settings) -> None:
    path = min((settings.lake / REMOVALS).rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _vouch_for_less(settings: Settings) -> None:
    path = _record(settings)
    part = path.with_name(f"{path.stem}.usage_quarter_hourly.parquet")
    _edited(settings, sha256={"usage_quarter_hourly": sha256_of(part)})


def _rename(settings: Settings) -> None:
    folder = _record(settings).parent
    folder.rename(folder.with_name("date=2026-06-20"))


@pytest.mark.parametrize(
    "fault",
    [
        _flip_a_part,
        _vouch_for_less,
        _rename,
        lambda settings: _record(settings).write_text("{}"),
        lambda settings: _record(settings).write_text("nothing"),
        lambda settings: _edited(settings, rows=7),
        lambda settings: _edited(settings, sources=["20261120T12-w1-00000001"]),
        lambda settings: _edited(settings, hour="2026-06-19T13:00:00+00:00"),
        lambda settings: _edited(settings, hour="soon"),
        lambda settings: _edited(settings, format="intellirouter.removal/9"),
    ],
)
def test_a_damaged_share_is_an_error(erased: Settings, fault: Callable[[Settings], object]) -> None:
    """What removed rows added to the rollups is needed by every rebuild."""
    fault(erased)
    (finding,) = doctor.inspect(erased).findings
    assert (finding.severity, finding.what) == (
        "error",
        "the rollup share of removed rows is damaged",
    )
    assert "backup" in finding.advice


def test_a_share_that_is_gone_is_an_error(erased: Settings) -> None:
    """The warehouse has taken it in, and could not be built again."""
    path = _record(erased)
    path.unlink()
    findings = doctor.inspect(erased).findings
    assert [item.what for item in findings] == [
        "the rollup share of removed rows is missing",
        *["a stopped erasure or retention left a file"] * len(HOURLY),
    ]
    assert findings[0].value == path.stem


def test_a_share_that_retention_forgets_is_none(erased: Settings) -> None:
    """Shares go with their day, also when the run stops before the copy is published."""
    steps = [(retention, "_expire_rollups")]
    with Warehouse(erased) as warehouse, pytest.raises(KeyboardInterrupt), stopped_after(0, steps):
        flow.retain(warehouse, now=NOW + timedelta(days=100))
    assert not list((erased.lake / REMOVALS).rglob("*.json"))
    assert [
        item for item in doctor.inspect(erased, with_audit=True).findings if item.severity == "error"
    ] == []


def test_a_stopped_erasure_is_a_warning(settings: Settings) -> None:
    """The next refresh ends it, and then there is nothing to say."""
    for user in (PERSON, "u1"):
        seal_records(settings, [make_record(NOW, user_id=user)])
    with pytest.raises(KeyboardInterrupt), stopped_after(0, [(certificates, "issue")]):
        flow.erase(settings, PERSON)
    findings = doctor.inspect(settings, with_audit=True).findings
    assert {item.severity for item in findings} == {"warning"}
    assert "an erasure was stopped" in {item.what for item in findings}
    with Warehouse(settings) as warehouse:
        flow.honour_erasures(warehouse)
        run_steps(warehouse)
        publishing.publish_warehouse(warehouse)
    assert doctor.inspect(settings, with_audit=True).findings == []


def _certificate(settings: Settings) -> Path:
    (path,) = (path for path in settings.erasures.glob("*.json") if "tombstone" not in path.name)
    return path


def test_an_erasure_that_left_something_is_an_error_until_it_is_repeated(erased: Settings) -> None:
    """A certificate with `remaining` entries is named until a later one of the same person has none."""
    path = _certificate(erased)
    certificate = Certificate.model_validate_json(path.read_bytes())
    left = certificate.model_copy(update={"remaining": ("notes/export.csv",)})
    path.write_text(left.model_dump_json())
    (finding,) = doctor.inspect(erased).findings
    assert (finding.severity, finding.what.partition(":")[0]) == ("error", "an erasure is unfinished")
    assert "notes/export.csv" in finding.value
    assert "erase the person again" in finding.advice
    later = certificate.model_copy(
        update={"erased_at": datetime.now(UTC), "cause": "late segments", "searched": None}
    )
    path.with_name("later.json").write_text(later.model_dump_json())
    assert [item.severity for item in doctor.inspect(erased).findings] == ["error"]  # nobody searched
    path.with_name("later.json").unlink()
    assert flow.erase(erased, PERSON).remaining == ()
    assert doctor.inspect(erased).findings == []


@pytest.mark.parametrize("suffix", ["tombstone.json", "json"])
def test_a_file_of_an_erasure_that_cannot_be_read_is_an_error(erased: Settings, suffix: str) -> None:
    """Without its tombstone the late records of a person would be kept."""
    (path,) = (path for path in erased.erasures.iterdir() if path.name.partition(".")[2] == suffix)
    path.write_text("{}")
    (finding,) = doctor.inspect(erased).findings
    assert (finding.severity, finding.what) == ("error", "a file of an erasure cannot be read")
    assert path.name in finding.value


def test_a_removal_that_cannot_be_read_stops_the_refresh(erased: Settings) -> None:
    """What the doctor calls damaged is what the fold refuses."""
    _flip_a_part(erased)
    erased.build_file.unlink()
    with Warehouse(erased) as warehouse, pytest.raises(WarehouseError, match="cannot be used"):
        run_steps(warehouse)
