"""Start-up time and resident memory of the HTTP shim.

    python tests/benchmarks/shim_footprint.py [--smoke]

Starts `intellirouter serve` over a fake provider in fresh processes; prints the median seconds
until it accepts connections beside those of a bare `import router`, and the resident memory at
the start, after the first sealing (which loads pyarrow) and after some thousands of requests.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from router.providers.fake import FakeProvider
from router.providers.fake.process import ChildProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOG = """\
providers: {{fake: {{kind: openai, base_url: "{url}"}}}}
models: [{{id: small, provider: fake}}]
"""
BODY = {"messages": [{"role": "user", "content": "hi"}]}


@contextmanager
def shim(home: Path) -> Iterator[tuple[ChildProcess, float]]:
    """A serving shim and the seconds it took to start."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "router.cli", "serve", "--home", str(home), "--port", "0"]
    with ChildProcess(command, ready="intellirouter listening on ", log_file=home / "shim.log") as child:
        yield child, time.perf_counter() - started


def resident_mib(child: ChildProcess) -> float:
    """What the kernel says the process holds."""
    status = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Print a line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one start, few requests")
    smoke = parser.parse_args().smoke
    starts, requests = (1, 50) if smoke else (7, 5000)
    model = {"answer": "hello", "tokens_input": 10, "tokens_output": 5}
    with tempfile.TemporaryDirectory() as folder, FakeProvider({"models": {"small": model}}) as url:
        home = Path(folder)
        (home / "catalog.yaml").write_text(CATALOG.format(url=url))
        serving, importing = [], []
        for _ in range(starts):
            with shim(home) as (_, seconds):
                serving.append(seconds)
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import router"], check=True)
            importing.append(time.perf_counter() - begun)
        print(f"start-up {statistics.median(serving):6.3f} s   until it accepts, median of {starts}")
        print(f"import   {statistics.median(importing):6.3f} s   `import router`, a whole process")
        with shim(home) as (child, _):
            print(f"memory   {resident_mib(child):6.1f} MiB after start")
            with httpx.Client(base_url=child.url) as client:
                client.post("/v1/chat/completions", json=BODY).raise_for_status()
                time.sleep(7)  # the default sealing interval, and the sealing itself
                print(f"memory   {resident_mib(child):6.1f} MiB after the first segment is sealed")
                for _ in range(requests):
                    client.post("/v1/chat/completions", json=BODY).raise_for_status()
            print(f"memory   {resident_mib(child):6.1f} MiB after {requests} more requests")


if __name__ == "__main__":
    main()
