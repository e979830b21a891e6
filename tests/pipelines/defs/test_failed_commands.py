"""A command whose run fails prints what is wrong, and no log of Dagster's."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import pytest

import pipelines.refresh as jobs
from pipelines.errors import WarehouseError
from pipelines.refresh import refresh, retain
from pipelines.warehouse import loading, run_history
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


def _full(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR | 19 << 8])
def test_a_full_disk_damages_no_database(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Nobody is sent to move Dagster's files away: the disk is named, and space alone ends it."""

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("Dagster's own words") from _full(code)

    write_catalog(settings.home)
    assert refresh(settings).success
    monkeypatch.setattr(jobs, "_job", full)
    with pytest.raises(WarehouseError, match=r"cannot write its runs in .*: disk I/O error\. Free space"):
        refresh(settings)
    monkeypatch.setattr("sqlite3.connect", lambda *_, **__: _raise(_full(code)))
    assert list(run_history.damaged(settings.dagster_home)) == []


def _raise(error: Exception) -> None:
    raise error
