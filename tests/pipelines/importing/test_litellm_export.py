"""The way back to LiteLLM: what was imported comes back as it was, and nothing is lost in silence."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pipelines.errors import ImportSourceError
from pipelines.importing.import_commands import export_config_command
from pipelines.importing.litellm_config import convert, read_config, read_keys, write
from pipelines.importing.litellm_export import Exported, export
from router.config import Settings
from router.keys.keys import KeyEntry, SecretEntry

NOW = datetime(2026, 11, 27, tzinfo=UTC)
CORPUS = sorted((Path(__file__).parent / "litellm_configs").glob("*.yaml"))
HASHES = [hashlib.sha256(f"sk-{number}".encode()).hexdigest() for number in range(4)]
ROWS: list[dict[str, Any]] = [
    {"token": HASHES[0], "key_alias": "ci", "team_id": "team-a", "rpm_limit": 60, "created_at": "2026-01-01"},
    {"token": HASHES[1], "user_id": "ada", "max_budget": 10, "budget_duration": "30d", "tpm_limit": 9000},
    {"token": HASHES[2], "expires": "2027-01-01T00:00:00Z", "created_at": "2026-02-01T12:00:00Z"},
    {"token": HASHES[3], "blocked": True},
]


def trees(documents: Any) -> dict[str, Any]:
    """The content of documents."""
    return {name: yaml.safe_load(content) for name, content in documents.items()}


def catalog(**members: Any) -> dict[str, bytes]:
    """A catalog of one model with more members."""
    provider = {"kind": "openai", "base_url": "https://api.openai.com/v1", "api_key_env": "OPENAI_API_KEY"}
    model = {"id": "gpt-4o", "provider": "openai", **members}
    return {"catalog.yaml": yaml.safe_dump({"providers": {"openai": provider}, "models": [model]}).encode()}


def key(**members: Any) -> KeyEntry:
    """A key that may call models."""
    secret = SecretEntry(sha256=HASHES[0], created_at=NOW)
    values = {"id": f"key_{HASHES[0][:12]}", "name": "k", "scopes": ("route",), "secrets": (secret,)}
    return KeyEntry(**{**values, "created_at": NOW, **members})


def named(exported: Exported) -> list[str]:
    """The paths of the findings."""
    return [finding.path for finding in exported.findings]


@pytest.mark.smoke
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_an_imported_configuration_comes_back(path: Path, tmp_path: Path) -> None:
    """Import, export and import again: the same documents and the same keys."""
    first = convert(read_config(path), ROWS, now=NOW)
    exported = export(first.documents, first.keys, now=NOW)
    assert len(exported.mapped) + len(exported.findings) == exported.leaves
    config, keys = tmp_path / "config.yaml", tmp_path / "keys.jsonl"
    config.write_bytes(exported.config)
    keys.write_text("".join(json.dumps(row) + "\n" for row in exported.keys))
    second = convert(read_config(config), read_keys(keys), now=NOW)
    assert trees(second.documents) == trees(first.documents)
    routing = [item for item in first.keys if "admin" not in item.scopes]
    assert [item for item in second.keys if item.name != "LiteLLM master key"] == routing


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("quality_scores", {"*": 0.5}),
        ("version", "2"),
        ("data_policy", ["no_training"]),
        ("parameters", {"forced": {"temperature": 0}}),
        ("parameters", {"default": {"provider": {"order": ["a"]}}}),
        ("regions", ["eu", "us"]),
        ("vectors", "shared"),
    ],
)
def test_a_member_without_an_equivalent_is_named(member: str, value: Any) -> None:
    """With a reason and an advice."""
    exported = export(catalog(**{member: value}), now=NOW)
    assert any(path.startswith(f"catalog.yaml.models[0].{member}") for path in named(exported))
    assert all(finding.reason and finding.advice for finding in exported.findings)


def test_the_price_of_today_is_exported() -> None:
    """LiteLLM's prices have no date: the row that holds now is written, and the others are named."""
    rows = [
        {"start": "2020-01-01", "input_usd_per_mtok": 9, "output_usd_per_mtok": 9},
        {"start": "2026-01-01", "input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.6},
        {"start": "2030-01-01", "input_usd_per_mtok": 7, "output_usd_per_mtok": 7},
    ]
    exported = export(catalog(prices=rows), now=NOW)
    params = yaml.safe_load(exported.config)["model_list"][0]["litellm_params"]
    assert (params["input_cost_per_token"], params["output_cost_per_token"]) == (1.5e-07, 6e-07)
    assert {path.rpartition("prices")[2][:3] for path in named(exported)} == {"[0]", "[1]", "[2]"}


def test_a_key_never_opens_more_there() -> None:
    """A key of one model does not get a name that covers further models."""
    documents = trees(catalog())
    models = documents["catalog.yaml"]["models"]
    models.append({**models[0], "id": "gpt-4o-2", "provider_model": "gpt-4o"})
    policy = {"id": "group-gpt-4o", "version": 1, "allowed_models": ["gpt-4o", "gpt-4o-2"]}
    content = {
        "catalog.yaml": yaml.safe_dump(documents["catalog.yaml"]).encode(),
        "policies.yaml": yaml.safe_dump({"policies": [policy]}).encode(),
    }
    partly, wholly = key(models=("gpt-4o",)), key(models=("gpt-4o", "gpt-4o-2"))
    assert export(content, [partly], now=NOW).keys == ()
    assert [row["models"] for row in export(content, [wholly], now=NOW).keys] == [["gpt-4o"]]
    assert export(content, [key(scopes=("usage",))], now=NOW).keys == ()


def test_no_file_is_replaced(tmp_path: Path) -> None:
    """An existing file is named, and neither file is written."""
    settings = Settings.load({}, home=tmp_path / "home")
    write(settings, convert({"model_list": [{"model_name": "m", "litellm_params": {"model": "openai/m"}}]}))
    config, keys = tmp_path / "config.yaml", tmp_path / "keys.jsonl"
    command = [str(config), "--keys", str(keys), "--home", str(settings.home)]
    keys.write_text("mine")
    done = CliRunner().invoke(export_config_command, command)
    assert isinstance(done.exception, ImportSourceError)
    assert (config.exists(), keys.read_text()) == (False, "mine")
    keys.unlink()
    done = CliRunner().invoke(export_config_command, command, catch_exceptions=False)
    assert "have no equivalent" in done.output
    assert yaml.safe_load(config.read_text())["model_list"][0]["model_name"] == "m"
    assert keys.stat().st_mode & 0o777 == 0o600
