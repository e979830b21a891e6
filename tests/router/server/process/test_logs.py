"""The server's log: each event once, as a line of text or as a JSON object, and no secret in it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from router import BudgetExceededError, Request, Router
from router.config import Settings
from router.errors import ConfigError
from router.providers.fake import FakeProvider
from router.server.process.logs import JsonLines, TextLines, with_access_log
from tests.factories import write_catalog
from tests.servers import Served, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT: dict[str, Any] = {
    "models": {
        "small": {"answer": "yes", "tokens_input": 10, "tokens_output": 10},
        "broken": {"error_rate": 1.0, "error_status": 500},
    }
}
PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO   |WARNING|ERROR  ) [\w.]+: \S")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data folder over a fake provider, and a second provider without its key."""
    folder = tmp_path / "home"
    with FakeProvider(SCRIPT) as base_url:
        write_catalog(folder, [{"id": name, **PRICED} for name in SCRIPT["models"]], base_url=base_url)
        path = folder / "catalog.yaml"
        catalog = yaml.safe_load(path.read_text())
        catalog["providers"]["other"] = {**catalog["providers"]["fake"], "api_key_env": "OTHER_KEY"}
        later = [{**PRICED["prices"][0], "start": "9000-01-01"}]
        catalog["models"].append({"id": "keyless", "provider": "other", "prices": later})
        path.write_text(yaml.safe_dump(catalog))
        yield folder


def ask(url: str, model: str) -> httpx.Response:
    """One request."""
    body = {"model": model, "messages": [{"role": "user", "content": "2 + 2?"}]}
    return httpx.post(f"{url}/v1/chat/completions?key=sk-canary", json=body, timeout=30)


def record(message: str, *args: Any, **fields: Any) -> logging.LogRecord:
    """A record as a logger makes it."""
    made = logging.makeLogRecord({"name": "router.test", "levelname": "INFO", "msg": message, "args": args})
    vars(made).update(fields)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_an_operator_reads_the_life_of_a_server(home: Path, workers: int) -> None:
    """Start with the models that are missing, ejection, refused and taken configuration, and the stop."""
    with Served(home, workers=workers, SCORES_REFRESH_INTERVAL_S="0.1") as served:
        for _ in range(5 * workers):
            ask(served.url, "broken")
        until(lambda: "model `broken` is left out for" in served.log.read_text())
        good = (home / "catalog.yaml").read_text()
        (home / "catalog.yaml").write_text(good + "\nmodels: [")
        until(lambda: "configuration not refreshed" in served.log.read_text())
        (home / "catalog.yaml").write_text(good)
        until(lambda: "configuration taken" in served.log.read_text())
    text = served.log.read_text()
    lines = [line for line in text.splitlines() if not line.startswith("intellirouter ")]
    assert all(LINE.match(line) for line in lines), text
    assert f"listening on {served.url}; data folder `{home}`; 2 of 3 models can be served" in text
    assert "`keyless` cannot be served: the key of provider `other` is missing: set `OTHER_KEY`" in text
    assert "WARNING router.server: no price is in force for `keyless` (the first starts 9000-01-01)" in text
    assert text.count("listening on http") == 1  # however many workers serve the same models
    assert text.count("router.server: stopping: ") == text.count("router.server: stopped") == workers
    assert "POST" not in text  # no access log unless it is asked for


@pytest.mark.slow
def test_an_access_log_in_json_names_each_request_and_no_query(home: Path) -> None:
    """`ACCESS_LOG` and `LOG_FORMAT=json`: a program reads method, path, status, time and id."""
    with Served(home, workers=1, ACCESS_LOG="true", LOG_FORMAT="json") as served:
        answer = ask(served.url, "small")
        missing = httpx.get(f"{served.url}/nowhere")
    lines = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
    seen = [line for line in lines if line["logger"] == "router.access"]
    assert [(line["method"], line["path"], line["status"]) for line in seen] == [
        ("POST", "/v1/chat/completions", 200),
        ("GET", "/nowhere", missing.status_code),
    ]
    assert seen[0]["request_id"] == answer.headers["x-request-id"]
    assert seen[0]["duration_ms"] > 0
    assert "sk-canary" not in served.log.read_text()


def test_a_secret_in_a_line_is_masked() -> None:
    """Whoever logs it: both forms mask the shape of a key."""
    token = "sk-" + "a1B2" * 8
    for form in (TextLines(), JsonLines()):
        assert token not in form.format(record("the key %s was refused", token))


def test_a_json_line_holds_the_fields_and_the_traceback_of_its_event() -> None:
    """One object on one line, however long the traceback."""
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        made = record("it %s", "failed", budget="team", exc_info=(ValueError, error, error.__traceback__))
    line = JsonLines().format(made)
    found = json.loads(line)
    assert "\n" not in line
    assert (found["message"], found["level"], found["budget"]) == ("it failed", "info", "team")
    assert "ValueError: a" in found["exception"]


@pytest.mark.parametrize(("value", "level"), [("INFO", "info"), ("warn", "warning"), ("Debug", "debug")])
def test_levels_are_read_in_any_case(tmp_path: Path, value: str, level: str) -> None:
    """LOG_LEVEL is a variable that other programs spell in their own way."""
    settings = Settings.load({"LOG_LEVEL": value}, home=tmp_path)
    assert settings.log_level == level


def test_an_unknown_level_is_refused(tmp_path: Path) -> None:
    """By the variable's name."""
    with pytest.raises(ConfigError, match="LOG_LEVEL"):
        Settings.load({"LOG_LEVEL": "loud"}, home=tmp_path)


def test_a_request_without_an_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A client that goes away leaves a line too."""

    async def app(*_: Any) -> Any:
        return None

    async def serve() -> None:
        scope = {"type": "http", "method": "POST", "path": "/v1/messages"}
        await with_access_log(app)(scope, app, app)

    with caplog.at_level(logging.INFO, "router.access"):
        asyncio.run(serve())
    assert "POST /v1/messages no answer" in caplog.text


def test_a_budget_is_logged_once_however_many_requests_it_refuses(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first refusal of a period is news. The person whose budget it is, is not named."""
    budget = {
        "id": "each",
        "scope": "user",
        "subject": "*",
        "usd": 0.0000001,
        "period": "day",
        "mode": "hard",
    }
    (home / "limits.yaml").write_text(json.dumps({"budgets": [budget]}))
    message = [{"role": "user", "content": "2 + 2?"}]
    with Router.open(home=home) as router, caplog.at_level(logging.WARNING, "router.limits"):
        for _ in range(3):
            with pytest.raises(BudgetExceededError):
                router.complete_sync(Request(messages=message, model="small", user_id="ada.lovelace"))
    assert caplog.text.count("budget `each` has no room and refuses requests") == 1
    assert "ada" not in caplog.text


def test_a_soft_budget_is_logged_when_it_is_passed(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the organisation, the amount and the limit."""
    budget = {"id": "team", "scope": "organization", "subject": "acme", "usd": 0.0000001, "period": "month"}
    (home / "limits.yaml").write_text(json.dumps({"budgets": [{**budget, "mode": "soft"}]}))
    with Router.open(home=home) as router, caplog.at_level(logging.WARNING, "router.limits"):
        for _ in range(3):
            request = Request(
                messages=[{"role": "user", "content": "2 + 2?"}], model="small", organization_id="acme"
            )
            router.complete_sync(request)
    assert caplog.text.count("budget `team` of organization `acme` is passed: $") == 1
