"""Starts the processes of docker-compose.yml without containers, from a wheel to a mirrored request.

    python tests/deployment.py dist/intellirouter-0.2.0-py3-none-any.whl

Commands, environment and health checks are read from the file. Only hosts, ports, the data folder and the
password are replaced. PostgreSQL and Redis are those of this machine, and the provider is the fake one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from router.providers.fake import FakeProvider
from tests.factories import write_catalog
from tests.places import ROOT
from tests.postgres import PASSWORD, PostgresServer
from tests.router.limits.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

APPLICATIONS = ("router", "dagster-webserver", "dagster-daemon")
READY_S = 90.0
SCRIPT = {"models": {"small": {"answer": "from small", "tokens_input": 20, "tokens_output": 45}}}
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def compose() -> dict[str, Any]:
    """The file, as YAML."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def interpolated(value: str, variables: Mapping[str, str]) -> str:
    """A text with its variables, as Compose fills them in. KeyError names a required one that is missing."""

    def fill(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if variables.get(name):
            return variables[name]
        if kind == "-":
            return text
        raise KeyError(f"{name}: {text}")

    return _VARIABLE.sub(fill, value)


def deploy(wheel: Path) -> dict[str, Any]:
    """From a wheel to a request that is routed, mirrored and exported. Returns what was found on the way."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="intellirouter-deployment-")))
        postgres = stack.enter_context(PostgresServer())
        postgres.execute("create database intellirouter")
        redis = stack.enter_context(RedisServer(folder))
        provider = stack.enter_context(FakeProvider(SCRIPT))
        places = {
            "@postgres:5432": f"@127.0.0.1:{postgres.port}",
            "redis://redis:6379": f"redis://127.0.0.1:{redis.port}",
            "/etc/intellirouter": str(ROOT / "dagster_home"),
            "/data": str(folder / "data"),
            "8080": str(_free_port()),
            "3000": str(_free_port()),
        }
        environment = _environment(folder, places)
        _install(wheel, folder / "site")
        key = _prepare(folder / "data", provider, environment)
        for service in APPLICATIONS:  # one after another, as the file's `depends_on` says
            stack.enter_context(_running(service, folder, places, environment))
            _until_healthy(service, folder, places, environment)
        answer = _ask(places["8080"], key)
        request_id = answer["request_id"]
        mirrored = _until(
            lambda: _row(postgres, request_id), f"request `{request_id}` is not in the mirror", folder
        )
        file = folder / "documents.jsonl"
        export = ["intellirouter", "export", "documents", "--to", str(file)]
        subprocess.run(export, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        documents = [json.loads(line) for line in file.read_text().splitlines()]
        return {"answer": answer, "mirrored": mirrored, "documents": documents}


def _environment(folder: Path, places: Mapping[str, str]) -> dict[str, str]:
    """The services' environment, with the places of this machine. The wheel comes before the checkout."""
    declared = compose()["services"]["router"]["environment"]
    values = {
        name: _placed(interpolated(str(value), {"DB_PASSWORD": PASSWORD}), places)
        for name, value in declared.items()
    }
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        **values,
        "INTELLIROUTER_PORT": places["8080"],
        "PATH": scripts,
        "PYTHONPATH": str(folder / "site"),
        "HOME": str(folder),
    }


def _placed(text: str, places: Mapping[str, str]) -> str:
    for written, here in places.items():
        text = text.replace(written, here)
    return text


def _install(wheel: Path, site: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "--no-deps", "--no-index", "--target", str(site), str(wheel)], check=True)


def _prepare(home: Path, provider: str, environment: Mapping[str, str]) -> str:
    """The data folder as the image, `init`, `config push` and `keys create` leave it. Returns the key."""
    (home / "dagster").mkdir(parents=True)
    shutil.copy(ROOT / "dagster_home" / "dagster.yaml", home / "dagster")
    write_catalog(home, ["small"], base_url=provider)
    check = "import pathlib, router; print(pathlib.Path(router.__file__).resolve())"
    found = subprocess.run(
        [sys.executable, "-c", check],
        env=dict(environment),
        cwd=home,
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(home.parent) in found.stdout, f"the checkout is used instead of the wheel: {found.stdout}"
    push = ["intellirouter", "config", "push"]
    subprocess.run(push, env=dict(environment), cwd=home, check=True, stdout=subprocess.DEVNULL)
    create = ["intellirouter", "keys", "create", "--name", "deployment"]
    printed = subprocess.run(
        create, env=dict(environment), cwd=home, check=True, capture_output=True, text=True
    ).stdout
    key = re.search(r"\bir_[\w-]{32,}", printed)
    assert key is not None, "the command prints no key"
    return key[0]


@contextlib.contextmanager
def _running(
    service: str, folder: Path, places: Mapping[str, str], environment: Mapping[str, str]
) -> Iterator[None]:
    command = [_placed(word, places) for word in compose()["services"][service]["command"]]
    with (folder / f"{service}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _until_healthy(
    service: str, folder: Path, places: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    """Run the service's own health check until it succeeds."""
    kind, *command = compose()["services"][service]["healthcheck"]["test"]
    assert kind == "CMD"
    asked = [_placed(word, places) for word in command]

    def is_healthy() -> bool:
        answer = subprocess.run(asked, env=dict(environment), cwd=folder, capture_output=True, check=False)
        return answer.returncode == 0

    _until(is_healthy, f"`{service}` does not become healthy", folder)


def _ask(port: str, key: str) -> dict[str, Any]:
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hello"}], "user": "ada"})
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=body.encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        text = json.load(response)["choices"][0]["message"]["content"]
        return {"text": text, "request_id": response.headers["x-request-id"]}


def _row(postgres: PostgresServer, request_id: str) -> tuple[Any, ...] | None:
    found = postgres.execute("select to_regclass('analytics.request_analytics')", "intellirouter")
    if found == [(None,)]:
        return None
    asked = "select user_id, model_selected, tokens_output / tokens_input from analytics.request_analytics"
    rows = postgres.execute(f"{asked} where id = '{request_id}'", "intellirouter")
    return rows[0] if rows else None


def _until(holds: Any, problem: str, folder: Path) -> Any:
    deadline = time.monotonic() + READY_S
    while not (found := holds()):
        if time.monotonic() > deadline:
            logs = "\n".join(
                f"== {log.name}\n{log.read_text(errors='replace')[-4000:]}" for log in folder.glob("*.log")
            )
            raise AssertionError(f"{problem} in {READY_S:.0f} s\n{logs}")
        time.sleep(0.5)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    print(json.dumps(deploy(Path(sys.argv[1]).resolve()), indent=1, default=str))  # noqa: T201
