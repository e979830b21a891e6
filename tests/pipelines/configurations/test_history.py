"""The history of the configuration as tables: what was in force when, once, and again after a rebuild."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from pipelines.configurations.history import load_configurations
from pipelines.erasure.search import search
from pipelines.flow import erase, honour_erasures, retain
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.compliance import load_compliance
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.warehouse import Warehouse
from router.configuration.changing import apply, rollback
from router.configuration.folder import StateFolder
from router.configuration.moving import push
from router.configuration.opening import open_source
from router.configuration.watching import look
from router.keys.audit_trail import read_events
from router.keys.changes import create
from router.keys.opening import open_key_store
from tests.factories import write_catalog
from tests.pipelines.helpers import NOW, make_record, run_steps, seal_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.config import Settings

TABLES = (
    "config_versions",
    "config_documents",
    "routing_configs",
    "models_history",
    "organizations",
    "organizations_history",
    "compliance_logs",
)
PERSON = "person-4711@example.org"


def change(settings: Settings, **documents: str | None) -> int:
    """Apply documents, by name without `.yaml`; the version's number."""
    changes = {f"{name}.yaml": None if text is None else text.encode() for name, text in documents.items()}
    return apply(StateFolder(settings.home), settings, changes, author="ada").number


def rows_of(table: str) -> sqlfiles.SqlFile:
    """A table's rows."""
    return sqlfiles.load("tables/rows", table=table)


def tables(settings: Settings) -> dict[str, list[str]]:
    """All rows of all tables, loaded now."""
    with Warehouse(settings) as warehouse:
        assert load_configurations(warehouse).problem is None
        assert load_compliance(warehouse).problem is None
        return {name: sorted(map(str, warehouse.run(rows_of(name)).fetchall())) for name in TABLES}


@pytest.mark.smoke
def test_a_hash_leads_to_its_documents_in_sql(settings: Settings) -> None:
    """The version of a record's hash has the text of each document that was in force then."""
    write_catalog(settings.home)
    change(settings, policies="policies: [{id: p}]\n")
    change(settings, policies="policies: [{id: p, version: 2}]\n")
    hashes = [version.config_hash for version in StateFolder(settings.home).versions()]
    with Warehouse(settings) as warehouse:
        load_configurations(warehouse)
        found = warehouse.rows(
            "select v.version, d.content from config_versions as v, config_documents as d"
            " where v.config_hash = $hash and d.name = 'policies.yaml'"
            " and d.valid_from <= v.valid_from and coalesce(d.valid_to > v.valid_from, true)",
            hash=hashes[1],
        )
    assert found == [(2, "policies: [{id: p}]\n")]


def test_a_policy_has_its_periods(settings: Settings) -> None:
    """A change ends one row and begins another, assignments have rows of their own, one is active."""
    write_catalog(settings.home)
    change(settings, policies="policies: [{id: p}]\nassignments: {users: {ada: p}}\n")
    change(settings, limits="limits: []\n")
    change(settings, policies="policies: [{id: p, version: 2, cost_weight: 0.5}]\n")
    with Warehouse(settings) as warehouse:
        load_configurations(warehouse)
        found = warehouse.rows(
            "select user_id, policy_version, policy_json ->> 'cost_weight', version, is_active,"
            " valid_to is null, created_at = valid_from, environment from routing_configs"
            " where name = 'p' order by version, user_id nulls first"
        )
        assert found == [
            (None, 1, "0.1", 2, False, False, True, "production"),
            ("ada", 1, "0.1", 2, False, False, True, "production"),
            (None, 2, "0.5", 4, True, True, True, "production"),
        ]
        (ids,) = warehouse.rows("select count(*), count(distinct id) from routing_configs")
        assert ids[0] == ids[1]
        assert warehouse.value("select count(*) from routing_configs where name = 'balanced' and is_active")


def test_models_and_organizations_have_a_history(settings: Settings) -> None:
    """What left the files is still there, with the end of its period; `organizations` has today's."""
    write_catalog(settings.home, ["small", "old"])
    change(settings, organizations="organizations: [{id: acme, mark_up: 0.15}, {id: gone}]")
    write_catalog(settings.home, ["small", {"id": "new", "context_window": 1000}])
    change(settings, organizations="organizations: [{id: acme, time_zone: Europe/Vienna, discount: 0.1}]")
    with Warehouse(settings) as warehouse:
        load_configurations(warehouse)
        assert warehouse.rows(
            "select id, context_window, version, valid_to is null from models_history order by id"
        ) == [("new", 1000, 3, True), ("old", None, 1, False), ("small", None, 1, True)]
        assert warehouse.rows("select * from organizations") == [
            ("acme", None, "Europe/Vienna", None, None, Decimal("0.1"))
        ]
        assert warehouse.rows(
            "select id, mark_up, version, valid_to is null from organizations_history order by id, version"
        ) == [("acme", Decimal("0.15"), 2, False), ("acme", None, 4, True), ("gone", None, 2, False)]


def test_versions_one_by_one_give_the_rows_of_a_rebuild(settings: Settings) -> None:
    """A load after each change, one load at the end and a new database hold equal rows."""
    write_catalog(settings.home)
    for step in range(6):
        change(
            settings,
            policies=f"policies: [{{id: p, version: {step % 3 + 1}}}, {{id: q{step % 2}}}]\n",
            organizations=f"organizations: [{{id: acme, mark_up: 0.{step + 1}}}]" if step % 2 else None,
            retention=f"legal_holds: [{{user: u{step}, reason: r, since: 2026-11-0{step + 1}}}]",
        )
        step_by_step = tables(settings)
    rollback(StateFolder(settings.home), settings, 2, author="grace")
    step_by_step = tables(settings)
    assert tables(settings) == step_by_step
    settings.build_file.unlink()
    assert tables(settings) == step_by_step
    assert len(step_by_step["config_versions"]) == 8


def test_a_change_is_an_event_with_before_and_after(settings: Settings) -> None:
    """By a command or an editor: who, which document, and the parts that differ."""
    write_catalog(settings.home)
    look(StateFolder(settings.home), settings)
    change(settings, policies="policies: [{id: p, cost_weight: 0.2}, {id: q}]\n")
    change(settings, policies="policies: [{id: p, version: 2, cost_weight: 0.5}, {id: q}]\n")
    (settings.home / "limits.yaml").write_text("limits: []\n")
    with Warehouse(settings) as warehouse:
        load_configurations(warehouse)
        load_compliance(warehouse)
        found = warehouse.rows(
            "select actor, action, subject, before ->> '$.changed.policies.p.cost_weight',"
            " after ->> '$.changed.policies.p.cost_weight', (after ->> 'version')::int,"
            " after ->> '$.changed.policies.q' is null from compliance_logs"
            " where (after ->> 'version')::int > 1 order by id"
        )
    assert [row[:6] for row in found[:2]] == [
        ("ada", "config.applied", "policies.yaml", None, None, 2),
        ("ada", "config.applied", "policies.yaml", "0.2", "0.5", 3),
    ]
    assert found[1][6]
    assert [row[1:3] for row in found[2:]] == [("config.edited", "limits.yaml")]


def test_a_hold_is_an_event_when_placed_and_when_lifted(settings: Settings) -> None:
    """With its reason, and by whom."""
    write_catalog(settings.home)
    change(settings, retention='legal_holds: [{organization: globex, reason: "case 12", since: 2026-11-01}]')
    change(settings, retention="legal_holds: []")
    with Warehouse(settings) as warehouse:
        load_compliance(warehouse)
        assert warehouse.rows(
            "select actor, action, before ->> 'reason', after ->> 'organization' from compliance_logs"
            " where action like 'hold.%' order by timestamp"
        ) == [("ada", "hold.placed", None, "globex"), ("ada", "hold.lifted", "case 12", None)]


def test_an_erased_person_leaves_the_history(settings: Settings, query: Callable[..., Any]) -> None:
    """No document, table or event names them any more, and every version still has its documents."""
    write_catalog(settings.home)
    change(settings, policies=f"policies: [{{id: p}}]\nassignments: {{users: {{{PERSON}: p}}}}\n")
    change(settings, policies="policies: [{id: p}]\n")
    seal_records(settings, [make_record(user_id=PERSON)])
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        load_configurations(warehouse)
        load_compliance(warehouse)
        publish_warehouse(warehouse)
    assert search([settings.home], [PERSON]).hits
    certificate = erase(settings, PERSON)
    assert certificate.remaining == ()
    assert search([settings.home], [PERSON]).hits == {}
    assert query("select count(*) from config_versions") == [(3,)]
    assert query("select user_id from routing_configs where user_id is not null") == [("erased-person",)]
    source = StateFolder(settings.home)
    assert all(source.document(digest) for item in source.versions() for digest in item.documents.values())


def test_a_history_that_cannot_be_read_leaves_the_tables(settings: Settings) -> None:
    """The refresh goes on, and says which line is damaged."""
    write_catalog(settings.home)
    before = tables(settings)
    with (settings.home / "configuration" / "history.jsonl").open("a") as file:
        file.write("no version\n")
    with Warehouse(settings) as warehouse:
        assert "line `2`" in (load_configurations(warehouse).problem or "")
        assert "line `2`" in (load_compliance(warehouse).problem or "")
        assert (
            sorted(map(str, warehouse.run(rows_of("config_versions")).fetchall()))
            == (before["config_versions"])
        )


def test_erasures_and_retention_runs_are_events(settings: Settings) -> None:
    """Each is in the trail with its extent, and an erasure without the person's id."""
    seal_records(settings, [make_record(NOW, user_id=PERSON)])
    seal_records(settings, [make_record(NOW - timedelta(days=200))])
    with Warehouse(settings) as warehouse:
        retain(warehouse, now=NOW)
        retain(warehouse, now=NOW)
    erase(settings, PERSON)
    expired, erased = read_events(settings.compliance_file)
    assert (expired.action, expired.after["rows"]["request_analytics"]) == ("records.expired", 1)
    assert (erased.action, len(erased.after["person"])) == ("person.erased", 64)
    assert PERSON not in settings.compliance_file.read_text()


def test_an_erasure_that_is_honoured_late_is_an_event(settings: Settings) -> None:
    """Rows that were sealed after the erasure go too, and the trail and the table say so, once."""
    seal_records(settings, [make_record(NOW, user_id=PERSON)])
    certificate = erase(settings, PERSON)
    seal_records(settings, [make_record(NOW, user_id=PERSON), make_record(NOW, user_id="u1")])
    with Warehouse(settings) as warehouse:
        for _ in range(2):
            run_steps(warehouse)
            honour_erasures(warehouse)
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
        assert honour_erasures(warehouse) == []
        load_compliance(warehouse)
        rows = warehouse.rows(
            "select subject, after ->> 'cause', after ->> '$.rows.request_analytics' from compliance_logs"
            " where action = 'person.erased' order by id"
        )
    names = {row[0] for row in rows}
    assert [row[1:] for row in rows] == [("request", None), ("late segments", "1")]
    assert len(names) == 1
    assert certificate.person in read_events(settings.compliance_file)[-1].after["person"]
    assert PERSON not in settings.compliance_file.read_text()


def test_an_erasure_names_keys_and_documents_of_the_database(settings: Settings, postgres_url: str) -> None:
    """They are other people's to change, on every machine, and the history there forgets the person."""
    write_catalog(settings.home)
    (settings.home / "policies.yaml").write_text(f"assignments: {{users: {{{PERSON}: cheapest}}}}\n")
    shared = settings.model_copy(update={"database_url": SecretStr(postgres_url)})
    push(shared)
    with closing(open_key_store(shared)) as store:
        create(store, name="n", scopes=["route"], user_id=PERSON)
    (settings.home / "policies.yaml").unlink()
    seal_records(settings, [make_record(NOW, user_id=PERSON)])
    remaining = erase(shared, PERSON).remaining
    assert {"keys.json", "policies.yaml"} <= set(remaining)
    with closing(open_source(shared)) as source, closing(open_key_store(shared)) as store:
        apply(source, shared, {"policies.yaml": None})
        assert PERSON not in str(store.events())
        digests = {digest for version in source.versions() for digest in version.documents.values()}
        assert not [digest for digest in digests if PERSON.encode() in source.document(digest)]
