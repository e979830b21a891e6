"""`GET /reports`: the pages of the caller's organisation, and of no other one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from pipelines.reports.pages import publishing
from pipelines.reports.pages.building import names_for
from router.config import Settings
from router.records import Tag
from tests.pipelines.helpers import make_feedback, make_record
from tests.pipelines.reports import fixed
from tests.router.server.test_auth import HERE, bearer, call, key

if TYPE_CHECKING:
    from pathlib import Path

    from router.records import Record
    from tests.router.server.test_auth import OpenRouter

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def canaries(organization: str, key_id: str | None = None) -> list[Record]:
    """Requests of an organisation whose every free name holds its mark."""
    found: list[Record] = []
    for hours in (3, 30):
        request = make_record(
            NOW - timedelta(hours=hours),
            organization_id=organization,
            user_id=f"user-{organization}",
            api_key_id=key_id or f"key-{organization}",
            session_id="session",
            task_type=f"task-{organization}",
            model_selected=f"model-{organization}",
            provider=f"provider-{organization}",
            tags=[Tag(key=f"tag-{organization}", value=f"value-{organization}")],
            cost_usd=Decimal("0.25"),
            success=hours == 3,
            error_type=None if hours == 3 else f"error-{organization}",
        )
        found += [request, make_feedback(request, 0.5)]
    return found


def test_pages_are_served_to_their_organisation(
    open_router: OpenRouter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index and each report come as closed HTML. Without pages, the error says how to publish them."""
    monkeypatch.setattr(publishing, "names_for", lambda _: ["cost-per-user"])
    router, _ = open_router("small")
    _, token = key(tmp_path, "report", organization_id="acme")
    _, stranger = key(tmp_path, "report", organization_id="globex")
    _, other_scope = key(tmp_path, "usage", organization_id="acme")
    missing = call(router, "GET", "/reports", headers=bearer(token))
    assert (missing.status_code, "REPORTS=true" in missing.text) == (404, True)
    settings = fixed.fill(Settings.load({}, home=tmp_path), canaries("acme"))
    publishing.publish_reports(settings)
    index = call(router, "GET", "/reports", headers=bearer(token))
    assert (index.status_code, index.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert 'href="/reports/cost-per-user"' in index.text
    page = call(router, "GET", "/reports/cost-per-user", headers=bearer(token))
    assert "user-acme" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert call(router, "GET", "/reports/cost-per-user", headers=bearer(stranger)).status_code == 404
    claimed = {**bearer(stranger), "openai-organization": "acme"}
    assert call(router, "GET", "/reports/cost-per-user", headers=claimed).status_code == 404
    assert call(router, "GET", "/reports", headers=bearer(other_scope)).status_code == 403


@pytest.mark.parametrize("name", ["..", "%2e%2e%2fkeys", "index.html", "INDEX", "x" * 80])
def test_a_name_cannot_leave_the_folder(open_router: OpenRouter, name: str) -> None:
    """A name that is no report's is not found."""
    router, _ = open_router("small")
    assert call(router, "GET", f"/reports/{name}", peer=HERE).status_code == 404


@pytest.mark.slow
def test_twenty_organisations_see_nothing_of_each_other(open_router: OpenRouter, tmp_path: Path) -> None:
    """No page, no row of usage and no session's use holds a name of another organisation.

    All have a session of the same name.
    """
    names = [f"canary{number:02}x" for number in range(20)]
    router, _ = open_router("small")
    keys = {name: key(tmp_path, "report", "usage", organization_id=name) for name in names}
    records = [record for name in names for record in canaries(name, keys[name][0])]
    settings = fixed.fill(Settings.load({}, home=tmp_path), records)
    assert publishing.publish_reports(settings).written == 20
    foreign = 0
    for name in names:
        paths = ["/reports", *(f"/reports/{item}" for item in names_for(name)), "/v1/usage"]
        paths.append("/v1/sessions/session/usage")
        texts = [call(router, "GET", path, headers=bearer(keys[name][1])).text for path in paths]
        assert sum(name in text for text in texts) >= 15
        assert f'"model":"model-{name}"' in texts[-1]
        foreign += sum(other in text for text in texts for other in names if other != name)
    assert foreign == 0
