"""Agent frameworks of PyPI and npm, unchanged and in environments of their own, before every kind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from router import Router
from tests.places import ROOT
from tests.router.providers.spelled import MODELS, spelling_server
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON_PACKAGES = (
    "langchain-openai",
    "langchain-anthropic",
    "pydantic-ai-slim[openai]",
    "openai-agents",
    "instructor",
)
PYTHON_CLIENTS = (
    "langchain-openai",
    "langchain-openai, responses",
    "langchain-anthropic",
    "pydantic-ai, openai",
    "pydantic-ai, responses",
    "openai-agents, chat",
    "openai-agents, responses",
    "instructor",
)
UNTRIED = "not tried: `pydantic-ai, anthropic`, which fails with the present `anthropic` before any request"
NPM_PACKAGES = ("ai@6", "@ai-sdk/openai@3", "@ai-sdk/anthropic@3", "@anthropic-ai/sdk", "zod")
SPELLED = (
    "openai",
    "no index",
    "index 0 twice",
    "by turns",
    "ends with stop",
    "id null",
    "arguments as object",
    "no usage",
    "thought signature",
    "reasoning_content of deepseek",
    "reasoning of kimi",
    "reasoning_details",
    "thinking_blocks of claude",
    "parts of magistral",
)
KINDS = {"claude-sonnet-4-6": "anthropic", "gemini-3-pro": "gemini", "anthropic.claude-sonnet-4-6": "bedrock"}
INSTALL_S = 100
LOOPS_S = 400


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A shim before every kind of provider."""
    home = tmp_path_factory.mktemp("home")
    with spelling_server() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOPS_KEY", "a-key-of-nobody")
        host = server.base_url.removesuffix("/v1")
        providers = {
            "openai": {"kind": "openai", "base_url": server.base_url},
            "anthropic": {"kind": "anthropic", "base_url": server.base_url},
            "gemini": {"kind": "gemini", "base_url": f"{host}/v1beta", "api_key_env": "LOOPS_KEY"},
            "bedrock": {
                "kind": "bedrock", "base_url": host, "region": "eu-west-1", "api_key_env": "LOOPS_KEY",
            },
        }  # fmt: skip
        models = [{"id": name, "provider": "openai"} for name in MODELS]
        models += [{"id": name, "provider": kind} for name, kind in KINDS.items()]
        (home / "catalog.yaml").write_text(yaml.safe_dump({"providers": providers, "models": models}))
        router = Router.open(
            home=home, seed=1, task_sample_share=0, max_retries=0, health_max_ejected_share=0
        )
        with serving(router) as made:
            yield made


def installed(command: list[str], folder: Path) -> None:
    """Run an installer, or skip the test."""
    environment = {**os.environ, "UV_NATIVE_TLS": "true"}  # the machine's authorities, as pip takes them
    try:
        made = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"`{command[0]}` did not install the clients within {INSTALL_S} s")
    if made.returncode != 0:
        pytest.skip(f"the registry cannot be reached: {made.stderr[-200:]}")


def uv_in(folder: Path) -> str:
    """`uv`, from PyPI if the machine lacks it: pip alone resolves these packages for minutes."""
    found = shutil.which("uv")
    if found is None:
        installed([sys.executable, "-m", "venv", "tools"], folder)
        installed([str(folder / "tools" / "bin" / "pip"), "install", "-q", "uv"], folder)
        found = str(folder / "tools" / "bin" / "uv")
    return found


def faults_of(command: list[str], folder: Path, clients: str = "") -> tuple[int, list[dict[str, object]]]:
    """(loops, those that did not end with the right answer)."""
    models = [name for name, spelling in MODELS.items() if spelling in SPELLED] + list(KINDS)
    environment = {
        "PATH": str(Path(sys.executable).parent) + ":/usr/local/bin:/usr/bin:/bin",
        "CLIENTS": clients,
    }
    made = subprocess.run(
        [*command, *models],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LOOPS_S,
        check=False,
    )
    rows = [json.loads(line) for line in made.stdout.splitlines() if line.startswith("{")]
    assert rows, made.stderr[-2000:]
    faults = [row for row in rows if row["fault"] is not None]
    sys.stdout.write(
        f"{len(rows) - len(faults)} of {len(rows)} loops ended with the right answer\n{UNTRIED}\n"
    )
    return len(rows), faults


@pytest.mark.slow
def test_every_loop_of_pythons_frameworks_ends(url: str, tmp_path: Path) -> None:
    """Two turns with two parallel calls, whole and streamed, by LangChain, Pydantic AI and others."""
    uv, python = uv_in(tmp_path), str(tmp_path / "env" / "bin" / "python")
    installed([uv, "venv", "-q", "env"], tmp_path)
    installed([uv, "pip", "install", "-q", "--python", python, *PYTHON_PACKAGES], tmp_path)
    script = str(ROOT / "tests" / "clients" / "python_loops.py")
    count, faults = faults_of([python, script, url], tmp_path, ";".join(PYTHON_CLIENTS))
    assert faults == []
    assert count == len(PYTHON_CLIENTS) * 2 * (len(SPELLED) + len(KINDS))


@pytest.mark.slow
def test_every_loop_of_npms_clients_ends(url: str, tmp_path: Path) -> None:
    """Vercel's AI SDK before both makers' APIs, and Anthropic's own client."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("`node` and `npm` are not installed")
    shutil.copy(ROOT / "tests" / "clients" / "loops.mjs", tmp_path)
    installed([npm, "install", "--no-audit", "--no-fund", *NPM_PACKAGES], tmp_path)
    count, faults = faults_of([node, "loops.mjs", url], tmp_path)
    assert faults == []
    assert count == 4 * 2 * (len(SPELLED) + len(KINDS))
