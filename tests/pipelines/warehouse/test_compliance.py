"""The trail of changes in the warehouse, and what an erasure leaves of it and of files that people edit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipelines.cli import COMMANDS
from pipelines.erasure.certificates import Certificate
from pipelines.erasure.config_mentions import mentions
from pipelines.erasure.search import search
from pipelines.flow import erase
from pipelines.warehouse.compliance import load_compliance
from pipelines.warehouse.warehouse import Warehouse
from router.keys.audit_trail import ERASED, read_events
from router.keys.changes import create, revoke
from tests.pipelines.helpers import make_record, run_steps, seal_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.config import Settings

PERSON = "person-4711@example.org"
QUESTION = (
    "select actor, action, subject, before ->> 'organization_id', after ->> 'user_id'"
    " from compliance_logs order by timestamp, id"
)


def users_of_keys(settings: Settings) -> list[str | None]:
    """The user of each event of a new key: an erasure is an event too."""
    events = read_events(settings.compliance_file)
    return [event.after.get("user_id") for event in events if event.action == "key.created"]


def test_who_changed_which_key_is_a_question_in_sql(settings: Settings) -> None:
    """The table says what the file says, once, whatever is loaded how often, and after a rebuild."""
    entry, _ = create(
        settings.keys_file, name="n", scopes=["route"], organization_id="acme", user_id="ada", actor="grace"
    )
    revoke(settings.keys_file, entry.id, actor="root")
    expected = [
        ("grace", "key.created", entry.id, None, "ada"),
        ("root", "key.revoked", entry.id, "acme", "ada"),
    ]
    for _ in range(2):
        settings.build_file.unlink(missing_ok=True)
        with Warehouse(settings) as warehouse:
            for _ in range(2):
                assert load_compliance(warehouse).events == 2
            assert warehouse.rows(QUESTION) == expected


def test_a_damaged_trail_leaves_the_table_as_it_is(settings: Settings) -> None:
    """The refresh goes on, and its asset says which line is no event."""
    create(settings.keys_file, name="n", scopes=["route"])
    with Warehouse(settings) as warehouse:
        load_compliance(warehouse)
        with settings.compliance_file.open("a") as file:
            file.write("no event\n")
        assert "line `2`" in (load_compliance(warehouse).problem or "")
        assert warehouse.value("select count(*) from compliance_logs") == 1


@pytest.fixture
def named(settings: Settings) -> Settings:
    """A person who stands in records, in the trail and in every file that people edit; and another one."""
    create(settings.keys_file, name=PERSON, scopes=["route"], organization_id="acme", user_id=PERSON)
    create(settings.keys_file, name="other", scopes=["route"], organization_id="acme", user_id="other")
    (settings.home / "limits.yaml").write_text(
        f"limits: [{{scope: user, subject: {PERSON}, requests: 1, per: minute}}]"
    )
    (settings.home / "policies.yaml").write_text(f"assignments: {{users: {{{PERSON}: quality}}}}")
    seal_records(settings, [make_record(user_id=PERSON), make_record(user_id="other")])
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
    return settings


def run_erase(settings: Settings, *options: str) -> Any:
    """`intellirouter erase` of the person."""
    (command,) = (item for item in COMMANDS if item.name == "erase")
    return CliRunner().invoke(
        command, ["--home", str(settings.home), "--user", PERSON, *options], catch_exceptions=True
    )


def test_files_that_name_the_person_remain_and_say_what_to_do(
    named: Settings, query: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """They are no bytes of the router's to change; once they are mended a second erasure leaves nothing."""
    files = ["keys.json", "limits.yaml", "policies.yaml"]
    told = run_erase(named, "--dry-run")
    assert told.exit_code == 0
    assert all(f"{name} names them too" in told.output for name in files)
    refused = run_erase(named, "--yes")
    for name, what in zip(files, ("revoke the person's keys", "limits and budgets", "assign"), strict=True):
        assert f"`{name}`" in str(refused.exception)
        assert what in str(refused.exception)
    (path,) = (item for item in named.erasures.glob("*.json") if "tombstone" not in item.name)
    certificate = Certificate.model_validate_json(path.read_bytes())
    assert list(certificate.remaining) == files
    # The trail keeps what happened, and not whose key it was.
    assert users_of_keys(named) == [ERASED, "other"]
    assert query(
        "select after ->> 'user_id', after ->> 'name' from compliance_logs"
        " where action = 'key.created' order by 1"
    ) == [
        (ERASED, ERASED),
        ("other", "other"),
    ]
    keys = json.loads(named.keys_file.read_text())
    keys["keys"] = [item for item in keys["keys"] if item["user_id"] == "other"]
    named.keys_file.write_text(json.dumps(keys))
    (named.home / "limits.yaml").unlink()
    (named.home / "policies.yaml").unlink()
    assert erase(named, PERSON).remaining == ()
    assert search([named.home], [PERSON]).hits == {}


def test_a_short_id_is_found_where_it_is_a_whole_value(settings: Settings) -> None:
    """`ada` in `{users: {ada: …}}` is the person, `adapter` is not; a file that is no YAML may name her."""
    settings.home.mkdir()
    path = settings.home / "policies.yaml"
    found = []
    for content in ("assignments: {users: {ada: quality}}", "policies: [{id: adapter}]", "ada: [", "[1, 2"):
        path.write_text(content)
        found.append(mentions(settings, "ada"))
    assert found == [["policies.yaml"], [], ["policies.yaml"], []]


def test_an_organisations_erasure_looks_at_its_own_keys(settings: Settings) -> None:
    """A key of the person in another organisation stays, in the file and in the trail."""
    create(settings.keys_file, name="n", scopes=["route"], organization_id="umbra", user_id="ada")
    seal_records(settings, [make_record(user_id="ada", organization_id="acme")])
    assert mentions(settings, "ada", organization="acme") == []
    assert mentions(settings, "ada", organization="umbra") == ["keys.json"]
    assert mentions(settings, "ada") == ["keys.json"]
    assert erase(settings, "ada", organization="acme").remaining == ()
    assert users_of_keys(settings) == ["ada"]
    assert erase(settings, "ada", organization="umbra").remaining == ("keys.json",)
    assert users_of_keys(settings) == [ERASED]
