"""schemathesis against the shim's own document: every operation, every check, nothing left unexplained.

An endpoint that is added is tested without a change here: the operations are the document's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.keys.changes import create
from router.providers.fake import FakeProvider
from router.server.app import ENDPOINTS
from tests.crash.reporting import show
from tests.factories import write_catalog
from tests.hostile.target import shim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.keys.keys import Scope

HERE = Path(__file__).parent
SEED = "20261123"
SCOPES: tuple[Scope, ...] = ("route", "feedback", "report", "usage", "budgets", "keys", "config")
EXAMPLES = "40"
"""Of each operation and kind of data, beside those that cover the schema's edges."""
SCRIPT = {"models": {"small": {"answer": "fine", "tokens_input": 3, "tokens_output": 2}}}
CONFIG = """\
# A key that opens everything is shown, so that what is behind the door is reached; `ignored_auth` takes
# it away again. TRACE and its like are refused by the check `unsupported_method`.
[generation]
allow-x00 = true

[checks.not_a_server_error]
# 503 is said on purpose: preferences that nobody meets leave no model.
# They must be documented and in shape all the same, which the other checks see to.
expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """(URL, token) of a real shim over the fake provider."""
    home = tmp_path / "data"
    with FakeProvider(SCRIPT) as base_url:
        write_catalog(home, ["small"], base_url=base_url)
        _, token = create(home / "keys.json", name="schemathesis", scopes=SCOPES)
        with shim(home, tmp_path / "shim.log") as url:
            yield url, token
    log = [line for line in (tmp_path / "shim.log").read_text().splitlines() if "Invalid HTTP" not in line]
    assert [line for line in log if " INFO " not in line] == []


@pytest.mark.slow
def test_the_shim_does_what_its_document_says(served: tuple[str, str], tmp_path: Path) -> None:
    """Good data is taken, bad data refused; statuses, types, headers and bodies are the documented ones."""
    url, token = served
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    explained = tmp_path / "explained"
    explained.touch()
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"), "run",
        f"{url}/openapi.json", "--header", f"Authorization: Bearer {token}", "--checks", "all",
        "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED,
        "--generation-database", "none", "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    environment = {
        "PATH": "",
        "PYTHONPATH": str(HERE),
        "SCHEMATHESIS_HOOKS": "hooks",
        "EXPLAINED": str(explained),
    }
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=1800
    )
    cases = re.search(r"(\d+) generated", done.stdout)
    assert cases is not None, done.stdout + done.stderr
    show(f"seed {SEED}: {cases[1]} cases, {len(ENDPOINTS) - 1} operations")
    for line, count in sorted(Counter(explained.read_text().splitlines()).items()):
        show(f"  explained, {count} times: {line}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Tested: {len(ENDPOINTS) - 1}\n" in done.stdout  # it leaves out the document that it read
    assert int(cases[1]) > 10 * len(ENDPOINTS)
