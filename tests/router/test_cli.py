"""The command line, as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from router.journal.manifests import Manifest
from router.providers.fake import ChildProcess
from tests.factories import write_catalog
from tests.places import ROOT

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`intellirouter …` in a clean environment."""
    return subprocess.run(
        [sys.executable, "-m", "router.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT,
        timeout=60,
    )


def test_init_writes_a_catalog_that_serve_accepts(tmp_path: Path) -> None:
    """The first command of a new user names the second."""
    done = run("init", "--home", tmp_path / "data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "catalog.yaml").exists()
    assert "intellirouter serve --home" in done.stdout


def test_init_never_overwrites(tmp_path: Path) -> None:
    """An edited catalog is left as it is."""
    path = write_catalog(tmp_path)
    before = path.read_text()
    done = run("init", "--home", tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert "left as it is" in done.stderr
    assert path.read_text() == before


def test_an_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    """No traceback for what the user can mend."""
    done = run("serve", "--home", tmp_path / "misspelt", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("intellirouter: there is no data folder")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "misspelt").exists()


def test_serve_names_the_keys_that_it_can_start_with(tmp_path: Path) -> None:
    """Nothing is written where no provider can be asked."""
    done = run("serve", cwd=tmp_path)
    assert done.returncode == 1
    assert "no catalog at" in done.stderr
    assert "OPENAI_API_KEY" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_serve_writes_a_catalog_for_the_keys_that_are_set(tmp_path: Path) -> None:
    """From an empty folder to a server that knows models, in one command. A second start keeps the file."""
    home = tmp_path / "home"
    home.mkdir()
    for expected in (True, False):
        with ChildProcess(
            [sys.executable, "-m", "router.cli", "serve", "--port", "0"],
            ready="intellirouter listening on ",
            log_file=tmp_path / "serve.log",
            environment={
                "OPENAI_API_KEY": "sk-none",
                "PYTHONPATH": str(ROOT),
                "INTELLIROUTER_HOME": str(home),
            },
        ) as child:
            assert httpx.get(f"{child.url}/readyz").status_code == 200
            assert "gpt-5-mini" in httpx.get(f"{child.url}/v1/models").text
        catalog = home / "catalog.yaml"
        if expected:
            catalog.write_text(f"{catalog.read_text()}# mine\n")
    assert catalog.read_text().endswith("# mine\n")


def test_a_misspelt_option_is_a_usage_error(tmp_path: Path) -> None:
    """click's own exit code and hint are kept."""
    done = run("serve", "--prot", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert "--port" in done.stderr


@pytest.mark.slow
def test_a_terminated_server_seals_what_it_recorded(tmp_path: Path, fake_url: str) -> None:
    """SIGTERM finishes the work: the record is in the lake and no journal is left."""
    write_catalog(tmp_path, ["small"], base_url=fake_url)
    command = [sys.executable, "-m", "router.cli", "serve", "--home", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        body = {"messages": [{"role": "user", "content": "hi"}]}
        assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    (manifest,) = (tmp_path / "lake" / "request_analytics").rglob("*.json")
    assert Manifest.read(manifest).rows == 1
    assert list((tmp_path / "journal").rglob("*.jsonl")) == []


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """The port is bound first, so nothing is started."""
    write_catalog(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--home", tmp_path, "--port", str(port), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"intellirouter: cannot listen on `127.0.0.1` port `{port}`: Address already in use; choose another"
        " --port (INTELLIROUTER_PORT), or stop the program that uses it\n"
    )
    assert not (tmp_path / "journal").exists()
