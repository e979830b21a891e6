"""`intellirouter config`, `backup` and `restore`, as people run them."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from router.configuration.commands import backup_command, config, restore_command
from router.configuration.folder import StateFolder
from router.errors import ConfigConflictError, ConfigError
from router.keys.changes import create
from tests.factories import write_catalog

if TYPE_CHECKING:
    from pathlib import Path

    import click

POLICY = "policies: [{id: support, version: %d, cost_weight: 0.3}]\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder with a catalog."""
    write_catalog(tmp_path / "home")
    return tmp_path / "home"


def run(command: click.Command, *words: Any, home: Path) -> str:
    """The output of a command. Its error is raised."""
    result = CliRunner().invoke(command, [*map(str, words), "--home", str(home)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.smoke
def test_a_change_is_applied_shown_and_rolled_back(home: Path, tmp_path: Path) -> None:
    """The whole way of a change: apply, history, diff, show, rollback."""
    file = tmp_path / "policies.yaml"
    file.write_text(POLICY % 1)
    assert "edited" in run(config, "history", home=home)
    assert "version 2 is in force" in run(config, "apply", file, home=home)
    assert (home / "policies.yaml").read_text() == POLICY % 1
    lines = run(config, "history", home=home).splitlines()
    assert [line.split()[0] for line in lines] == ["2", "1"]
    assert lines[0].endswith("policies.yaml")
    difference = run(config, "diff", "1", home=home)
    assert "+++ policies.yaml (version 2)" in difference
    assert f"+{POLICY % 1}" in difference
    shown = run(config, "show", lines[0].split()[1], home=home)
    assert POLICY % 1 in shown
    assert "# catalog.yaml, digest" in shown
    assert run(config, "show", "2", "--document", "policies.yaml", home=home) == POLICY % 1
    assert "version 3 is in force" in run(config, "rollback", 1, home=home)
    assert not (home / "policies.yaml").exists()


def test_the_output_of_show_can_be_applied(home: Path, tmp_path: Path) -> None:
    """`show --format json` holds a whole set: applied to another folder it gives the same hash."""
    (home / "policies.yaml").write_text(POLICY % 1)
    (home / "limits.yaml").write_text("limits: []\n")
    shown = json.loads(run(config, "show", "newest", "--format", "json", home=home))
    file = tmp_path / "set.json"
    file.write_text(json.dumps(shown))
    other = tmp_path / "other"
    other.mkdir()
    run(config, "apply", file, home=other)
    assert (
        json.loads(run(config, "history", "--format", "json", home=other))[0]["config_hash"]
        == (shown["config_hash"])
    )
    assert (other / "limits.yaml").read_text() == "limits: []\n"


def test_a_folder_of_documents_is_applied_at_once(home: Path, tmp_path: Path) -> None:
    """Documents that need one another come together, and one that the folder lacks stays."""
    write_catalog(tmp_path / "git", ["small", "new"])
    (tmp_path / "git" / "policies.yaml").write_text("policies: [{id: p, denied_models: [new]}]")
    (home / "limits.yaml").write_text("limits: []\n")
    run(config, "apply", tmp_path / "git", home=home)
    newest = StateFolder(home).newest()
    assert newest is not None
    assert {"catalog.yaml", "policies.yaml", "limits.yaml"} <= newest.documents.keys()


def test_a_dry_run_changes_nothing(home: Path, tmp_path: Path) -> None:
    """It prints the difference, or the error, and adds no version."""
    file = tmp_path / "policies.yaml"
    file.write_text(POLICY % 1)
    assert "+policies:" in run(config, "apply", file, "--dry-run", home=home)
    file.write_text("policies: [{id: p, denied_models: [unknown]}]")
    with pytest.raises(ConfigError, match="names `unknown`"):
        run(config, "apply", file, "--dry-run", home=home)
    assert len(StateFolder(home).versions()) == 1
    assert not (home / "policies.yaml").exists()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("notes.txt", "hello", "neither a document by its name"),
        ("policies.yaml", "policies: [{id: p, cost_wait: 1}]", "cost_wait"),
        ("limits.yaml", "limits: [{scope: nobody}]", "limits.0"),
        ("retention.yaml", "legal_holds: [{user: u}]", "legal_holds.0.reason"),
        ("organizations.yaml", "organizations: [{id: a, time_zone: Europe/Wien}]", "IANA"),
        ("organizations.yaml", "organizations: [{id: a, mark_up: 0.1, discount: 0.1}]", "keep one of them"),
        ("organizations.yaml", "organizations: [{id: a}, {id: a}]", "two organizations have the id `a`"),
        ("catalog.yaml", "providers: {}", "models"),
        ("policies.yaml", "policies: [{id: sk-live-0123456789abcdef}]", "looks like a key"),
    ],
)
def test_a_set_that_cannot_be_used_is_refused(
    home: Path, tmp_path: Path, name: str, content: str, fault: str
) -> None:
    """The message names the fault, nothing is written, and no version is added."""
    (tmp_path / name).write_text(content)
    before = sorted(home.iterdir())
    with pytest.raises(ConfigError, match=fault):
        run(config, "apply", tmp_path / name, home=home)
    assert [path.name for path in sorted(home.iterdir())] == sorted(
        {*(path.name for path in before), "configuration"}
    )
    assert len(StateFolder(home).versions()) == 1


def test_a_stale_change_is_a_conflict(home: Path, tmp_path: Path) -> None:
    """`--expected` refuses a change that was made from an older version."""
    run(config, "history", home=home)
    (home / "limits.yaml").write_text("limits: []\n")
    file = tmp_path / "policies.yaml"
    file.write_text(POLICY % 1)
    with pytest.raises(ConfigConflictError, match=r"config diff 1 2"):
        run(config, "apply", file, "--expected", "1", home=home)


def test_a_changed_policy_needs_a_new_version(home: Path, tmp_path: Path) -> None:
    """The same id and version with other content is refused with both digests, also after a rollback."""
    (home / "policies.yaml").write_text(POLICY % 1)
    run(config, "history", home=home)
    file = tmp_path / "policies.yaml"
    file.write_text("policies: [{id: support, version: 1, cost_weight: 0.4}]")
    with pytest.raises(ConfigError, match=r"digest was `[0-9a-f]{16}` and is `[0-9a-f]{16}`; raise"):
        run(config, "apply", file, home=home)
    file.write_text(POLICY % 1 + "# the same content\n")
    run(config, "apply", file, home=home)
    file.write_text("policies: [{id: balanced, cost_weight: 0.4}]")
    with pytest.raises(ConfigError, match="policy `balanced` was changed and is still version `1`"):
        run(config, "apply", file, home=home)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("0123456789abcdef", "the hash is older, or of another data folder"),
        ("abc", "at least 6 of them name it"),
        ("9", "no version `9`"),
    ],
)
def test_a_hash_without_history_is_answered_clearly(home: Path, name: str, fault: str) -> None:
    """A record from before the history says so, and not that something is broken."""
    with pytest.raises(ConfigError, match=fault):
        run(config, "show", name, home=home)


def test_a_folder_without_history_says_how_it_begins(tmp_path: Path) -> None:
    """A hash of an empty folder cannot be resolved, and the message says why."""
    with pytest.raises(ConfigError, match="no history of its configuration yet"):
        run(config, "show", "0123456789abcdef", home=tmp_path)


def test_a_backup_is_restored_equal(home: Path, tmp_path: Path) -> None:
    """Every file but the lake comes back with its bytes and its mode, and secrets stay the owner's."""
    create(home / "keys.json", name="n", scopes=["route"])
    (home / "limits.yaml").write_text("limits: []\n")
    run(config, "history", home=home)
    for name in ("lake/part.parquet", "warehouse/intellirouter.duckdb", "erasures/one.json"):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_bytes(b"content")
    (home / "journal").mkdir()
    (home / "journal" / "w-00000001.jsonl").write_bytes(b'{"id": 1}\n{"id"')
    file = tmp_path / "backup.tar.gz"
    run(backup_command, file, home=home)
    assert file.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other"
    run(restore_command, file, home=other)
    expected = {
        path.relative_to(home): (path.read_bytes(), path.stat().st_mode)
        for path in home.rglob("*")
        if path.is_file() and path.suffix not in {".lock", ".parquet", ".duckdb"}
    }
    journal = next(path for path in expected if path.parent.name == "journal")
    expected[journal] = (b'{"id": 1}\n', expected[journal][1])
    found = {
        path.relative_to(other): (path.read_bytes(), path.stat().st_mode)
        for path in other.rglob("*")
        if path.is_file()
    }
    assert found == expected
    assert list(StateFolder(other).versions()) == list(StateFolder(home).versions())


def test_a_backup_is_restored_into_an_empty_folder_only(home: Path, tmp_path: Path) -> None:
    """Neither command overwrites anything."""
    file = tmp_path / "backup.tar.gz"
    run(backup_command, file, home=home)
    with pytest.raises(ConfigError, match="is not empty"):
        run(restore_command, file, home=home)
    with pytest.raises(ConfigError, match="exists"):
        run(backup_command, file, home=home)


def test_a_damaged_backup_restores_nothing(home: Path, tmp_path: Path) -> None:
    """A cut file, a changed file and a file of another kind are refused, and the folder stays empty."""
    file, other = tmp_path / "backup.tar.gz", tmp_path / "other"
    run(backup_command, file, home=home)
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no archive", whole[:-40]):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"whole backup|is cut"):
            run(restore_command, file, home=other)
        assert not other.exists()
    with tarfile.open(file, "w:gz") as archive:
        archive.add(home / "catalog.yaml", "../catalog.yaml")
    with pytest.raises(ConfigError, match=r"holds `\.\./catalog\.yaml`"):
        run(restore_command, file, home=other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar.gz", "home"]
