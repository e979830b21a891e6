"""Publishes the files of `GET /v1/usage`: a folder for each organisation, with a file for each day.

A router reads its caller's files and never the warehouse. The days that a load, an erasure or retention
touched are stale (`pipeline.stale_days`). Their files, and those that are missing or that somebody changed,
are made again. The others cost a look at their size and time.

Days before retention's cutoff hold the rows that stay: those of organisations with longer periods, and
those of legal holds. No mart lists these days, so the index does.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from pipelines.warehouse import linked, sqlfiles
from pipelines.warehouse.archive import midnight
from router.files import make_folder, sync_folder, synced_together, write_atomically
from router.request.usage import USAGE_DAYS, USAGE_INDEX, usage_folder, usage_root

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipelines.warehouse.warehouse import Warehouse

USAGE = "published_usage"
"""The name under which a day's files are stale."""
FORMAT = "intellirouter.usage/1"
"""Files of another format are made again."""
OWNER_ONLY = 0o600
DAY = timedelta(days=1)
SYNCED_EACH = 64
"""More files are synced all at once."""


@dataclass(slots=True)
class _Folder:
    """The files of one organisation."""

    path: Path
    index: dict[str, Any]
    """The content of the index. Without days if it is missing, damaged or of another format."""
    days: set[date] = field(default_factory=set)
    """The days that must have a file."""

    @classmethod
    def of(cls, path: Path) -> _Folder:
        try:
            index = orjson.loads((path / USAGE_INDEX).read_bytes())
            if index["format"] != FORMAT:
                raise ValueError("another format")
            noted = {date.fromisoformat(day): list(state) for day, state in index["days"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path, {"days": {}})
        return cls(path, {**index, "days": {day.isoformat(): state for day, state in noted.items()}})

    def file(self, day: date) -> Path:
        return self.path / f"{day.isoformat()}.json"

    def noted_days(self) -> set[date]:
        return {date.fromisoformat(day) for day in self.index["days"]}

    def is_as_noted(self, day: date) -> bool:
        noted = self.index["days"].get(day.isoformat())
        return noted is not None and noted == _state(self.file(day))

    def close(self, facts: dict[str, Any]) -> bool:
        """Remove files that no day has, then write the index if it changed. Return whether it did."""
        days = {day.isoformat(): _state(self.file(day)) for day in sorted(self.days)}
        listed = {self.path / USAGE_INDEX, *(self.file(day) for day in self.days)}
        gone = [path for path in self.path.iterdir() if path not in listed]
        wanted = {**facts, "days": days}
        is_new = {name: self.index.get(name) for name in wanted} != wanted
        if is_new:
            content = {"published_at": datetime.now(UTC).isoformat(), **wanted}
            write_atomically(self.path / USAGE_INDEX, orjson.dumps(content), mode=OWNER_ONLY)
        for path in gone:
            path.unlink()
        if gone:
            sync_folder(self.path)
        return is_new or bool(gone)


def publish_usage(warehouse: Warehouse) -> int:
    """Write the files of the days that changed, and remove those of days without rows.

    Return the number of organisations whose files changed.
    """
    latest = warehouse.value(sqlfiles.load("rollups/latest_record"), now=datetime.now(UTC))
    as_of = latest.astimezone(UTC) if isinstance(latest, datetime) else None
    since = _first_day(as_of)
    cutoff = _cutoff(warehouse, since)
    marked = warehouse.run("rollups/stale_days_of", mart=USAGE).fetchall()
    stale = {day for (day,) in marked if day >= since}
    folders, organizations = _folders(warehouse, since, cutoff)
    due: dict[date, set[str]] = defaultdict(set)
    for name, folder in folders.items():
        for day in folder.days:
            if day in stale or not folder.is_as_noted(day):
                due[day].add(name)
    # No mart lists the days before the cutoff: without an index, or when rows went, all are looked at.
    before_cutoff = {day for day in stale if day < cutoff}
    if any(not folder.index["days"] for folder in folders.values()):
        before_cutoff |= {since + index * DAY for index in range((cutoff - since).days)}
    changed = _write(warehouse, folders, due, before_cutoff)
    savings = _savings(warehouse)
    facts = {
        "format": FORMAT,
        "since": since.isoformat(),
        "as_of": None if as_of is None else as_of.isoformat(),
    }
    for name, folder in folders.items():
        if folder.days and folder.close({**facts, "savings": savings.get(organizations.get(name))}):
            changed.add(name)
    changed |= _remove_others(warehouse, {name for name, folder in folders.items() if folder.days})
    if marked:
        warehouse.run(sqlfiles.delete_equal("pipeline.stale_days", "mart"), value=USAGE)
    return len(changed)


def mark_stale(warehouse: Warehouse, cutoff: datetime) -> None:
    """Have the files of the days before retention's cutoff made again, in the caller's transaction."""
    first, end = _first_day(cutoff), cutoff.astimezone(UTC).date()
    known = warehouse.run("rollups/stale_days_of", mart=USAGE).fetchall()
    days = {first + index * DAY for index in range((end - first).days)} - {day for (day,) in known}
    warehouse.insert("pipeline.stale_days", [{"mart": USAGE, "day": day} for day in sorted(days)])


def _first_day(as_of: datetime | None) -> date:
    return ((as_of or datetime.now(UTC)).astimezone(UTC) - timedelta(days=USAGE_DAYS)).date()


def _cutoff(warehouse: Warehouse, since: date) -> date:
    """The first day of which the marts list every organisation."""
    expired_before = warehouse.value(sqlfiles.load("retention/expired_before"))
    return since if expired_before is None else max(since, expired_before.astimezone(UTC).date())


def _folders(
    warehouse: Warehouse, since: date, cutoff: date
) -> tuple[dict[str, _Folder], dict[str, str | None]]:
    """The organisations' folders with the days that they must have, and whose each is, by folder name."""
    home = warehouse.settings.home
    root = usage_root(home)
    paths = [path for path in root.iterdir() if path.is_dir()] if root.exists() else []
    folders = {path.name: _Folder.of(path) for path in paths}
    organizations: dict[str, str | None] = {}
    for organization, day in warehouse.run("marts/days_with_usage", since=cutoff).fetchall():
        path = usage_folder(home, organization)
        organizations[path.name] = organization
        folders.setdefault(path.name, _Folder(path, {"days": {}})).days.add(day)
    for folder in folders.values():
        folder.days |= {day for day in folder.noted_days() if since <= day < cutoff}
    return folders, organizations


def _write(
    warehouse: Warehouse, folders: dict[str, _Folder], due: dict[date, set[str]], before_cutoff: set[date]
) -> set[str]:
    """Write the files of the due days. Return the folders in which one changed."""
    home, changed = warehouse.settings.home, set[str]()
    files = sum(len(names) for names in due.values())
    with synced_together() if files > SYNCED_EACH else contextlib.nullcontext():
        for day in sorted({*due, *before_cutoff}):
            found = {
                usage_folder(home, organization).name: (organization, content)
                for organization, content in _contents(warehouse, day)
            }
            names = due.get(day, set()) | (found.keys() if day in before_cutoff else set())
            for name in names:
                folder = folders.setdefault(name, _Folder(usage_root(home) / name, {"days": {}}))
                if name not in found and day in before_cutoff:
                    folder.days.discard(day)
                    continue
                folder.days.add(day)
                content = found[name][1].encode() if name in found else b"[]"
                if _replace(folder.file(day), content):
                    changed.add(name)
    return changed


def _contents(warehouse: Warehouse, day: date) -> Iterable[tuple[str | None, str]]:
    start = midnight(day)
    with linked.narrowed(warehouse, start, start + DAY, datasets=("request_analytics",)):
        found = warehouse.run("marts/published_usage", start=start, end=start + DAY).fetchall()
    return [(organization, content) for organization, _, content in found]


def _replace(path: Path, content: bytes) -> bool:
    """Replace the file unless it holds the same rows. Return whether it did."""
    try:
        if path.read_bytes() == content:
            return False
    except OSError:
        pass  # absent or unreadable: either way it is written
    make_folder(path.parent)
    write_atomically(path, content, mode=OWNER_ONLY)
    return True


def _state(path: Path) -> list[int] | None:
    """The file's bytes and its last change (ns since 1970). None without a file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _remove_others(warehouse: Warehouse, kept: set[str]) -> set[str]:
    """Remove the files of organisations without rows, and those of an earlier release."""
    root = usage_root(warehouse.settings.home)
    gone = [path for path in root.iterdir() if path.name not in kept] if root.exists() else []
    for path in gone:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if gone:
        sync_folder(root)
    return {path.name for path in gone}


def _savings(warehouse: Warehouse) -> dict[str | None, dict[str, Any]]:
    """Each organisation's saving, its moments as text."""
    found = warehouse.run("marts/published_savings")
    names = [name for name, *_ in found.description]
    rows = (dict(zip(names, row, strict=True)) for row in found.fetchall())
    return {
        row.pop("organization_id"): {
            name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
            for name, value in row.items()
        }
        for row in rows
    }
