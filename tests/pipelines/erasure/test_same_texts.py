"""An erasure is about a person: a text that equals their id elsewhere is another thing, and stays."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from pipelines.cli import COMMANDS
from pipelines.doctor import doctor
from pipelines.erasure.config_mentions import advice
from pipelines.errors import ErasureError
from pipelines.flow import erase
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.configuration.forgetting import ERASED, without
from router.journal.journal import Journal
from router.journal.places import manifest_path
from router.records import Tag
from tests.factories import write_catalog
from tests.pipelines.helpers import make_log, make_record, run_steps, seal_records

COLLISIONS: list[tuple[str, dict[str, Any]]] = [
    ("ann-personal", {"organization_id": "ann-personal"}),
    ("personal", {"organization_id": "ann-personal"}),
    ("42", {"tokens_input": 42}),
    ("1001", {"tokens_output": 1001}),
    ("production", {"environment": "production"}),
    ("summarise", {"task_type": "summarise"}),
    ("claude-sonnet", {"model_selected": "claude-sonnet"}),
    ("balanced", {"policy_id": "balanced"}),
    ("*", {}),
    ("true", {}),
    ("202611", {}),
    ("candidates", {}),
    ("session-7", {"session_id": "session-7"}),
    ("key-7", {"api_key_id": "key-7"}),
    ("blue-team", {"tags": [Tag(key="team", value="blue-team")]}),
]


def run_erase(settings: Settings, user: str) -> Any:
    """`intellirouter erase --yes` of one user."""
    (command,) = (item for item in COMMANDS if item.name == "erase")
    return CliRunner().invoke(command, ["--home", str(settings.home), "--user", user, "--yes"])


@pytest.mark.parametrize(("user", "same"), COLLISIONS, ids=[user for user, _ in COLLISIONS])
def test_an_id_that_is_another_value_too_is_erased_with_success(
    settings: Settings, user: str, same: dict[str, Any]
) -> None:
    """The person's rows go, the others' stay with their values, and neither command reports a fault."""
    write_catalog(settings.home, ["small", "large", "claude-sonnet"])
    seal_records(settings, [make_record(user_id=name, **same) for name in (user, "bob")])
    done = run_erase(settings, user)
    assert (done.exit_code, done.exception) == (0, None)
    with Warehouse(settings) as warehouse:
        rows = warehouse.rows("select user_id from request_analytics")
    assert rows == [("bob",)]
    assert [item for item in doctor.inspect(settings).findings if "erasure" in item.what] == []


def test_a_failing_disk_is_an_error_with_the_way_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk stops the erasure with a message. Erasing again finishes it."""
    seal_records(settings, [make_record(user_id="ada")])

    def full(*_: Any) -> None:
        raise duckdb.IOException("Could not write all bytes to file: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "recreate", full)
        with pytest.raises(ErasureError, match=r"No space left .* erase again"):
            erase(settings, "ada")
    assert erase(settings, "ada").remaining == ()


def test_a_mention_in_the_record_of_another_person_is_listed(settings: Settings) -> None:
    """Bob's prompt names Ann: it is his record, so it stays, and a human reads where it is."""
    mine, theirs = make_record(user_id="ann@example.org"), make_record(user_id="bob")
    seal_records(settings, [mine, theirs, make_log(theirs, request_data='"ask ann@example.org"')])
    certificate = erase(settings, "ann@example.org")
    assert certificate.remaining == ()
    assert {name for item in certificate.mentions for name in item.columns} >= {
        "request_data",
        "request_logs.request_data",
    }
    assert "is no place of a person" in run_erase(settings, "ann@example.org").output


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("export.csv", "user_id,cost_usd\nbob,1\nann@example.org,2\n"),
        ("export.jsonl", '{"user_id": "bob"}\n{"user_id":"ann@example.org"}\n'),
        ("notes.yaml", "- {user: ann@example.org}\n"),
    ],
)
def test_an_export_that_holds_the_person_is_unfinished_business(
    settings: Settings, name: str, content: str
) -> None:
    """A file of one's own in the data folder is named, and the advice is not to lose its other lines."""
    seal_records(settings, [make_record(user_id="ann@example.org")])
    (settings.home / name).write_text(content)
    assert erase(settings, "ann@example.org").remaining == (name,)
    refused = run_erase(settings, "ann@example.org")
    assert refused.exit_code == 1
    assert "take the person's lines out of the file" in str(refused.exception)


@pytest.mark.parametrize("user", ["ann", "7", "a.b"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("export.csv", "user_id,requests\n{user},2\nbob,3\n"),
        ("export.tsv", "requests\tuser\n2\t{user}\n"),
        ("export.json", '[{{"user_id": "{user}", "requests": 2}}]'),
        ("notes.yaml", "user: {user}\n"),
    ],
)
def test_a_short_id_is_found_where_a_person_can_be(
    settings: Settings, user: str, name: str, content: str
) -> None:
    """Three letters occur in any file by chance, and still an export with such a user is named."""
    seal_records(settings, [make_record(user_id=user), make_record(user_id="bob")])
    (settings.home / name).write_text(content.format(user=user))
    assert erase(settings, user).remaining == (name,)


@pytest.mark.parametrize("content", ["call ann or user ann-2\n", "user_id,n\nanna,1\n", '{"user": "joann"}'])
def test_a_short_id_within_other_texts_is_no_find(settings: Settings, content: str) -> None:
    """Neither a trace nor a mention: every file would have some."""
    seal_records(settings, [make_record(user_id="ann")])
    (settings.home / "notes.txt").write_text(content)
    certificate = erase(settings, "ann")
    assert (certificate.remaining, certificate.mentions) == ((), ())


@pytest.mark.parametrize(
    "name", ["warehouse/build/build.duckdb", "lake/request_analytics/x.parquet", "x.csv"]
)
def test_no_advice_destroys_the_records_of_others(name: str) -> None:
    """Removing a segment, the warehouse or a shared export would."""
    assert "remove the file" not in advice(name)


def test_a_journal_that_only_names_the_word_is_not_pending(settings: Settings) -> None:
    """The environment `production` in every line of a running router is not the user `production`."""
    seal_records(settings, [make_record(user_id="production")])
    journal = Journal(settings.home, seal_interval_s=3600, max_bytes=1 << 30)
    journal.append(make_record(user_id="bob", environment="production"))
    certificate = erase(settings, "production")
    assert (certificate.remaining, certificate.pending_journals) == ((), ())
    journal.append(make_record(user_id="production"))
    assert len(erase(settings, "production").pending_journals) == 1
    journal.close()


def test_a_damaged_segment_of_others_stays_for_its_repair(settings: Settings) -> None:
    """Its columns name the word, and no person of that name: nothing of it is removed."""
    seal_records(settings, [make_record(user_id="production")])
    (path,) = (
        settings.home / "lake" / item.path
        for item in seal_records(settings, [make_record(user_id="bob", environment="production")], "w2")
    )
    manifest = manifest_path(path)
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | {"sha256": "0" * 64}))
    content = path.read_bytes()
    assert erase(settings, "production").removed_files == ()
    assert path.read_bytes() == content


def test_the_history_loses_the_person_and_keeps_a_model_of_the_same_name() -> None:
    """Only places that hold persons change where the id is a name of something else."""
    document = b"policies: [{id: large}]\nassignments: {users: {large: large, bob: large}}\n"
    assert without(document, "large") == (
        f"policies: [{{id: large}}]\nassignments: {{users: {{{ERASED}: large, bob: large}}}}\n".encode()
    )
    budget = (
        b'{"budgets": [{"scope": "user", "subject": "acme"}, {"scope": "organization", "subject": "acme"}]}'
    )
    assert without(budget, "acme") == budget.replace(b"acme", ERASED.encode(), 1)
    assert without(b"limits: [{scope: user, subject: '*'}]", "*") is None


def test_a_word_of_the_configuration_is_not_the_person(settings: Settings) -> None:
    """A budget of the organisation `acme` does not keep the erasure of the user `acme` open."""
    write_catalog(settings.home)
    (settings.home / "limits.yaml").write_text(
        "budgets: [{id: acme, scope: organization, subject: acme, usd: 5, period: day, mode: hard}]"
    )
    seal_records(settings, [make_record(user_id="acme", organization_id="acme")])
    with Warehouse(settings) as warehouse:
        run_steps(warehouse)
    assert erase(settings, "acme").remaining == ()
