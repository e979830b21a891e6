"""A command whose run fails prints what is wrong, and no log of Dagster's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from pipelines.refresh import refresh, retain
from pipelines.warehouse import loading
from tests.factories import write_catalog
from tests.pipelines.helpers import make_record, seal_records

if TYPE_CHECKING:
    from router.config import Settings


def test_a_refusal_is_its_message_alone(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed, neither a trace nor the steps that did not run, nor is the error's class named."""
    write_catalog(settings.home)
    seal_records(settings, [make_record(datetime.now(UTC))])
    with dg.DagsterInstance.ephemeral() as instance:
        done = retain(settings, now=datetime.now(UTC) + timedelta(days=4000), instance=instance)
    assert not done.success
    assert done.error is not None
    assert done.error.startswith("retention as of `")
    assert capfd.readouterr() == ("", "")


def test_another_error_keeps_one_trace(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its class and its place are what a report of a bug needs."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    write_catalog(settings.home)
    monkeypatch.setattr(loading, "load_all", broken)
    with dg.DagsterInstance.ephemeral() as instance:
        done = refresh(settings, instance=instance)
    assert done.error == "ZeroDivisionError: of all things"
    [line] = [item.getMessage() for item in caplog.records if item.name == "pipelines.refresh"]
    assert "in broken" in line
