"""`intellirouter config check`: what is in force, from where, and what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from router.config import Settings
from router.configuration.moving import push
from router.keys.changes import create
from router.keys.opening import open_key_store
from router.readiness.check import Report, check
from router.settings.environment import Variables
from tests.factories import write_catalog
from tests.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def checked(home: Path, file: dict[str, str] | None = None, **process: str) -> Report:
    """A check of a folder with these variables."""
    variables = {"INTELLIROUTER_HOME": str(home), **process}
    return check(Variables(from_file=file or {}, from_process=variables))


def setting(report: Report, name: str) -> tuple[str, str]:
    """(value, origin) of a setting."""
    return next((item.value, item.origin) for item in report.settings if item.name == name)


@pytest.mark.smoke
def test_every_setting_is_listed_with_its_origin(tmp_path: Path) -> None:
    """The environment wins over .env, and an argument over both."""
    write_catalog(tmp_path)
    report = checked(tmp_path, {"MAX_ATTEMPTS": "4", "ENABLE_REQUEST_LOGGING": "false"}, MAX_RETRIES="2")
    assert report.problems == []
    assert setting(report, "MAX_ATTEMPTS") == ("4", ".env")
    assert setting(report, "MAX_RETRIES") == ("2", "environment")
    assert setting(report, "REQUEST_LOGGING") == ("False", ".env")
    assert setting(report, "WORKERS") == ("1", "default")
    variables = Variables(from_file={}, from_process={"INTELLIROUTER_HOME": "elsewhere"})
    assert setting(check(variables, tmp_path), "INTELLIROUTER_HOME") == (str(tmp_path), "argument")


def test_secrets_are_masked(tmp_path: Path) -> None:
    """Neither a password in a URL nor a key of a provider is shown."""
    write_catalog(tmp_path, api_key_env="FAKE_KEY")
    report = checked(tmp_path, REDIS_URL="redis://:hunter2@127.0.0.1:9/0", FAKE_KEY="hunter2")
    assert setting(report, "REDIS_URL") == ("[key]", "environment")
    assert "key of provider fake: FAKE_KEY is set in environment" in report.good
    away = checked(tmp_path, DATABASE_URL="postgresql://a:hunter2@127.0.0.1:9/x", FAKE_KEY="hunter2")
    assert ["DATABASE_URL" in problem for problem in away.problems] == [
        True
    ]  # and no word of a missing catalog
    assert "hunter2" not in str(report) + str(away)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("limits.yaml", "limits.yaml` is not usable"),
        ("policies.yaml", "policies.yaml` is not usable"),
        ("catalog.yaml", "catalog.yaml` is not usable"),
        ("retention.yaml", "retention.yaml` is not usable"),
        ("keys.json", "keys.json` is not usable"),
        ("scores/current.json", "is corrupt"),
        ("warehouse/intellirouter.duckdb", "is no DuckDB database"),
    ],
)
def test_a_broken_file_is_a_problem(tmp_path: Path, file: str, words: str) -> None:
    """Each file is looked at, and the first broken one hides no other."""
    write_catalog(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text('{"wrong": 1}')
    assert [problem for problem in checked(tmp_path).problems if words in problem] != []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORKERS": "many"}, "WORKERS=`many`"),
        ({"DEFAULT_POLICY": "balancd"}, "unknown policy `balancd`"),
        ({"BASELINE_MODEL": "smal"}, "unknown model `smal`"),
        ({"REDIS_URL": "redis://127.0.0.1:9/0"}, "Redis does not count"),
    ],
)
def test_a_setting_that_cannot_work_is_a_problem(
    tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    """The same faults that a start or a request would meet."""
    write_catalog(tmp_path)
    (tmp_path / "limits.yaml").write_text("limits: [{scope: user, subject: '*', requests: 1, per: day}]")
    problems = checked(tmp_path, None, **variables).problems
    assert len(problems) == 1
    assert words in problems[0]


def test_a_share_for_no_baseline_is_a_problem(tmp_path: Path) -> None:
    """A policy that explores a baseline needs BASELINE_MODEL; with it the set is usable."""
    write_catalog(tmp_path, ["small"])
    (tmp_path / "policies.yaml").write_text("policies: [{id: p, baseline_exploration: 0.02}]")
    (problem,) = checked(tmp_path).problems
    assert (
        "`baseline_exploration` to 0.02 and there is no baseline: name the model in BASELINE_MODEL" in problem
    )
    assert checked(tmp_path, BASELINE_MODEL="small").problems == []


def test_missing_keys_of_all_providers_are_a_problem(tmp_path: Path) -> None:
    """No request could succeed. A misspelt name of the key is named."""
    write_catalog(tmp_path, api_key_env="FAKE_PROVIDER_KEY")
    problems = checked(tmp_path, FAKE_PROVIDR_KEY="x").problems
    assert [problem for problem in problems if "no model can be asked" in problem] != []
    assert (
        "`FAKE_PROVIDR_KEY` is not a setting and is ignored: nearest known: `FAKE_PROVIDER_KEY`" in problems
    )


@pytest.mark.parametrize(("variables", "code"), [({}, 0), ({"ANALYTICS_RETENTION_DAY": "9"}, 1)])
def test_the_command_exits_with_1_on_a_problem(tmp_path: Path, variables: dict[str, str], code: int) -> None:
    """So that a deployment can ask first."""
    write_catalog(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "router.cli", "config", "check", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables},
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "INTELLIROUTER_HOME" in done.stdout
    assert ("PROBLEM" in done.stdout) is bool(code)


def price(start: str) -> dict[str, Any]:
    """A row of catalog.yaml."""
    return {"start": start, "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}


def test_a_model_without_a_price_in_force_is_a_notice(tmp_path: Path) -> None:
    """With the day on which its first price starts. A provider that states costs needs no price."""
    write_catalog(
        tmp_path,
        [
            {"id": "now", "prices": [price("2026-01-01"), price("9000-01-01")]},
            {"id": "later", "prices": [price("9000-02-01"), price("9000-01-01")]},
            "never",
            {"id": "stated", "cost_source": "provider"},
        ],
    )
    (notice,) = checked(tmp_path).notices
    assert notice == (
        "no price is in force for `later` (the first starts 9000-01-01), `never`: the cost is unknown until"
        " catalog.yaml or the book has one"
    )
    assert checked(tmp_path).problems == []


def test_organisations_that_no_document_describes_are_notices(tmp_path: Path) -> None:
    """Each with the places that name it, if there is an organizations.yaml. Nothing is refused."""
    write_catalog(tmp_path, [{"id": "small", "prices": [price("2026-01-01")]}])
    create(tmp_path / "keys.json", name="n", scopes=["route"], organization_id="acme")
    limits = "limits: [{scope: organization, subject: acme, requests: 1, per: day}]"
    (tmp_path / "limits.yaml").write_text(limits)
    assert checked(tmp_path).notices == []
    (tmp_path / "organizations.yaml").write_text("organizations: [{id: globex}]")
    report = checked(tmp_path)
    (notice,) = report.notices
    assert notice.startswith("organizations.yaml lacks `acme`: it is named in keys, limits.yaml")
    assert report.problems == []
    done = subprocess.run(
        [sys.executable, "-m", "router.cli", "config", "check", "--home", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, f"notice   {notice}\n" in done.stdout) == (0, True)


def test_keys_in_the_database_name_organisations_too(tmp_path: Path, postgres_url: str) -> None:
    """With DATABASE_URL the keys are those of the server."""
    write_catalog(tmp_path, [{"id": "small", "prices": [price("2026-01-01")]}])
    (tmp_path / "organizations.yaml").write_text("organizations: []")
    settings = Settings.load({"DATABASE_URL": postgres_url}, home=tmp_path)
    push(settings)
    with closing(open_key_store(settings)) as store:
        create(store, name="n", scopes=["route"], organization_id="acme")
    assert [notice.split("`")[1] for notice in checked(tmp_path, DATABASE_URL=postgres_url).notices] == [
        "acme"
    ]
