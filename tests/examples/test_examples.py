"""Every example runs as it is written, against a fake provider."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from router.providers.fake import FakeProvider
from tests.factories import write_catalog
from tests.places import ROOT
from tests.servers import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parent
CALL = {"id": "c1", "type": "function", "function": {"name": "multiply", "arguments": '{"a": 17, "b": 23}'}}
MODEL = {"answer": "the sea is 391 deep", "tokens_input": 10, "tokens_output": 5}
SCRIPT: dict[str, Any] = {"models": {"small": MODEL, "large": MODEL, "caller": {**MODEL, "tools": [CALL]}}}
PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
SHOWN = {
    "in_process.py": ["the sea is 391 deep", "dollars", "the next one would go to"],
    "many_at_once.py": ["40 answers", "0 answers of unknown cost"],
    "stream.py": ["the sea is 391 deep"],
    "openai_client.py": ["the sea is 391 deep", "the judgement is stored: True"],
    "anthropic_client.py": ["the sea is 391 deep", "10 tokens in, 5 out"],
    "agent_loop.py": ["caller called multiply: 391"],
    "notebook.py": ["quality_mean", "requests_without_cost"],
}
"""What each example prints. The notebook comes last, since it reads the traffic of the others."""
OWN_ROUTER = ("in_process.py", "many_at_once.py", "stream.py")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder over a fake provider. Only `caller` has tools, so requests with tools go there."""
    folder = tmp_path_factory.mktemp("examples") / "home"
    with FakeProvider(SCRIPT) as base_url:
        models = [
            {"id": name, **PRICED, "capabilities": ["streaming", *(["tools"] if "tools" in model else [])]}
            for name, model in SCRIPT["models"].items()
        ]
        write_catalog(folder, models, base_url=base_url, tasks=("math", "chat", "tool-use"))
        yield folder


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    """A server on the folder."""
    with Served(home, workers=1) as served:
        yield served.url


def run(name: str, home: Path, **variables: str) -> str:
    """The output of an example in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "INTELLIROUTER_HOME": str(home), **variables}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_an_example_prints_what_its_page_says(name: str, home: Path, request: pytest.FixtureRequest) -> None:
    """Whoever copies it gets the same."""
    if name == "notebook.py":
        refresh = [sys.executable, "-m", "router.cli", "refresh", "--home", str(home)]
        run("in_process.py", home)
        subprocess.run(refresh, check=True, cwd=ROOT, capture_output=True, timeout=300)
    variables = {}
    if name not in (*OWN_ROUTER, "notebook.py"):
        variables["INTELLIROUTER_URL"] = request.getfixturevalue("url")
    output = run(name, home, **variables)
    assert [text for text in SHOWN[name] if text not in output] == []


def test_the_page_lists_every_example() -> None:
    """And nothing else."""
    files = {path.name for path in EXAMPLES.glob("*.py")} - {"test_examples.py"}
    page = (EXAMPLES / "README.md").read_text()
    assert files == set(SHOWN)
    assert [name for name in files if f"[{name}]({name})" not in page] == []
