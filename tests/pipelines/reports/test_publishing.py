"""The pages that routers serve: of one organisation each, drawn only when its figures changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pipelines import flow
from pipelines.defs.reports import published_reports
from pipelines.reports.pages import publishing
from pipelines.reports.pages.publishing import publish_reports
from router.config import Settings
from router.request.usage import reports_folder
from tests.pipelines.helpers import make_record
from tests.pipelines.reports import fixed

if TYPE_CHECKING:
    from pathlib import Path

    from router.records import RequestRecord

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
FEW = ["daily-usage", "cost-per-user"]


@pytest.fixture(autouse=True)
def few_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two reports are enough to see which pages are drawn."""
    monkeypatch.setattr(publishing, "names_for", lambda _: FEW)


def record(organization: str | None, hours: int = 3) -> RequestRecord:
    """A request that shows its organisation in every name."""
    return make_record(
        NOW - timedelta(hours=hours), organization_id=organization, user_id=f"user-of-{organization}"
    )


def pages(settings: Settings, organization: str | None) -> dict[str, str]:
    """An organisation's pages by name."""
    folder = reports_folder(settings.home, organization)
    return {path.stem: path.read_text() for path in folder.glob("*.html")}


def test_each_organisation_gets_its_own_pages(settings: Settings) -> None:
    """An index and a page for each report, with its own names, in files that only the owner reads."""
    fixed.fill(settings, [record("acme"), record("globex"), record(None)])
    assert publish_reports(settings).written == 3
    for organization, other in (("acme", "globex"), ("globex", "acme"), (None, "globex")):
        found = pages(settings, organization)
        assert sorted(found) == ["cost-per-user", "daily-usage", "index"]
        assert f"user-of-{organization}" in found["cost-per-user"]
        assert not any(other in page for page in found.values())
    assert "requests without an organisation" in pages(settings, None)["index"]
    modes = {path.stat().st_mode & 0o077 for path in settings.home.glob("reports/*/*")}
    assert modes == {0}


def test_only_changed_figures_are_drawn_again(settings: Settings) -> None:
    """A run without news writes nothing, and a new request one organisation's pages."""
    fixed.fill(settings, [record("acme"), record("globex")])
    assert publish_reports(settings, now=NOW).written == 2
    assert publish_reports(settings, now=NOW).written == 0
    fixed.fill(settings, [record("acme", hours=2)])
    assert publish_reports(settings, now=NOW).written == 1


def test_a_run_is_bounded_and_the_next_one_goes_on(settings: Settings) -> None:
    """No organisation is forgotten when there are more than a run may draw."""
    fixed.fill(settings, [record(name) for name in ("a", "b", "c")])
    first = publish_reports(settings, now=NOW, most=2)
    assert (first.written, first.waiting) == (2, 1)
    second = publish_reports(settings, now=NOW, most=2)
    assert (second.written, second.waiting) == (1, 0)


def test_pages_without_requests_go(settings: Settings) -> None:
    """An organisation without requests in the period has no page of older figures."""
    fixed.fill(settings, [record("acme")])
    publish_reports(settings, now=NOW)
    gone = publish_reports(settings, now=NOW + timedelta(days=40))
    assert (gone.removed, pages(settings, "acme")) == (1, {})


def test_an_erased_person_leaves_the_pages(settings: Settings) -> None:
    """The erasure removes the pages, and none that is drawn later names the person."""
    fixed.fill(settings, [record("acme"), record("globex")])
    publish_reports(settings, now=NOW)
    certificate = flow.erase(settings, "user-of-acme")
    assert certificate.remaining == ()
    publish_reports(settings, now=NOW + timedelta(days=1))
    assert not any("user-of-acme" in path.read_text() for path in settings.home.glob("reports/**/*.html"))


def _metadata() -> dict[str, Any]:
    result: Any = published_reports()
    return dict(result.metadata)


def test_dagster_shows_the_charts(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asset's metadata holds pictures of the reports that name no user."""
    fixed.fill(settings, [record("acme")])
    monkeypatch.setenv("INTELLIROUTER_HOME", str(settings.home))
    assert "REPORTS is not set" in str(_metadata())
    monkeypatch.setenv("REPORTS", "true")
    shown = _metadata()
    assert shown["daily_usage"].value.startswith("![daily-usage](data:image/png;base64,iVBOR")
    assert not any("user" in name for name in shown)


def test_each_page_is_titled_by_its_own_period(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that compares months names those, and the index the days of the other reports."""
    monkeypatch.setattr(publishing, "names_for", lambda _: ["cost-per-user", "month-by-month"])
    moment = datetime(2026, 6, 21, 12, tzinfo=UTC)
    fixed.fill(settings, [make_record(moment - timedelta(days=1), organization_id="acme")])
    publish_reports(settings, now=moment)
    found = pages(settings, "acme")
    assert "<h1>Reports, 22 May to 21 June 2026, organisation acme</h1>" in found["index"]
    assert "<h1>cost-per-user, 22 May to 21 June 2026, organisation acme</h1>" in found["cost-per-user"]
    assert "2025-05-01 00:00 to 2026-06-21 12:00 UTC; amounts" in found["month-by-month"].split("<main>")[0]
