"""Planted secrets reach no file, log, error body or Dagster storage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import httpx
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.erasure.search import search
from pipelines.refresh import open_instance, refresh
from router import ProviderError, Request, Router
from router.config import Settings
from router.providers.fake import FakeProvider
from router.records import BodyMode
from tests.factories import request_record, write_catalog
from tests.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    assert {Path(path).suffix for path in stored} == {".parquet", ".duckdb"}
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
