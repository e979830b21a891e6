"""The folders of the lake. Every other file gets the paths of days and hours here.

lake/<dataset>/date=2026-11-23/hour=04/     one hour's segments, and `_<name>.json` of each
lake/chains/                                the writers' chains and locks
lake/removals/date=2026-11-23/              the share of removed rows in the rollups
lake/rollups/<table>/date=2026-11-23/       rollups of expired raw rows
lake/bills/month=2026-11/                   closed bills
lake/reconciliations/<SHA-256>/             results of comparing a provider's bill
"""

from __future__ import annotations

import os
import re
from datetime import date, datetime
from pathlib import Path

from router.files import TEMPORARY_PREFIX

MANIFEST_PREFIX = "_"
"""pandas, pyarrow and Spark pass over names that start with it, so they read a folder of segments whole."""
CHAINS = "chains"
REMOVALS = "removals"
ARCHIVE = "rollups"
BILLS = "bills"
RECONCILIATIONS = "reconciliations"
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


def manifest_path(segment: Path) -> Path:
    """The manifest of a segment's file: `_<name>.json`, or `<name>.json` if an earlier release wrote it."""
    earlier = segment.with_suffix(".json")
    try:
        earlier.lstat()
    except OSError:  # there is none, or the folder is closed
        return segment.with_name(f"{MANIFEST_PREFIX}{earlier.name}")
    return earlier


def without_prefix(manifest: Path) -> Path:
    """A manifest's path as chains name it, whichever release wrote it."""
    return manifest.with_name(manifest.name.removeprefix(MANIFEST_PREFIX))


def segment_path(manifest: Path) -> Path:
    """The file that a manifest describes."""
    return without_prefix(manifest).with_suffix(".parquet")


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
