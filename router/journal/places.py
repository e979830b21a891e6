"""The folders of the lake. Every other file gets the paths of days and hours here.

lake/<dataset>/date=2026-11-23/hour=04/     one hour's segments
lake/chains/                                the writers' chains and locks
lake/removals/date=2026-11-23/              the share of removed rows in the rollups
lake/rollups/<table>/date=2026-11-23/       rollups of expired raw rows
"""

from __future__ import annotations

import os
import re
from datetime import date, datetime
from pathlib import Path

from router.files import TEMPORARY_PREFIX

CHAINS = "chains"
REMOVALS = "removals"
ARCHIVE = "rollups"
EVERY_HOUR = "date=*/hour=*"
"""Pattern of a dataset's hour folders."""
_DATE = re.compile(r"^date=(\d{4}-\d{2}-\d{2})$")
_HOUR = re.compile(r"^hour=(\d{2})$")


def hour_of(moment: datetime) -> datetime:
    """The hour that a UTC moment falls in."""
    return moment.replace(minute=0, second=0, microsecond=0)


def date_folder(parent: Path, day: date) -> Path:
    """The folder of a day, or of a moment's day."""
    return parent / f"date={day:%Y-%m-%d}"


def hour_folder(lake: Path, dataset: str, moment: datetime) -> Path:
    """The folder of the hour that a moment falls in."""
    return date_folder(lake / dataset, moment) / f"hour={moment:%H}"


def dated_folders(parent: Path) -> list[tuple[date, Path]]:
    """The `date=` folders of a dataset, oldest first."""
    found = []
    for entry in entries(parent):
        day = day_of(entry.name)
        if day is not None and entry.is_dir(follow_symlinks=False):
            found.append((day, Path(entry.path)))
    return sorted(found)


def day_of(name: str) -> date | None:
    """The day in the name of a `date=` folder; None if there is none."""
    match = _DATE.match(name)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def is_date_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder with the name of a day."""
    return bool(_DATE.match(entry.name)) and entry.is_dir(follow_symlinks=False)


def is_hour_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder with the name of an hour."""
    return bool(_HOUR.match(entry.name)) and entry.is_dir(follow_symlinks=False)


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder by name, without temporary files; empty if there is no such folder.

    PermissionError or another OSError if the folder may not be listed.
    """
    try:
        with os.scandir(folder) as found:
            listed = [entry for entry in found if not entry.name.startswith(TEMPORARY_PREFIX)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(listed, key=lambda entry: entry.name)
