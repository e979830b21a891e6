"""How far a request and a refresh travel through the files, and how large the code is.

    python tests/benchmarks/footsteps.py [--smoke]
    PYTHONPATH=OTHER_CHECKOUT python tests/benchmarks/footsteps.py

Measures the `router` and `pipelines` that Python imports, so that you can compare two checkouts. A profile
hook notes every entry into a function of theirs, and every time a coroutine continues. A file is run when
one of its functions is entered. A move is an entry into another file than the one before. Both trips are
warm: the request was served before, the refresh was run before. The HTTP server is a process of its own, and
only its main thread counts: sealing and refreshing scores are not part of a request.

Then it prints figures that need no run: files at the doors, import circles (with imports inside functions
and for annotations), lines, SQL in Python, and the README's words and headings.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import http.client
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

PACKAGES = ("router", "pipelines")
FIXED = (3, 11, 7)
"""Python 3.11.2 crashes in a refresh under a profile hook. With this release it does not."""
_FOUND = importlib.util.find_spec("router")
assert _FOUND is not None and _FOUND.origin is not None  # noqa: PT018
ROOT = Path(_FOUND.origin).resolve().parents[1]
SETTLE_S = 0.1
"""A server writes its metrics after the reply."""
LIMITS = """
limits:
  - {scope: user, subject: "*", requests: 100000, per: minute}
budgets:
  - {id: everyone, scope: user, subject: "*", usd: 1000, period: day, mode: hard}
"""
_SQL = re.compile(
    r"\s*(?:select|insert|update|delete|create|drop|alter|with|copy|attach|detach|truncate)\s", re.IGNORECASE
)


class Steps:
    """The project's functions that are entered while it is on, in order."""

    def __init__(self) -> None:
        self._folders = tuple(f"{ROOT / package}{os.sep}" for package in PACKAGES)
        self._known: dict[str, str | None] = {}
        self._is_on = False
        self._files: list[str] = []
        self._functions: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Forget what was noted, and note from now on."""
        self._files, self._functions, self._is_on = [], set(), True

    def stop(self) -> dict[str, Any]:
        """The files in order of first entry, and the counts."""
        self._is_on = False
        moves = sum(here != there for here, there in zip(self._files, self._files[1:], strict=False))
        return {
            "files": list(dict.fromkeys(self._files)),
            "functions": len(self._functions),
            "calls": len(self._files),
            "moves": moves,
        }

    def hook(self, frame: FrameType, event: str, _argument: object) -> None:
        """For `sys.setprofile`."""
        if event != "call" or not self._is_on:
            return
        code = frame.f_code
        file = self._known.get(code.co_filename, "")
        if file == "":
            file = self._known[code.co_filename] = self._name_of(code.co_filename)
        if file is not None and code.co_name != "<module>":
            self._files.append(file)
            self._functions.add((file, code.co_qualname))

    def _name_of(self, path: str) -> str | None:
        return str(Path(path).relative_to(ROOT)) if path.startswith(self._folders) else None


def serve(arguments: list[str]) -> None:
    """`intellirouter serve` that notes steps between the lines `start` and `stop` on its standard input."""
    steps = Steps()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "start":
                steps.start()
                print("{}", flush=True)
            else:
                print(json.dumps(steps.stop()), flush=True)

    threading.Thread(target=listen, daemon=True).start()
    from router.cli import main as intellirouter

    sys.argv = ["intellirouter", "serve", *arguments]
    sys.setprofile(steps.hook)
    intellirouter()


def refresh(home: Path) -> None:
    """Print the steps of a refresh of new traffic, after a first one."""
    from pipelines.refresh import refresh
    from router import Request, Router
    from router.config import Settings

    steps = Steps()
    found: dict[str, Any] = {}
    for _ in range(2):
        with Router.open(home=home, seed=1) as router:
            for _ in range(20):
                message = {"role": "user", "content": "What is 2 + 2?"}
                response = router.complete_sync(Request(messages=[message], task_type="math"))
                router.feedback(response.request_id, "quality", 1.0)
        threading.setprofile(steps.hook)
        sys.setprofile(steps.hook)
        steps.start()
        assert refresh(Settings.load({}, home=home)).success
        found = steps.stop()
        sys.setprofile(None)
        threading.setprofile(None)
    print(json.dumps(found))


def write_home(home: Path, base_url: str, *, limits: str | None = None) -> Path:
    """A data folder with two priced models."""
    home.mkdir(parents=True, exist_ok=True)
    prices = [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]
    models = [
        {
            "id": name,
            "provider": "fake",
            "context_window": 100_000,
            "max_output_tokens": 1000,
            "prices": prices,
        }
        for name in ("small", "large")
    ]
    providers = {"fake": {"kind": "openai", "base_url": base_url}}
    catalog = {"providers": providers, "models": models, "tasks": ["math", "code", "chat"]}
    (home / "catalog.yaml").write_text(json.dumps(catalog))  # JSON is YAML
    if limits is not None:
        (home / "limits.yaml").write_text(limits)
    return home


@contextlib.contextmanager
def shim(home: Path) -> Iterator[Callable[[dict[str, Any], int], dict[str, Any]]]:
    """A server; the function that is given posts a body so many times and returns the shortest trip."""
    command = [sys.executable, __file__, "serve", "--home", str(home), "--port", "0"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
    ) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018
        stdin, stdout = process.stdin, process.stdout
        port = int(stdout.readline().strip().rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def post(body: dict[str, Any]) -> None:
            headers = {"content-type": "application/json", "x-intellirouter-task": "math"}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            reply = connection.getresponse()
            content = reply.read()
            assert reply.status == 200, content

        def traced(body: dict[str, Any], times: int) -> dict[str, Any]:
            for _ in range(5):
                post(body)
            trips = []
            for _ in range(times):
                _order(stdin, "start")
                _answer(stdout)
                post(body)
                time.sleep(SETTLE_S)
                _order(stdin, "stop")
                trips.append(_answer(stdout))
            return min(trips, key=lambda trip: (len(trip["files"]), trip["moves"]))

        try:
            yield traced
        finally:
            connection.close()
            process.terminate()


def _answer(stdout: Any) -> Any:
    """The next line of JSON. The server's own lines are passed over."""
    for line in stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise RuntimeError("the server ended")


def _order(stdin: Any, word: str) -> None:
    stdin.write(f"{word}\n")
    stdin.flush()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def circles() -> list[list[str]]:
    """Groups of modules that import each other, however an import is placed."""
    paths = {_module_of(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    arrows = {name: _imports(name, path, set(paths)) for name, path in paths.items()}
    reach: dict[str, set[str]] = {}
    for name in arrows:
        seen: set[str] = set()
        waiting = [*arrows[name]]
        while waiting:
            other = waiting.pop()
            if other not in seen:
                seen.add(other)
                waiting.extend(arrows[other])
        reach[name] = seen
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in arrows
        if name in reach[name]
    }
    return sorted((list(group) for group in groups), key=len, reverse=True)


def _module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, path: Path, modules: set[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules else node.module)
    return (found & modules) - {name}


def statements() -> int:
    """Texts in the Python of the pipelines that begin as an SQL statement does."""
    count = 0
    for path in (ROOT / "pipelines").rglob("*.py"):
        inner: set[int] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Expr):  # a docstring
                inner.add(id(node.value))
            elif isinstance(node, ast.JoinedStr):
                inner |= {id(part) for part in node.values}
            if id(node) in inner:
                continue
            first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
            is_sql = (
                isinstance(first, ast.Constant) and isinstance(first.value, str) and _SQL.match(first.value)
            )
            count += bool(is_sql)
    return count


def lines(*patterns: str) -> int:
    """Lines of the files that match."""
    return sum(len(path.read_text().splitlines()) for pattern in patterns for path in ROOT.glob(pattern))


def static_figures() -> Iterator[tuple[str, object]]:
    """What needs no run."""
    for package in PACKAGES:
        yield f"files at the door of {package}/", len(list((ROOT / package).glob("*.py")))
    found = circles()
    yield "import circles (modules in each)", f"{len(found)} {[len(group) for group in found]}"
    yield "lines of Python, router + pipelines", lines("router/**/*.py", "pipelines/**/*.py")
    yield "lines of SQL", lines("sql/**/*.sql")
    yield "lines of Python, tests", lines("tests/**/*.py")
    yield "SQL statements in Python of pipelines", statements()
    text = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    yield "README: lines", lines("README.md")
    yield "README: words outside of code", len(re.findall(r"[A-Za-z][\w'-]*", text))
    yield "README: headings", len(re.findall(r"^#+ ", text, re.MULTILINE))


def main() -> None:
    """Print a line for each trip, then the static figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--smoke", action="store_true", help="one trip of each kind instead of the best of ten"
    )
    parser.add_argument("--list", action="store_true", help="also print the files of each trip in order")
    options = parser.parse_args()
    times = 1 if options.smoke else 10
    from router.providers.fake import FakeProvider

    answer = {"answer": "four", "tokens_input": 1000, "tokens_output": 100}
    body: dict[str, Any] = {"model": "auto", "user": "ada"}
    body["messages"] = [{"role": "user", "content": "What is 2 + 2?"}]
    trips: dict[str, dict[str, Any]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeProvider({"models": {"small": answer, "large": answer}}) as base_url,
    ):
        with shim(write_home(Path(folder) / "plain", base_url)) as traced:
            trips["chat, whole"] = traced(body, times)
            trips["chat, streamed"] = traced({**body, "stream": True}, times)
        with shim(write_home(Path(folder) / "limited", base_url, limits=LIMITS)) as traced:
            trips["chat, whole, limit and budget"] = traced(body, times)
        home = write_home(Path(folder) / "refreshed", base_url)
        done = subprocess.run(
            [sys.executable, __file__, "refresh", str(home)],
            check=False,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        if done.returncode == -signal.SIGSEGV and sys.version_info < FIXED:
            print("refresh: left out, because the profile hook of this Python crashes")
        else:
            done.check_returncode()
            trips["refresh"] = json.loads(done.stdout.splitlines()[-1])
    print(f"{'trip':32} {'files':>6} {'functions':>10} {'calls':>6} {'moves':>6}")
    for name, trip in trips.items():
        print(f"{name:32} {len(trip['files']):6} {trip['functions']:10} {trip['calls']:6} {trip['moves']:6}")
        if options.list:
            print("    " + "\n    ".join(trip["files"]))
    for figure, value in static_figures():
        print(f"{figure:40} {value}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2:])
    elif sys.argv[1:2] == ["refresh"]:
        refresh(Path(sys.argv[2]))
    else:
        main()
