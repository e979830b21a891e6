"""The files of `GET /v1/usage` follow the rows, and only the days that changed are written."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines import flow
from pipelines.warehouse.usage import publish_usage
from pipelines.warehouse.warehouse import Warehouse, set_aside
from router.config import Settings
from router.request.usage import USAGE_COLUMNS, USAGE_INDEX, usage_folder
from tests.pipelines.helpers import NOW, make_record, seal_records

DAY = timedelta(days=1)
EXPIRED = NOW + timedelta(days=91)


def files(settings: Settings) -> dict[Path, tuple[int, bytes]]:
    """Every file of usage: its inode, which a replacement changes, and its content."""
    found = sorted((settings.home / "usage").rglob("*.json"))
    return {path: (path.stat().st_ino, path.read_bytes()) for path in found}


def rows(settings: Settings, organization: str | None) -> list[tuple[str, dict[str, Any]]]:
    """The day and the values of each row of an organisation."""
    folder = usage_folder(settings.home, organization)
    index = json.loads((folder / USAGE_INDEX).read_bytes())
    return [
        (day, {"model": model, "task": task, **dict(zip(USAGE_COLUMNS, row, strict=True))})
        for day in index["days"]
        for model, task, users in json.loads((folder / f"{day}.json").read_bytes())
        for row in users
    ]


def day_file(settings: Settings, organization: str, moment: Any = NOW) -> Path:
    return usage_folder(settings.home, organization) / f"{moment:%Y-%m-%d}.json"


@pytest.fixture
def filled(settings: Settings, warehouse: Warehouse) -> Warehouse:
    """Two organisations with two days each."""
    seal_records(
        settings,
        [
            make_record(NOW - index * DAY, organization_id=name, user_id="ada")
            for index in (0, 1)
            for name in ("acme", "globex")
        ],
    )
    flow.catch_up(warehouse)
    return warehouse


def test_a_refresh_with_nothing_new_writes_no_file(settings: Settings, filled: Warehouse) -> None:
    """No file is replaced, and no request is read."""
    before = files(settings)
    assert len(before) == 6
    flow.catch_up(filled)
    assert publish_usage(filled) == 0
    assert files(settings) == before


def test_a_new_request_changes_its_day_only(settings: Settings, filled: Warehouse) -> None:
    """The organisation's other day keeps its file, and so do all days of others."""
    before = files(settings)
    seal_records(settings, [make_record(NOW, organization_id="acme", user_id="bob")])
    flow.catch_up(filled)
    folder = usage_folder(settings.home, "acme")
    after = files(settings)
    changed = {path for path in after if after[path] != before.get(path)}
    assert changed == {day_file(settings, "acme"), folder / USAGE_INDEX}
    assert [(row["user"], row["requests"]) for _, row in rows(settings, "acme")] == [
        ("ada", 1),
        ("ada", 1),
        ("bob", 1),
    ]


def test_every_request_is_in_a_row(settings: Settings, warehouse: Warehouse) -> None:
    """Also one without a model, a user or a cost, and one with quotes in its names."""
    failed = {"model_selected": None, "user_id": None, "cost_usd": None}
    named = {"user_id": 'a"[b]\\', "cost_usd": Decimal(100), "organization_id": None}
    seal_records(settings, [make_record(NOW, organization_id=None, **failed), make_record(NOW, **named)])
    flow.catch_up(warehouse)
    found = [(row["model"], row["user"], row["cost_usd"]) for _, row in rows(settings, None)]
    assert found == [("large", 'a"[b]\\', "100"), (None, None, None)]


@pytest.mark.parametrize("damage", ["removed", "changed", "index", "organization"])
def test_a_lost_or_changed_file_is_made_again(settings: Settings, filled: Warehouse, damage: str) -> None:
    """Whatever somebody did to a file, the next refresh restores the rows."""
    before = rows(settings, "acme")
    path = day_file(settings, "acme")
    if damage == "removed":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(b"[")
    elif damage == "index":
        (path.parent / USAGE_INDEX).write_bytes(b"{")
    else:
        for file in path.parent.iterdir():
            file.unlink()
        path.parent.rmdir()
    flow.catch_up(filled)
    assert rows(settings, "acme") == before


def test_files_of_an_earlier_release_go(settings: Settings, filled: Warehouse) -> None:
    """One file for each organisation, as releases before wrote them, would keep erased persons."""
    earlier = settings.home / "usage" / "none.json"
    earlier.write_text("{}")
    flow.catch_up(filled)
    assert not earlier.exists()


def test_files_of_another_format_are_made_again(settings: Settings, filled: Warehouse) -> None:
    """A later release may write a day in another way: a router reads only its own."""
    before = rows(settings, "acme")
    path = day_file(settings, "acme")
    index = json.loads((path.parent / USAGE_INDEX).read_bytes())
    path.write_text('["another"]')
    status = path.stat()
    index |= {"format": "another", "days": {"2026-06-19": [status.st_size, status.st_mtime_ns]}}
    (path.parent / USAGE_INDEX).write_text(json.dumps(index))
    flow.catch_up(filled)
    assert rows(settings, "acme") == before


def test_a_rebuild_gives_the_same_rows(settings: Settings, filled: Warehouse) -> None:
    """A new build database knows no stale day, and makes every file again."""
    before = rows(settings, "acme")
    filled.close()
    set_aside(settings.build_file)
    flow.catch_up(filled)
    assert rows(settings, "acme") == before


def test_days_that_no_longer_count_lose_their_file(settings: Settings, filled: Warehouse) -> None:
    """The window ends at the newest request."""
    seal_records(settings, [make_record(NOW + 92 * DAY, organization_id="acme")])
    flow.catch_up(filled)
    assert [day for day, _ in rows(settings, "acme")] == ["2026-06-19", "2026-09-19"]
    assert not day_file(settings, "acme", NOW - DAY).exists()


def test_retention_takes_users_out_of_the_files(settings: Settings, filled: Warehouse) -> None:
    """A day without raw rows has no file, though its rollups stay."""
    seal_records(settings, [make_record(NOW + 30 * DAY, organization_id="acme", user_id="bob")])
    flow.retain(filled, now=EXPIRED)
    assert filled.rows("select count(*) from usage_by_org_daily") == [(5,)]
    assert [(day, row["user"]) for day, row in rows(settings, "acme")] == [("2026-07-19", "bob")]
    assert not usage_folder(settings.home, "globex").exists()


def test_rows_that_a_longer_period_keeps_stay(settings: Settings, filled: Warehouse) -> None:
    """An organisation with a period of its own keeps its days, also when a file of them is lost."""
    settings.retention_file.write_text("organizations: {acme: {analytics_days: 400}}\n")
    seal_records(settings, [make_record(NOW + 30 * DAY, organization_id="acme", user_id="bob")])
    flow.retain(filled, now=EXPIRED)
    kept = rows(settings, "acme")
    assert [row["user"] for _, row in kept] == ["ada", "ada", "bob"]
    assert not usage_folder(settings.home, "globex").exists()
    day_file(settings, "acme").unlink()
    flow.catch_up(filled)
    assert rows(settings, "acme") == kept


def test_an_erasure_reaches_the_days_before_the_cutoff(settings: Settings, filled: Warehouse) -> None:
    """Their rollups are sealed and not computed again. The person leaves the files nevertheless."""
    settings.retention_file.write_text("organizations: {acme: {analytics_days: 400}}\n")
    seal_records(settings, [make_record(NOW + 30 * DAY, organization_id="acme", user_id="bob")])
    flow.retain(filled, now=EXPIRED)
    filled.close()
    filled.__exit__()
    flow.erase(settings, "ada")
    assert [row["user"] for _, row in rows(settings, "acme")] == ["bob"]
