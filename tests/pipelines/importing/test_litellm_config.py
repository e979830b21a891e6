"""LiteLLM's configuration becomes ours: each field is mapped, or named with a reason. None is lost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pipelines.errors import ImportSourceError
from pipelines.importing.import_commands import COMMANDS
from pipelines.importing.litellm_config import convert, read_config, write
from router.catalog.catalog import Catalog
from router.config import Settings
from router.keys.keys import KeyFile, now
from router.server.auth import Keys

CORPUS = sorted((Path(__file__).parent / "litellm_configs").glob("*.yaml"))
TOKEN = "sk-canary-0123456789abcdef"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()


def leaves_of(tree: Any) -> int:
    """The number of leaves of a document. An empty list or mapping is one."""
    if isinstance(tree, dict) and tree:
        return sum(map(leaves_of, tree.values()))
    return sum(map(leaves_of, tree)) if isinstance(tree, list) and tree else 1


def deployment(**params: Any) -> dict[str, Any]:
    """An entry of `model_list`."""
    return {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o", **params}}


def test_the_corpus_is_large() -> None:
    """At least 20 configurations of different kinds."""
    assert len(CORPUS) >= 20


@pytest.mark.smoke
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_no_field_is_lost(path: Path, tmp_path: Path) -> None:
    """Every leaf is mapped or named, and the documents are usable."""
    tree = read_config(path)
    found = convert(tree)
    assert len(found.mapped) + len(found.findings) == leaves_of(tree) == found.leaves
    assert all(finding.reason and finding.advice for finding in found.findings)
    settings = Settings.load({}, home=tmp_path / "home")
    write(settings, found)
    catalog = Catalog.load(settings.catalog_file)
    served = yaml.safe_load(found.documents["catalog.yaml"])["models"]
    assert sorted(catalog.models) == sorted(model["id"] for model in served)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_no_secret_is_written_or_shown(path: Path, tmp_path: Path) -> None:
    """A key in the file is in no document, and in no message."""
    home = tmp_path / "home"
    done = CliRunner().invoke(COMMANDS[0], ["litellm-config", str(path), "--home", str(home)])
    assert (done.exit_code, "canary" in done.output) == (0, False), done.output
    for file in home.rglob("*"):
        assert file.is_dir() or b"canary" not in file.read_bytes(), file


def test_a_client_keeps_its_key(tmp_path: Path) -> None:
    """LiteLLM's hash of a key opens the shim with the key's own shape."""
    row = {"token": HASH, "key_alias": "ci", "models": ["m"], "team_id": "team-a", "rpm_limit": 60,
           "max_budget": 10, "budget_duration": "30d"}  # fmt: skip
    found = convert({"model_list": [deployment()]}, [row])
    settings = Settings.load({}, home=tmp_path / "home")
    write(settings, found)
    caller = Keys(KeyFile(settings.keys_file)).caller(
        {
            "type": "http",
            "headers": [(b"authorization", b"Bearer " + TOKEN.encode())],
            "client": ("1.2.3.4", 1),
        }
    )
    assert (caller.key_id, caller.organization_id) == (f"key_{HASH[:12]}", "team-a")
    assert caller.models == frozenset({"m"})
    limits = yaml.safe_load(found.documents["limits.yaml"])
    assert limits["limits"] == [
        {"scope": "key", "subject": f"key_{HASH[:12]}", "requests": 60, "per": "minute"}
    ]
    assert (limits["budgets"][0]["usd"], limits["budgets"][0]["period"]) == ("10", "month")


@pytest.mark.parametrize(
    ("changes", "state"),
    [({"blocked": True}, "revoked"), ({"expires": "2020-01-01T00:00:00Z"}, "expired"), ({}, "active")],
)
def test_a_dead_key_stays_dead(changes: dict[str, Any], state: str) -> None:
    """A blocked or expired key opens nothing here."""
    (key,) = convert({"model_list": [deployment()]}, [{"token": HASH, **changes}]).keys
    assert key.state(now()) == state


def test_a_key_of_unknown_models_does_not_open_all() -> None:
    """A list of models that the catalog lacks would become no list: the key is left out and named."""
    found = convert({"model_list": [deployment()]}, [{"token": HASH, "models": ["other"]}])
    assert found.keys == ()
    assert any(finding.path == "keys[0].models[0]" for finding in found.findings)


def test_prices_are_exact() -> None:
    """Dollars for a token become dollars for a million, to the last digit."""
    entry = deployment(input_cost_per_token=1.5e-07, output_cost_per_token="0.0000006")
    (model,) = yaml.safe_load(convert({"model_list": [entry]}).documents["catalog.yaml"])["models"]
    assert model["prices"] == [
        {"start": "1970-01-01", "input_usd_per_mtok": "0.15", "output_usd_per_mtok": "0.6"}
    ]


def test_existing_documents_stay(tmp_path: Path) -> None:
    """A folder with a document is refused, and left as it is."""
    settings = Settings.load({}, home=tmp_path)
    settings.catalog_file.write_text("mine")
    with pytest.raises(ImportSourceError, match=r"catalog\.yaml` exists"):
        write(settings, convert({"model_list": [deployment()]}))
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.yaml"]


@pytest.mark.parametrize("content", ["a: [", "[]", "general_settings: {}"])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    """A file that is no configuration of LiteLLM is named, and nothing is written."""
    path = tmp_path / "config.yaml"
    path.write_text(content)
    home = tmp_path / "home"
    done = CliRunner().invoke(COMMANDS[0], ["litellm-config", str(path), "--home", str(home)])
    assert isinstance(done.exception, ImportSourceError)
    assert not home.exists()


def test_keys_come_from_a_file(tmp_path: Path) -> None:
    """Lines of JSON, as an export of the table writes them."""
    config, keys = tmp_path / "config.yaml", tmp_path / "keys.jsonl"
    config.write_text(yaml.safe_dump({"model_list": [deployment()]}))
    keys.write_text(json.dumps({"token": HASH, "spend": 3.2}) + "\n")
    command = ["litellm-config", str(config), "--keys", str(keys), "--home", str(tmp_path / "home")]
    done = CliRunner().invoke(COMMANDS[0], command, catch_exceptions=False)
    assert "1 keys" in done.output
    assert "keys[0].spend = 3.2" in done.output
