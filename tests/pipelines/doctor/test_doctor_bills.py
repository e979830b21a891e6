"""The doctor names a closed bill that was changed or removed, and what a stopped close left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipelines.doctor import bill_checks
from pipelines.flow import close_month
from tests.pipelines.billing.test_closing import AFTER, OCTOBER, load
from tests.pipelines.helpers import make_record

if TYPE_CHECKING:
    from pathlib import Path

    from router.config import Settings


def found(settings: Settings) -> list[tuple[str, str]]:
    """Severity and finding of each problem with bills."""
    return [(item.severity, item.what) for item in bill_checks.bills(settings)]


@pytest.fixture
def files(settings: Settings) -> list[Path]:
    """A closed bill: its lines and its JSON file, and a restatement."""
    load(settings, make_record(OCTOBER))
    closing = close_month(settings, "2026-10", now=AFTER)
    load(settings, make_record(OCTOBER))
    assert found(settings) == []
    (restated,) = (settings.lake / "bills" / "restatements").iterdir()
    return [closing.lines, closing.path, restated]


def test_a_changed_bill_is_named(settings: Settings, files: list[Path]) -> None:
    """A changed line, a changed term with the same lines, a changed restatement: each is an error."""
    lines, manifest, restated = files
    whole = {path: path.read_bytes() for path in files}
    lines.write_bytes(whole[lines][:-1])
    assert found(settings) == [("error", "a closed bill was changed")]
    assert str(manifest) in next(iter(bill_checks.bills(settings))).value
    lines.write_bytes(whole[lines])
    for path, member in ((manifest, "bills"), (restated, "rows")):
        raw = json.loads(whole[path])
        raw[member][0]["reason" if member == "rows" else "mark_up"] = "9"
        path.write_text(json.dumps(raw))
        assert found(settings) == [("error", "a closed bill is not what the trail of changes says")]
        path.write_bytes(whole[path])
    assert found(settings) == []


def test_a_removed_bill_is_named(settings: Settings, files: list[Path]) -> None:
    """The trail knows of it."""
    files[0].unlink()
    files[1].unlink()
    assert found(settings) == [("error", "a closed bill is missing")]


def test_a_stopped_close_is_a_warning_until_the_next_one(settings: Settings) -> None:
    """A kill after the event leaves lines without their JSON file, which no one reads."""
    load(settings, make_record(OCTOBER))
    close_month(settings, "2026-10", now=AFTER).path.unlink()
    assert found(settings) == [("warning", "a stopped close left a file")]
    close_month(settings, "2026-10", now=AFTER.replace(hour=1))
    assert found(settings) == []
