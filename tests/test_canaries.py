"""Planted secrets reach no file, log, error body or Dagster storage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import httpx
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.copies.mirror import mirror
from pipelines.erasure.search import search
from pipelines.refresh import open_instance, refresh
from router import ProviderError, Request, Router
from router.catalog.catalog import Catalog
from router.catalog.entries import CatalogFile
from router.catalog.price_book import ALWAYS, PriceBook, row_from_json
from router.catalog.prices import Price
from router.cli import main
from router.config import Settings
from router.configuration.retention import RetentionFile
from router.errors import MASK, ConfigError, UnknownModelError, has_secret, masked
from router.keys.keys import KeyFile, KeysFile
from router.limits.book import LimitBook, LimitsFile
from router.limits.limits import Limits
from router.policies.assignment import load_experiments
from router.policies.experiments import ExperimentsFile
from router.policies.policy import Policies, PoliciesFile
from router.providers.fake import FakeProvider
from router.providers.fake.script import Script, load_script
from router.records import BodyMode
from tests.factories import request_record, write_catalog
from tests.places import ROOT
from tests.plants import neighbour, places, planted, sample
from tests.shims import serving as shim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import BaseModel

USER = "user-who-is-stored"
CANARIES = {
    # Somebody else's key is told by how keys look, our own by its text.
    name: f"{'sk-' if name == 'upstream-error' else ''}canary-{name}-{number:04x}d1e5f00dcafe"
    for number, name in enumerate(
        (
            "key-in-environment",
            "key-in-env-file",
            "authorization-header",
            "x-api-key-header",
            "cookie-header",
            "prompt",
            "answer",
            "tool-arguments",
            "upstream-error",
            "url-query",
            "base-url",
            "redis-password",
        )
    )
}


class _Leaky(BaseHTTPRequestHandler):
    """A provider that quotes the caller's key, and another one, in its error."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        quoted = f"Incorrect API key {self.headers['authorization']}; see also {CANARIES['upstream-error']}"
        content = json.dumps({"error": {"message": quoted, "code": "invalid_api_key"}}).encode()
        self.send_response(401)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Quoting(BaseHTTPRequestHandler):
    """A provider that quotes the prompt in every part of its error."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = body["messages"][0]["content"]
        error = {"message": f"refused: {prompt}", "type": "content_filter", "code": f"about {prompt}"}
        content = json.dumps({"error": error}).encode()
        self.send_response(503)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def leaky_provider(handler: type[BaseHTTPRequestHandler] = _Leaky) -> Iterator[str]:
    """Base URL of a provider whose every answer is an error full of secrets."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


@contextmanager
def serving(home: Path, folder: Path) -> Iterator[str]:
    """URL of a real `intellirouter serve`; its output goes to two files in `folder`."""
    out, err = folder / "stdout.log", folder / "stderr.log"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "KEY_A": CANARIES["key-in-environment"],
        # Nobody answers there, which is served through and complained of.
        "REDIS_URL": f"redis://:{CANARIES['redis-password']}@127.0.0.1:9/0",
        "LIMITS_ON_ERROR": "serve",
        "TASK_SAMPLE_SHARE": "1",
    }
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "router.cli", "serve", "--home", str(home), "--port", "0"],
            cwd=folder,
            env=environment,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        deadline = time.monotonic() + 30
        while "listening on " not in out.read_text():
            assert process.poll() is None, err.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield out.read_text().split("listening on ")[1].split()[0]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def catalog(fake_url: str, leaky_url: str) -> dict[str, Any]:
    """A provider that answers, one that leaks; the keys come from the environment and from `.env`."""
    return {
        "providers": {
            "fake": {"kind": "openai", "base_url": fake_url, "api_key_env": "KEY_A"},
            "leaky": {"kind": "openai", "base_url": leaky_url, "api_key_env": "KEY_B"},
        },
        "models": [
            {"id": "small", "provider": "fake"},
            {"id": "down", "provider": "fake"},
            {"id": "garbled", "provider": "fake"},
            {"id": "leaky-model", "provider": "leaky"},
        ],
        "tasks": ["chat"],
    }


def traffic(url: str) -> list[httpx.Response]:
    """Requests that succeed and fail in every way, each carrying all the client's secrets."""
    headers = {
        "authorization": f"Bearer {CANARIES['authorization-header']}",
        "x-api-key": CANARIES["x-api-key-header"],
        "cookie": f"session={CANARIES['cookie-header']}",
        "x-intellirouter-task": "chat",
    }
    call = {"name": "look_up", "arguments": json.dumps({"secret": CANARIES["tool-arguments"]})}
    messages = [
        {"role": "user", "content": CANARIES["prompt"]},
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": call}]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": CANARIES["prompt"]}]},
    ]
    bodies: list[Any] = [
        {"model": model, "messages": messages, "user": USER, "metadata": {"note": CANARIES["prompt"]}}
        for model in ("auto", "small", "down", "garbled", "leaky-model", "unknown-model")
    ]
    bodies += [
        {"messages": messages, "stream": True},
        {"messages": CANARIES["prompt"]},
        {"messages": [CANARIES["prompt"]]},
        {"prompt": CANARIES["prompt"]},
        [CANARIES["prompt"]],
    ]
    query = {"key": CANARIES["url-query"]}
    with httpx.Client(base_url=url, headers=headers, params=query, timeout=30) as client:
        answers = [client.post("/v1/chat/completions", json=body) for body in bodies for _ in range(3)]
        answers += [
            client.post("/v1/chat/completions", content=f'{{"messages": "{CANARIES["prompt"]}'),
            client.post("/v1/feedback", json={"request_id": "r", "value": 1}),
            client.get("/v1/nowhere"),
            client.get("/health"),
        ]
        served = next(answer for answer in answers if answer.status_code == 200)
        answers.append(
            client.post("/v1/feedback", json={"request_id": served.headers["x-request-id"], "value": 1.0})
        )
    return answers


@pytest.mark.slow
def test_planted_secrets_are_found_nowhere(tmp_path: Path) -> None:
    """Keys, headers, prompts, answers and URLs leave no trace behind traffic, failures and a refresh."""
    home, folder = tmp_path / "data", tmp_path / "cwd"
    home.mkdir()
    folder.mkdir()
    (folder / ".env").write_text(f"KEY_B={CANARIES['key-in-env-file']}\n")
    script = {
        "models": {
            "small": {"answer": CANARIES["answer"], "tokens_input": 10, "tokens_output": 5},
            "down": {"error_rate": 1.0, "error_status": 503},
            "garbled": {"body": "not-json"},
        }
    }
    with FakeProvider(script) as fake_url, leaky_provider() as leaky_url:
        (home / "catalog.yaml").write_text(yaml.safe_dump(catalog(fake_url, leaky_url)))
        (home / "limits.yaml").write_text(
            "limits: [{scope: user, subject: '*', requests: 1000, per: minute}]\n"
            "budgets: [{id: b, scope: user, subject: '*', usd: 9, period: day, mode: soft}]\n"
        )
        with serving(home, folder) as url:
            answers = traffic(url)
    (folder / ".env").unlink()  # where the key belongs
    assert {answer.status_code for answer in answers} >= {200, 201, 400, 404, 502}
    settings = Settings.load({}, home=home)
    with open_instance(settings) as instance:
        result = refresh(settings, instance=instance)
    assert (result.success, result.quarantined, dict(result.failed_checks)) == (True, 0, {})
    assert result.rows["request_analytics"] == result.rows["request_logs"] >= 12
    stored = search([tmp_path], [USER]).hits  # the search does find what is there
    assert {Path(path).suffix for path in stored} == {".parquet", ".duckdb", ".json"}
    found = search([tmp_path], list(CANARIES.values()))
    assert (found.hits, found.unreadable) == ({}, [])
    said = [
        answer.text + str(dict(answer.headers)) for answer in answers if answer.status_code not in (200, 201)
    ]
    assert {(name, text) for name, canary in CANARIES.items() for text in said if canary in text} == set()


@pytest.mark.slow
def test_a_key_in_a_base_url_is_refused_without_repeating_it(tmp_path: Path) -> None:
    """The error names the place in the catalog, not the secret."""
    content = catalog("http://127.0.0.1:9/v1", f"https://user:{CANARIES['base-url']}@provider.example/v1")
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [sys.executable, "-m", "router.cli", "serve", "--home", str(tmp_path), "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "providers.leaky.base_url" in done.stderr
    assert CANARIES["base-url"] not in done.stdout + done.stderr


@pytest.mark.parametrize("mode", get_args(BodyMode))
def test_a_provider_error_that_quotes_the_prompt_is_kept_in_full_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: BodyMode
) -> None:
    """The caller reads the provider's message; records, audit trail and log hold what cannot quote."""
    with leaky_provider(_Quoting) as url:
        write_catalog(tmp_path, ["first", "second"], base_url=url)
        with Router.open(home=tmp_path, request_log_body_mode=mode) as router:
            request = Request(messages=[{"role": "user", "content": CANARIES["prompt"]}])
            with pytest.raises(ProviderError, match=CANARIES["prompt"]):
                router.complete_sync(request)
            router.sink.append(request_record(reason="who-is-stored"))
    found = search([tmp_path], [CANARIES["prompt"], "who-is-stored"]).hits
    holding = {Path(path).parts[-4] for path, hits in found.items() if CANARIES["prompt"] in hits}
    assert holding == ({"request_analytics", "request_logs"} if mode == "full" else set())
    assert any("who-is-stored" in hits for hits in found.values())
    assert "falling back" in caplog.text
    assert CANARIES["prompt"] not in caplog.text
    kept = {
        row["error_details"]
        for dataset in ("request_analytics", "request_logs")
        for path in (tmp_path / "lake" / dataset).rglob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    message = f"refused: {CANARIES['prompt']}"
    (details,) = kept - {None}
    assert (message in details) == (mode == "full")
    assert mode == "full" or details == "overloaded, status 503, `content_filter`"


SHAPED = "sk-canary-d1e5f00dcafe0123456789"
PLAIN = "canary-plain-text"
"""Has no shape: only a member that may hold a secret hides it."""
KINDS: dict[str, tuple[type[BaseModel], Callable[[Path], object]]] = {
    "catalog.yaml": (CatalogFile, Catalog.load),
    "policies.yaml": (PoliciesFile, Policies.load),
    "experiments.yaml": (ExperimentsFile, load_experiments),
    "limits.yaml": (LimitsFile, LimitBook.load),
    "retention.yaml": (RetentionFile, RetentionFile.load),
    "keys.json": (KeysFile, lambda path: KeyFile(path).load()),
    "script.json": (Script, load_script),
}
SETTINGS = [str(field.alias) for field in Settings.model_fields.values()]


def refusal(read: Callable[[], object]) -> str:
    """Everything that a log or a caller could show of the ConfigError that `read` raises."""
    with pytest.raises(ConfigError) as caught:
        read()
    error: BaseException | None = caught.value
    shown = [*traceback.format_exception(caught.value)]
    while error is not None:
        shown += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    # A traceback quotes the lines of the code, this test's too.
    return "\n".join(shown)


def read_document(folder: Path, name: str, content: str) -> str:
    """The refusal of a document."""
    path = folder / name
    path.write_text(content)
    return refusal(lambda: KINDS[name][1](path))


def written(name: str, tree: Any) -> str:
    """The document as text."""
    return json.dumps(tree) if name.endswith(".json") else yaml.safe_dump(tree, sort_keys=False, width=1000)


@pytest.mark.parametrize("name", KINDS)
def test_no_member_of_a_document_shows_or_keeps_a_key(tmp_path: Path, name: str) -> None:
    """A key as value, name, list, mapping or unknown member of every member: refused and not shown."""
    tree = sample(KINDS[name][0])
    for place in places(tree):
        wrong = [planted(tree, place, value) for value in (SHAPED, [SHAPED], {SHAPED: SHAPED})]
        members = (neighbour(place, "api_key"), neighbour(place, SHAPED))
        wrong += [planted(tree, member, SHAPED) for member in members if member is not None]
        for document in wrong:
            assert SHAPED not in read_document(tmp_path, name, written(name, document)), place


@pytest.mark.parametrize("name", KINDS)
def test_no_text_without_a_shape_is_shown_where_a_key_may_be(tmp_path: Path, name: str) -> None:
    """An unknown member is refused by its name only; a syntax error does not quote its line."""
    tree = sample(KINDS[name][0])
    broken = [PLAIN, f'"{PLAIN}', f'"a": {PLAIN}', f'{PLAIN}", "']
    if name.endswith(".yaml"):
        broken = [
            f'"{PLAIN}',
            f"{PLAIN}: {PLAIN}: [",
            f"!{PLAIN} x",
            f"*{PLAIN}",
            f"{PLAIN}\x00",
            f"@{PLAIN}",
        ]
    for place in places(tree):
        member = neighbour(place, "api_key")
        if member is not None:
            content = written(name, planted(tree, member, PLAIN))
            assert PLAIN not in read_document(tmp_path, name, content), place
        text = written(name, planted(tree, place, PLAIN))
        for line in broken:
            content = text.replace(json.dumps(PLAIN) if name.endswith(".json") else PLAIN, line, 1)
            assert PLAIN not in read_document(tmp_path, name, content), (place, line)


@pytest.mark.parametrize("member", ["api_key_env", "base_url", "api_version"])
@pytest.mark.parametrize(
    "value",
    [
        "canary plain text",
        "canary-plain-text",
        "1canary",
        "CanaryA1b2C3d4E5f6G7h8I9j0",
        "https://canary@host/v1",
    ],
)
def test_a_key_in_a_provider_is_refused_and_not_shown(tmp_path: Path, member: str, value: str) -> None:
    """Neither a key without a shape nor one that could be the name of a variable gets into an error."""
    if member == "api_version" and value != "canary plain text":
        value = SHAPED
    provider = {"kind": "azure", "base_url": "https://h", "api_version": "2024-10-21", member: value}
    content = written("catalog.yaml", {"providers": {"p": provider}, "models": []})
    shown = read_document(tmp_path, "catalog.yaml", content)
    assert member in shown
    assert member == "api_version" or value not in shown


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_shows_or_keeps_a_key(name: str) -> None:
    """A key in the wrong variable stops the start, and the error names the variable only."""
    if name in ("REDIS_URL", "MIRROR_URL", "SPARK_REMOTE", "ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET"):
        assert SHAPED not in repr(Settings.load({name: SHAPED}))
        return
    for value in (SHAPED, f"https://user:{PLAIN}@host/", f"https://host/?api_key={PLAIN}"):
        shown = refusal(lambda value=value: Settings.load({name: value}))  # type: ignore[misc]
        assert name in shown
        assert SHAPED not in shown
        assert PLAIN not in shown


def test_a_url_that_is_wrong_is_not_shown(tmp_path: Path) -> None:
    """PRICES_URL, REDIS_URL and MIRROR_URL may hold a password of any shape."""
    assert PLAIN not in refusal(lambda: Settings.load({"PRICES_URL": PLAIN}))
    settings = Settings.load({"REDIS_URL": PLAIN}, home=tmp_path)
    (tmp_path / "limits.yaml").write_text("limits: [{scope: user, subject: '*', requests: 1, per: day}]")
    assert PLAIN not in refusal(lambda: Limits.open(settings))
    mirrored = Settings.load({"MIRROR_URL": PLAIN}, home=tmp_path)
    assert PLAIN not in refusal(lambda: mirror(mirrored))


def test_the_price_book_shows_nothing_of_itself(tmp_path: Path) -> None:
    """A damaged book is refused in words that do not quote it."""
    price = Price(price_id="p", start=ALWAYS, input_usd_per_mtok=Decimal(1), output_usd_per_mtok=None)
    book = PriceBook.of({"a/b": (price,)}, unlisted=frozenset(), source="s", updated_at=ALWAYS)
    path = tmp_path / "book.json"
    tree = json.loads(book.to_json())
    for place in places(tree):
        for value in (SHAPED, [SHAPED], {SHAPED: SHAPED}):
            path.write_text(json.dumps(planted(tree, place, value)))
            assert SHAPED not in refusal(lambda: PriceBook.read(path))
    with pytest.raises(ConfigError) as caught:
        row_from_json({"price_id": "p", "start": SHAPED})
    assert SHAPED not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "key",
    ["sk-proj-Ab12Cd34Ef56", "sk-ant-api03-Ab12Cd34", "gsk_" + "a1" * 12, "AKIAIOSFODNN7EXAMPLE",
     "AIza" + "Sy1" * 10, "xoxb-123456789-abc", "ghp_" + "a1" * 18, "hf_" + "A1" * 17, "ir_" + "A1_" * 14,
     "Bearer abc123.def456", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "https://me:pw@h/", "redis://:pw@h:6379/0",
     "https://h/?key=1", "https://h/?a=b&access_token=x"],
)  # fmt: skip
def test_every_error_masks_what_looks_like_a_key(key: str) -> None:
    """Whoever raises it."""
    assert has_secret(key)
    for error in (ConfigError(f"it is `{key}`"), UnknownModelError(key, ["small"])):
        assert key not in str(error)
        assert MASK in str(error)


@pytest.mark.parametrize(
    "text",
    ["gpt-4o-mini-2024-07-18", "claude-3-5-sonnet-20241022", "meta-llama/Llama-3.3-70B-Instruct-Turbo",
     "hf-internal-testing/tiny-llama-2", "xai-grok-4-fast-reasoning-2025", "task-2024-01", "skylark-pro-32k",
     "0193a5b2-7c11-7e3b-9d4e-0a1b2c3d4e5f", "https://api.openai.com/v1", "http://127.0.0.1:8080/v1",
     "https://h/data?version=2", "Bearer`, `x-api-key` or `api-key`", "us-east-1", "key_0a1b2c3d4e5f"],
)  # fmt: skip
def test_names_of_the_field_are_no_keys(text: str) -> None:
    """Models, labels, ids and plain URLs stay as they are."""
    assert masked(text) == text


def test_a_running_router_shows_no_key_of_a_document_that_went_bad(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Answers, logs, metrics and files: the router keeps what it had and says which file is refused."""
    with FakeProvider({"models": {"small": {"tokens_input": 1, "tokens_output": 1}}}) as base_url:
        write_catalog(tmp_path, ["small"], base_url=base_url)
        with (
            Router.open(home=tmp_path, scores_refresh_interval_s=0.05) as router,
            shim(router) as url,
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            said = []
            for name, (kind, _) in KINDS.items():
                if name in ("script.json", "retention.yaml"):
                    continue
                path = tmp_path / name
                before = path.read_text() if path.exists() else None
                tree = sample(kind)
                path.write_text(written(name, planted(tree, next(iter(places(tree))), SHAPED)))
                time.sleep(0.3)
                chat = {"messages": [{"role": "user", "content": "hello"}], "task": "chat"}
                answers = [client.get(f"/{part}") for part in ("health", "readyz", "metrics", "v1/models")]
                answers.append(client.post("/v1/chat/completions", json=chat))
                said += [answer.text + str(dict(answer.headers)) for answer in answers]
                path.unlink() if before is None else path.write_text(before)
    assert any("catalog.yaml" in text for text in said)
    output = capfd.readouterr()
    assert SHAPED not in "".join([*said, caplog.text, output.out, output.err])
    assert search([tmp_path], [SHAPED]).hits == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KINDS if name != "script.json"])
def test_no_command_shows_a_key_of_a_document(tmp_path: Path, name: str) -> None:
    """Standard output and error of every command that reads the document, and every file it leaves."""
    write_catalog(tmp_path, ["small"])
    tree = sample(KINDS[name][0])
    (tmp_path / name).write_text(written(name, planted(tree, next(iter(places(tree))), SHAPED)))
    commands = [["serve", "--port", "0"], ["keys", "list"], ["refresh"], ["retention"], ["doctor"]]
    if name in ("experiments.yaml", "limits.yaml", "policies.yaml", "keys.json"):
        commands = commands[:2]
    elif name == "retention.yaml":
        commands = commands[2:]  # the router does not read it, so `serve` would serve
    codes = set()
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "router.cli", *command, "--home", str(tmp_path)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "INTELLIROUTER_HOST": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        codes.add(done.returncode)
        assert SHAPED not in done.stdout + done.stderr
    (tmp_path / name).unlink()
    assert 1 in codes
    assert search([tmp_path], [SHAPED]).hits == {}


def test_a_key_as_an_option_of_a_command_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Click quotes a wrong value; the command line masks it."""
    for arguments in (
        ["serve", "--port", SHAPED],
        [SHAPED],
        ["serve", f"--{SHAPED}"],
        ["keys", "revoke", SHAPED],
    ):
        monkeypatch.setattr(sys, "argv", ["intellirouter", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        output = capsys.readouterr()
        assert SHAPED not in output.out + output.err + str(caught.value)
