"""From nothing to the first answered request, next to LiteLLM: commands, seconds and megabytes.

    python tests/benchmarks/first_request.py [--smoke] [--rounds 3] [--peer litellm[proxy]==VERSION]

pip installs each gateway into an environment of its own: IntelliRouter as the extra `server` of this
checkout, LiteLLM as its proxy. Then they start by turns before the same fake provider. Each start is timed
from its process to its first answer. A file points both at the fake provider. A user with a real key needs
neither file. The environments are removed at the end.
`--smoke` starts IntelliRouter once from the environment that runs the benchmark, and installs nothing.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from router.providers.fake import FakeProvider

ROOT = Path(__file__).resolve().parents[2]
PEER = "litellm[proxy]"
MODEL = "gpt-4o-mini"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
LONGEST_START_S = 120


@dataclass(slots=True, kw_only=True)
class Gateway:
    """A gateway, the commands of its documentation, and the file that points it at the fake provider."""

    name: str
    package: str
    commands: tuple[str, ...]
    """The commands that a user with a key of OpenAI types, from nothing to the first answer."""
    program: tuple[str, ...]
    options: tuple[str, ...]
    file: str
    content: str
    environment: Path | None = None
    """The folder that it is installed into. None: it runs from this checkout."""
    install_s: float = 0.0
    megabytes: float = 0.0
    starts: list[float] = field(default_factory=list)

    def install(self, folder: Path) -> None:
        """Install it into an environment of its own."""
        started = time.perf_counter()
        self.environment = folder / self.name
        subprocess.run([sys.executable, "-m", "venv", self.environment], check=True)
        pip: list[str | Path] = [
            self.environment / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-warn-script-location",
        ]
        subprocess.run(
            [*pip, "--disable-pip-version-check", self.package], check=True, stderr=subprocess.DEVNULL
        )
        self.install_s = time.perf_counter() - started
        files = [path for path in self.environment.rglob("*") if path.is_file() and not path.is_symlink()]
        self.megabytes = sum(path.stat().st_size for path in files) / 1e6

    def start(self, folder: Path, provider: str) -> None:
        """Start it in an empty folder, and take the seconds to its first answer."""
        home = Path(tempfile.mkdtemp(dir=folder))
        (home / self.file).write_text(self.content.format(provider=provider))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        variables = {"PATH": os.environ["PATH"], "HOME": str(home), "OPENAI_API_KEY": "sk-none"}
        program: tuple[str | Path, ...] = (sys.executable, "-m", "router.cli", *self.program[1:])
        if self.environment is None:
            variables["PYTHONPATH"] = str(ROOT)
        else:
            program = (self.environment / "bin" / self.program[0], *self.program[1:])
        options = [option.format(home=home, port=port) for option in self.options]
        with (home / "log").open("wb") as log:
            started = time.perf_counter()
            process = subprocess.Popen([*program, *options], cwd=home, env=variables, stdout=log, stderr=log)
            try:
                self.starts.append(_first_answer(port, started, process, home / "log"))
            finally:
                process.terminate()
                process.wait()


def _first_answer(port: str, started: float, process: subprocess.Popen[bytes], log: Path) -> float:
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    headers = {"authorization": "Bearer sk-none"}
    while time.perf_counter() - started < LONGEST_START_S and process.poll() is None:
        try:
            answer = httpx.post(url, json=BODY, headers=headers, timeout=30)
        except httpx.TransportError:
            time.sleep(0.02)
            continue
        if answer.status_code == 200:
            return time.perf_counter() - started
        if answer.status_code < 500:
            sys.exit(f"{answer.status_code}: {answer.text[:500]}")
        time.sleep(0.02)
    sys.exit(f"no answer: {log.read_text()[-2000:]}")


def gateways(peer: str) -> tuple[Gateway, Gateway]:
    """IntelliRouter and the peer, each with what its documentation says."""
    ours = Gateway(
        name="intellirouter",
        package=f"{ROOT}[server]",
        commands=(
            "pip install 'intellirouter[server]'",
            "export OPENAI_API_KEY=...",
            "intellirouter serve",
            "curl http://127.0.0.1:8080/v1/chat/completions ...",
        ),
        program=("intellirouter", "serve"),
        options=("--home", "{home}", "--port", "{port}"),
        file="catalog.yaml",
        content="""\
providers: {{openai: {{kind: openai, base_url: "{provider}", api_key_env: OPENAI_API_KEY}}}}
models: [{{id: gpt-4o-mini, provider: openai}}]
""",
    )
    theirs = Gateway(
        name="litellm",
        package=peer,
        commands=(
            "pip install 'litellm[proxy]'",
            "export OPENAI_API_KEY=...",
            "export LITELLM_MASTER_KEY=...",
            "litellm --model gpt-4o-mini",
            "curl http://127.0.0.1:4000/v1/chat/completions ...",
        ),
        program=("litellm",),
        options=("--config", "{home}/config.yaml", "--host", "127.0.0.1", "--port", "{port}"),
        file="config.yaml",
        content="""\
model_list:
  - model_name: gpt-4o-mini
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{provider}", api_key: os.environ/OPENAI_API_KEY}}
general_settings: {{master_key: sk-none}}
""",
    )
    return ours, theirs


def main() -> None:
    """Print the commands, then a line for each gateway, then the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="one start of IntelliRouter, without installing")
    parser.add_argument("--rounds", type=int, default=3, help="starts of each gateway")
    parser.add_argument("--peer", default=PEER, help="requirement of the other gateway")
    options = parser.parse_args()
    compared = gateways(options.peer)[: 1 if options.smoke else 2]
    model = {"answer": "hello", "tokens_input": 10, "tokens_output": 5}
    with tempfile.TemporaryDirectory() as name, FakeProvider({"models": {MODEL: model}}) as url:
        folder = Path(name)
        for gateway in compared:
            print(f"{gateway.name}: {len(gateway.commands)} commands: {'; '.join(gateway.commands)}")
            if not options.smoke:
                gateway.install(folder)
        for _ in range(1 if options.smoke else options.rounds):
            for gateway in compared:
                gateway.start(folder, url)
    for gateway in compared:
        starts = sorted(gateway.starts)
        print(
            f"{gateway.name:14} install {gateway.install_s:6.1f} s, {gateway.megabytes:6.0f} MB; start to the"
            f" first answer {starts[0]:.2f} to {starts[-1]:.2f} s, median {statistics.median(starts):.2f}"
        )
    if len(compared) == 2:
        ours, theirs = compared
        ratios = sorted(their / our for our, their in zip(ours.starts, theirs.starts, strict=True))
        print(
            f"litellm / intellirouter: install {theirs.install_s / ours.install_s:.1f}, megabytes"
            f" {theirs.megabytes / ours.megabytes:.1f}, first answer {ratios[0]:.1f} to {ratios[-1]:.1f}"
        )


if __name__ == "__main__":
    main()
