"""The doctor names a mirror that lacks segments, holds erased ones, or is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipelines import flow
from pipelines.doctor import doctor
from router.config import Settings
from router.records import DATASETS
from tests.pipelines.copies.conftest import Mirrored
from tests.pipelines.copies.test_mirror import traffic
from tests.pipelines.helpers import seal_records
from tests.postgres import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def mirrored(tmp_path: Path, postgres_url: str) -> Mirrored:
    """Six requests in the lake, the warehouse and the mirror."""
    found = Mirrored(tmp_path / "data", postgres_url)
    seal_records(found.settings, traffic(6))
    found.refresh()
    found.mirror()
    return found


def findings(settings: Settings) -> list[tuple[str, str, str]]:
    """Severity, kind and value of each finding about the mirror."""
    return [
        (item.severity, item.what, item.value)
        for item in doctor.inspect(settings).findings
        if "mirror" in item.what
    ]


def test_a_mirror_behind_the_lake_is_named(mirrored: Mirrored) -> None:
    """From the moment that a segment is sealed, through the refresh, until the mirror has followed."""
    assert doctor.inspect(mirrored.settings).findings == []
    seal_records(mirrored.settings, traffic(3))
    expected = [("warning", "the mirror is behind the lake")] * 3
    assert [item[:2] for item in findings(mirrored.settings)] == expected
    mirrored.refresh()
    assert [item[:2] for item in findings(mirrored.settings)] == expected
    for dataset, (_, _, value) in zip(DATASETS, findings(mirrored.settings), strict=False):
        assert f"lacks 1 segments of `{dataset}`, the last is `" in value
    mirrored.mirror()
    assert doctor.inspect(mirrored.settings).findings == []


def test_a_mirror_that_was_never_run_is_named(mirrored: Mirrored) -> None:
    """A new target lacks every segment."""
    mirrored.ask("drop schema analytics cascade")
    assert {item[1] for item in findings(mirrored.settings)} == {"the mirror is behind the lake"}
    mirrored.mirror()
    assert findings(mirrored.settings) == []


def test_a_mirror_with_erased_rows_is_named(mirrored: Mirrored) -> None:
    """An erasure that could not reach the mirror leaves rows that readers still see."""
    flow.erase(Settings.load({}, home=mirrored.settings.home), "u1")
    found = {item[1] for item in findings(mirrored.settings)}
    assert "the mirror holds rows that were erased, expired or merged" in found
    mirrored.mirror()
    assert findings(mirrored.settings) == []


def test_a_mirror_that_is_away_is_named_without_its_password(mirrored: Mirrored) -> None:
    """The finding is an error with a remedy, and everything else is examined all the same."""
    url = f"postgresql://ada:{PASSWORD}@127.0.0.1:9/x"
    settings = Settings.load({"MIRROR_URL": url}, home=mirrored.settings.home)
    (finding,) = doctor.inspect(settings).findings
    assert (finding.severity, finding.what) == ("error", "the mirror cannot be read")
    assert "`postgresql://127.0.0.1:9/x` could not connect" in finding.value
    assert "correct MIRROR_URL" in finding.advice
    assert PASSWORD not in str(finding)
