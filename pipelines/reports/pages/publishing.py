"""Publishes the pages of `GET /reports`: a folder for each organisation.

A router reads its caller's folder, and never the warehouse. Drawing an organisation's charts takes seconds.
Only those whose requests or judgements changed are drawn, MOST_ORGANIZATIONS in a run, the oldest first.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.reports import reports
from pipelines.reports.pages.building import CURRENCY, build, names_for, period_of, title_of, whose_of
from pipelines.reports.pages.page import Page, render
from pipelines.reports.pages.questions import question_of
from pipelines.reports.pages.window import Window
from pipelines.reports.periods import on_grid, zone_of
from pipelines.warehouse import sqlfiles
from router.files import make_folder, sync_folder, write_atomically
from router.request.usage import reports_folder

if TYPE_CHECKING:
    from pathlib import Path

    from router.config import Settings

MOST_ORGANIZATIONS = 100
DAYS = 30
TIMEOUT_S = 120.0
INDEX = "index"
OWNER_ONLY = 0o600
FINGERPRINT = "fingerprint.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The outcome of one run."""

    written: int
    """Organisations whose pages were written."""
    removed: int
    """Organisations whose pages went, since they have no requests in the period."""
    waiting: int
    """Organisations left for the next run."""


def publish_reports(
    settings: Settings, *, now: datetime | None = None, most: int = MOST_ORGANIZATIONS
) -> Published:
    """Write the pages whose figures changed, and remove those of organisations without requests."""
    moment = now or datetime.now(UTC)
    since = on_grid(moment - timedelta(days=DAYS))
    with reports.opened(settings) as connection:
        found = connection.execute(
            sqlfiles.load("marts/report_organizations").text, {"since": since}
        ).fetchall()
    folders = {
        reports_folder(settings.home, organization): (organization, facts) for organization, *facts in found
    }
    old = []
    for folder, (organization, facts) in folders.items():
        fingerprint = hashlib.sha256(repr((moment.date(), facts)).encode()).hexdigest()
        if _fingerprint(folder) != fingerprint:
            old.append((_touched(folder), folder, organization, fingerprint))
    old.sort(key=lambda item: item[:2])
    for _, folder, organization, fingerprint in old[:most]:
        zone = zone_of(settings, organization)
        window = Window(since=since, until=moment, zone=zone, organization=organization or "")
        _write(settings, folder, window)
        write_atomically(folder / FINGERPRINT, json.dumps(fingerprint).encode(), mode=OWNER_ONLY)
    gone = [path for path in _published(settings) if path not in folders]
    for path in gone:
        shutil.rmtree(path)
    return Published(written=min(len(old), most), removed=len(gone), waiting=max(0, len(old) - most))


def withdraw(settings: Settings) -> None:
    """Remove every page. The next run draws them from the tables as they are then."""
    root = reports_folder(settings.home, None).parent
    if root.exists():
        shutil.rmtree(root)
        sync_folder(root.parent)


def _write(settings: Settings, folder: Path, window: Window) -> None:
    names = names_for(window.organization)
    built = build(settings, names, window, timeout_s=TIMEOUT_S)
    make_folder(folder)
    whose = whose_of(window)

    def page(name: str, title: str, sections: list[str], links: list[tuple[str, str]]) -> None:
        period = window if name == INDEX else period_of(name, window)
        text = render(
            Page(
                title=title + whose,
                subtitle=f"{period}; {CURRENCY}",
                coverage=built.coverages.get(name, built.coverage),
                source=built.source,
                sections=sections,
                links=links,
            )
        )
        write_atomically(folder / f"{name}.html", text.encode(), mode=OWNER_ONLY)

    for name, section in built.sections.items():
        page(name, title_of(name, window), [section], [("/reports", "All reports")])
    page(
        INDEX,
        f"Reports, {window.title()}",
        [],
        [(f"/reports/{name}", question_of(name).question) for name in names],
    )
    for path in folder.glob("*.html"):
        if path.stem not in (*names, INDEX):
            path.unlink()  # a report of an earlier release


def _published(settings: Settings) -> list[Path]:
    root = reports_folder(settings.home, None).parent
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.exists() else []


def _fingerprint(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / FINGERPRINT).read_bytes()))
    except (FileNotFoundError, ValueError):
        return None


def _touched(folder: Path) -> float:
    try:
        return (folder / FINGERPRINT).stat().st_mtime
    except FileNotFoundError:
        return 0.0
