"""The doctor checks the history of the configuration, and lists organisations without a description."""

from __future__ import annotations

from pipelines.doctor import doctor
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.configuration.folder import StateFolder
from router.configuration.watching import look
from router.keys.changes import create
from tests.factories import write_catalog
from tests.pipelines.helpers import make_record, run_steps, seal_records
from tests.postgres import PASSWORD


def found(settings: Settings) -> list[tuple[str, str, str]]:
    """Severity, kind and value of each finding that is about the configuration."""
    return [
        (item.severity, item.what, item.value)
        for item in doctor.inspect(settings).findings
        if "version" in item.what or "organisation" in item.what or "history" in item.what
    ]


def test_a_lost_document_of_an_old_version_is_an_error(settings: Settings) -> None:
    """Records of that version could not be explained, and nothing else would notice."""
    write_catalog(settings.home)
    version = look(StateFolder(settings.home), settings).version
    assert version is not None
    assert found(settings) == []
    digest = version.documents["catalog.yaml"]
    path = settings.home / "configuration" / "documents" / digest
    path.write_bytes(path.read_bytes() + b"#")
    ((severity, what, value),) = found(settings)
    assert (severity, what) == ("error", "document `catalog.yaml` of version 1 is missing or damaged")
    assert digest in value
    path.unlink()
    assert [item[0] for item in found(settings)] == ["error"]


def test_organisations_without_a_description_are_listed(settings: Settings) -> None:
    """Names in keys, documents and records that organizations.yaml lacks, with the places."""
    write_catalog(settings.home)
    create(settings.keys_file, name="n", scopes=["route"], organization_id="by-key")
    (settings.home / "policies.yaml").write_text("assignments: {organizations: {by-policy: cheapest}}")
    (settings.home / "limits.yaml").write_text(
        "limits: [{scope: organization, subject: by-limit, requests: 1, per: day},"
        " {scope: organization, subject: '*', requests: 1, per: day},"
        " {scope: user, subject: person, requests: 1, per: day}]"
    )
    (settings.home / "retention.yaml").write_text(
        "organizations: {listed: {analytics_days: 3}}\n"
        "legal_holds: [{organization: by-hold, reason: r, since: 2026-11-01}]"
    )
    seal_records(settings, [make_record(organization_id="by-record"), make_record(organization_id=None)])
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        publish_warehouse(warehouse)
    assert found(settings) == []
    (settings.home / "organizations.yaml").write_text("organizations: [{id: listed}]")
    names = ["by-hold", "by-key", "by-limit", "by-policy", "by-record"]
    assert [value for _, _, value in found(settings)] == names
    advice = {item.value: item.advice for item in doctor.inspect(settings).findings}
    assert "named in keys:" in advice["by-key"]
    assert "named in records" in advice["by-record"]


def test_a_database_that_is_away_is_not_a_lost_history(settings: Settings) -> None:
    """The remedy is the server, and no backup."""
    url = f"postgresql://u:{PASSWORD}@127.0.0.1:9/n"
    away = Settings.load({"DATABASE_URL": url}, home=settings.home)
    (finding,) = doctor.inspect(away).findings
    assert (finding.severity, finding.what) == ("error", "the history of the configuration cannot be read")
    assert "correct DATABASE_URL" in finding.advice
    assert "backup" not in finding.advice
    assert PASSWORD not in str(finding)
