"""The start-up lines of `intellirouter serve`: the address, then whether a request can succeed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.factories import write_catalog
from tests.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("provider", "line"),
    [
        ({}, "intellirouter is ready"),
        ({"api_key_env": "A_KEY_THAT_IS_NOT_SET"}, "intellirouter is not ready: models: no model can be"),
    ],
)
def test_the_start_says_whether_requests_can_succeed(
    tmp_path: Path, workers: str, provider: dict[str, Any], line: str
) -> None:
    """A server without a provider's key starts, so that its health can be seen, and says so."""
    write_catalog(tmp_path, **provider)
    command = [sys.executable, "-m", "router.cli", "serve", "--home", str(tmp_path), "--port", "0"]
    with subprocess.Popen(
        [*command, "--workers", workers],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("intellirouter listening on http")
            assert process.stdout.readline().startswith(line)
        finally:
            process.terminate()
