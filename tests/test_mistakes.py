"""Typical mistakes of a first hour: each has one line that names the value and the next step.

`python tests/test_mistakes.py` prints the table.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click
import pytest

from router import Request, Router, cli
from router.config import Settings
from router.errors import IntelliRouterError
from router.settings.command_list import usage_fault
from tests.factories import write_catalog

KEY = "sk-proj-SECRETCANARY4242424242"
CATALOG = """
providers:
  fake: {kind: openai, base_url: "http://127.0.0.1:9/v1"}
models:
  - {id: small, provider: fake}
tasks: [math]
"""
HELLO: Any = {"messages": [{"role": "user", "content": "hi"}]}


def catalog(text: str) -> Callable[[Path], object]:
    """Open a router on a catalog with this text."""

    def attempt(home: Path) -> object:
        (home / "catalog.yaml").write_text(text)
        return Router.open(home=home)

    return attempt


def changed(old: str, new: str) -> Callable[[Path], object]:
    """Open a router on the usual catalog with a part replaced."""
    assert old in CATALOG
    return catalog(CATALOG.replace(old, new))


def asked(**members: Any) -> Callable[[Path], object]:
    """Ask a router for a decision."""

    def attempt(home: Path) -> object:
        with Router.open(home=home) as router:
            return router.route(Request(**{**HELLO, **members}))

    return attempt


def with_router(use: Callable[[Router], object]) -> Callable[[Path], object]:
    """Use a router wrongly."""

    def attempt(home: Path) -> object:
        with Router.open(home=home) as router:
            return use(router)

    return attempt


def setting(name: str, value: str) -> Callable[[Path], object]:
    """Start with a variable of the environment."""
    return lambda home: Settings.load({name: value}, home=home)


def command(*words: str) -> Callable[[Path], object]:
    """A command on the data folder. `HOME` is the folder."""

    def attempt(home: Path) -> object:
        group = cli._group()
        return group.main([word.replace("HOME", str(home)) for word in words], standalone_mode=False)

    return attempt


def document(name: str, text: str) -> Callable[[Path], object]:
    """Check a data folder with this document."""

    def attempt(home: Path) -> object:
        (home / name).write_text(text)
        return Router.open(home=home)

    return attempt


def sql(text: str) -> Callable[[Path], object]:
    """A query on a warehouse."""

    def attempt(home: Path) -> object:
        from pipelines.flow import run_refresh
        from pipelines.warehouse.publishing import publish_warehouse
        from pipelines.warehouse.warehouse import Warehouse

        with Warehouse(Settings.load({}, home=home)) as warehouse:
            run_refresh(warehouse)
            publish_warehouse(warehouse)
        return command("sql", text, "--home", "HOME")(home)

    return attempt


def without_catalog(home: Path) -> object:
    (home / "catalog.yaml").unlink()
    return Router.open(home=home)


def after_close(home: Path) -> object:
    router = Router.open(home=home)
    router.close()
    return router.complete_sync(Request(**HELLO))


def unchanged_version(home: Path) -> object:
    policy = "policies:\n  - {id: mine, version: 1, min_quality: %s}\n"
    (home / "policies.yaml").write_text(policy % 0.5)
    Router.open(home=home).close()
    (home / "policies.yaml").write_text(policy % 0.9)
    return Router.open(home=home)


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    # the catalog
    "a key as api_key_env": (
        changed('v1"}', f'v1", api_key_env: {KEY}}}'),
        "keep it in an environment variable",
    ),
    "a key as api_key": (changed('v1"}', f'v1", api_key: {KEY}}}'), "keep it in an environment variable"),
    "unknown provider": (changed("provider: fake", "provider: fak"), "`fak`: nearest known: `fake`"),
    "two models with one id": (changed("tasks:", "  - {id: small, provider: fake}\ntasks:"), "small"),
    "base_url without a scheme": (changed("http://127", "127"), "http"),
    "price below zero": (
        changed("small, ", "small, prices: [{start: 2026-01-01, input_usd_per_mtok: -1}], "),
        "models.small.prices.2026-01-01.input_usd_per_mtok: must be greater than or equal to 0 (got `-1`)",
    ),
    "bad YAML": (catalog("models: [\n"), "catalog.yaml"),
    "a tab in YAML": (catalog("models:\n\t- id: x\n"), "line 2, column 1"),
    "an empty catalog": (catalog(""), "catalog.yaml"),
    "no catalog": (without_catalog, "init"),
    "misspelt member of a model": (
        changed("provider: fake}", "provider: fake, contxt_window: 9}"),
        "models.small.contxt_window: is not a known member; nearest known: `context_window`",
    ),
    "unknown kind of provider": (changed("kind: openai", "kind: opnai"), "opnai"),
    # other documents
    "misspelt member of a policy": (
        document("policies.yaml", "policies:\n  - {id: mine, version: 1, min_qualty: 1}\n"),
        "policies.mine.min_qualty: is not a known member; nearest known: `min_quality`",
    ),
    "unknown model in a policy": (
        document("policies.yaml", "policies:\n  - {id: mine, version: 1, allowed_models: [smal]}\n"),
        "smal",
    ),
    "names in place of a list": (document("policies.yaml", "policies:\n  mine: {version: 1}\n"), "list"),
    "a policy changed under its version": (unchanged_version, "version"),
    # Python
    "a folder in place of settings": (lambda home: Router.open(cast("Any", str(home))), "home="),
    "misspelt override": (lambda home: cast("Any", Router).open(hom=home), "`home`"),
    "a dict as request": (with_router(lambda router: router.complete_sync(HELLO)), "`dict`"),
    "a text as request": (with_router(lambda router: router.complete_sync(cast("Any", "hi"))), "`str`"),
    "None as request": (with_router(lambda router: router.route(cast("Any", None))), "`NoneType`"),
    "misspelt model": (asked(model="smal"), "`small`"),
    "misspelt task": (asked(task_type="mth"), "`math`"),
    "misspelt policy": (asked(policy="balancd"), "`balanced`"),
    "stream in parameters": (
        with_router(lambda router: router.complete_sync(Request(**HELLO, parameters={"stream": True}))),
        "stream",
    ),
    "no message": (asked(messages=[]), "messages"),
    "misspelt metric": (
        with_router(lambda router: router.feedback("019f0000-0000-7000-8000-000000000000", "qualty", 1)),
        "`quality`",
    ),
    "a judgement above 1": (
        with_router(lambda router: router.feedback("019f0000-0000-7000-8000-000000000000", "quality", 5)),
        "5",
    ),
    "feedback for an id that is none": (
        with_router(lambda router: router.feedback("abc", "quality", 1)),
        "abc",
    ),
    "a router after close": (after_close, "closed"),
    # settings
    "a word as number": (setting("WORKERS", "many"), "many"),
    "a port of six digits": (setting("INTELLIROUTER_PORT", "808080"), "808080"),
    "unknown choice": (setting("JOURNAL_SYNC", "always"), "always"),
    "misspelt default policy": (
        lambda home: Router.open(home=home, default_policy="balancd"),
        "DEFAULT_POLICY",
    ),
    # commands
    "misspelt data folder": (command("compact", "--home", "HOMEE"), "nearest known"),
    "misspelt data folder of serve": (command("serve", "--home", "HOMEE"), "nearest known"),
    "misspelt command": (command("refrsh"), "unknown command `refrsh`: nearest known: `refresh`"),
    "misspelt option": (
        command("refresh", "--hme", "HOME"),
        "unknown option `--hme`: nearest known: `--home`",
    ),
    "misspelt report": (command("report", "cost-per-tsk", "--home", "HOME"), "cost-per-task"),
    "a date that is none": (
        command("report", "cost-per-task", "--since", "yesterdy", "--home", "HOME"),
        "yesterdy",
    ),
    "unknown file suffix": (command("sql", "select 1", "--output", "x.xlsx", "--home", "HOME"), ".csv"),
    "SQL before the first refresh": (command("sql", "select 1", "--home", "HOME"), "refresh"),
    "SQL with an error": (sql("selct 1"), 'syntax error at or near "selct" (line 1)'),
    "SQL with a misspelt column": (
        sql("select cost from request_analytics"),
        "nearest known: `cost_usd`",
    ),
    "SQL with a misspelt table": (sql("from request_analytic"), "nearest known: `request_analytics`"),
    "SQL that changes rows": (sql("delete from feedback"), "intellirouter retention"),
    "a report before the first refresh": (command("report", "cost-per-task", "--home", "HOME"), "refresh"),
    "a person nobody has seen": (command("erase", "--user", "ada", "--yes", "--home", "HOME"), "--unseen"),
    "unknown request": (command("explain", "abc", "--home", "HOME"), "`abc` is no request id"),
    "unknown key": (command("keys", "revoke", "key_000000000000", "--home", "HOME"), "key_000000000000"),
    "a key for an unknown model": (
        command("keys", "create", "--name", "x", "--models", "smal", "--home", "HOME"),
        "`small`",
    ),
    "a period that is none": (
        command("keys", "create", "--name", "x", "--expires", "soon", "--home", "HOME"),
        "soon",
    ),
    "a moment that is none": (command("retention", "--now", "tomorow", "--home", "HOME"), "tomorow"),
    "retention beyond what is made yet": (
        command("retention", "--now", "2437-01-01", "--force", "--home", "HOME"),
        "`2437-01-01 00:00` UTC would remove records that are not made yet",
    ),
    "retention before all records": (
        command("retention", "--now", "0001-01-01", "--home", "HOME"),
        "is before 1970",
    ),
    "a day without a next one": (
        command("report", "cost-per-task", "--until", "9999-12-31", "--home", "HOME"),
        "`9999-12-31` is the last day",
    ),
    "a bill without a month": (command("bill", "close", "--home", "HOME"), "--month"),
    "Parquet on the terminal": (
        command("sql", "select 1", "--format", "parquet", "--home", "HOME"),
        "--output",
    ),
    "init over a catalog": (command("init", "--home", "HOME"), "exists"),
}
"""By what a person does: the attempt, and a part of the answer."""


def answer(attempt: Callable[[Path], object], home: Path) -> str:
    """The message that ends the attempt. Any other error, or none, is an AssertionError."""
    try:
        attempt(home)
    except IntelliRouterError as error:
        return str(error)
    except click.UsageError as error:
        return usage_fault(error)
    raise AssertionError("the mistake was taken without a word")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_an_answer(mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the value, or its nearest right one. No traceback, no silence, and no secret."""
    home = tmp_path / "data"
    write_catalog(home)
    (home / "catalog.yaml").write_text(CATALOG)
    monkeypatch.chdir(tmp_path)
    attempt, part = MISTAKES[mistake]
    text = answer(attempt, home)
    assert part in text
    assert "\n" not in text.strip()
    assert "SECRETCANARY" not in text
    assert not re.search(r"Traceback|Error\(|object at 0x|Value error", text)
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def main() -> None:
    """Print each mistake and its answer."""
    for mistake, (attempt, _) in MISTAKES.items():
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "data"
            home.mkdir()
            (home / "catalog.yaml").write_text(CATALOG)
            os.chdir(folder)
            try:
                text = answer(attempt, home).replace(folder, "…")
            except AssertionError as error:
                text = f"** {error}"
        sys.stdout.write(f"| {mistake} | {text} |\n")


if __name__ == "__main__":
    main()
