"""The fake provider as a child process, for tests, replays and the demo."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

from router.errors import IntelliRouterError
from router.providers.fake.server import READY

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
QUOTED_LINES = 20


class ProcessError(IntelliRouterError):
    """A child process did not start, or did not stop as it should."""

    code = "process_failed"


class ChildProcess:
    """A server in a child process. Enter it to wait until it listens, and leave it to stop the server.

    Its output goes to `log_file`. Every failure quotes the last lines. It has its own process group, so
    that Ctrl-C reaches only the parent, which then stops its children in order.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        ready: str,
        log_file: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`ready` is the text before the URL in the line that the process prints when it listens."""
        self.url = ""
        self._command = list(command)
        self._ready = ready
        self._log_file = log_file
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start and wait until it listens. ProcessError quotes its log."""
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self._environment} if self._environment else None,
                start_new_session=True,
            )
        try:
            self.url = self._wait_for_url(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the process."""
        self.stop()

    @property
    def pid(self) -> int:
        """The id of the running process."""
        if self._process is None:
            raise ProcessError("the process is not running")
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Send SIGKILL, for tests of crashes."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int | None:
        """Send SIGTERM, and SIGKILL after STOP_TIMEOUT_S. Returns the exit code, or None if never started."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return process.returncode

    def log_tail(self) -> str:
        """The last lines that the process wrote, for error messages."""
        try:
            lines = self._log_file.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        return "\n".join(f"  | {line}" for line in lines[-QUOTED_LINES:]) or "  | (nothing)"

    def _wait_for_url(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout is not None  # noqa: S101  (asked for with PIPE)
        deadline = time.monotonic() + START_TIMEOUT_S
        seen = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                if not selector.select(left):
                    break
                chunk = os.read(process.stdout.fileno(), 4096)
                if not chunk:
                    break
                seen += chunk
                for line in seen.decode(errors="replace").split("\n")[:-1]:
                    if self._ready in line:
                        return line.split(self._ready, 1)[1].strip()
        name = " ".join(self._command)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
        how = (
            f"did not listen within {START_TIMEOUT_S:g} s"
            if process.poll() is None
            else f"ended with exit code `{process.returncode}`"
        )
        raise ProcessError(f"`{name}` {how}; its log `{self._log_file}` ends:\n{self.log_tail()}")


class FakeProvider:
    """A running fake provider.

        with FakeProvider({"models": {"m": {"answer": "hello"}}}) as base_url:
            httpx.post(f"{base_url}/chat/completions", json=…)

    Keep the object to read what it has `seen`.
    """

    def __init__(self, script: Mapping[str, Any], *, folder: Path | None = None) -> None:
        """`folder` keeps the script and the log. If it is None, a temporary one does."""
        self._script = script
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._child: ChildProcess | None = None

    def __enter__(self) -> str:
        """Start the process and return its base URL. ProcessError if the script is refused."""
        folder = self._folder
        if folder is None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fake-provider-")))
        folder.mkdir(parents=True, exist_ok=True)
        script_file = folder / "fake_provider.json"
        script_file.write_text(json.dumps(self._script, default=str, indent=1))
        command = [sys.executable, "-m", "router.providers.fake", "--script", str(script_file), "--port", "0"]
        child = ChildProcess(command, ready=READY, log_file=folder / "fake_provider.log")
        try:
            self._child = self._stack.enter_context(child)
        except BaseException:
            self._stack.close()
            raise
        return self.base_url

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the process."""
        self._stack.close()

    @property
    def process(self) -> ChildProcess:
        """The child process."""
        if self._child is None:
            raise ProcessError("the fake provider is not running: enter it with `with`")
        return self._child

    @property
    def base_url(self) -> str:
        """The `base_url` for the catalog: `http://127.0.0.1:PORT/v1`."""
        return self.process.url

    def seen(self) -> dict[str, Any]:
        """`calls` by model, and the `last` request's headers and body (None before the first).

        It also counts the streams `abandoned` by their client, and the `connections` that sent calls.
        """
        import httpx

        url = self.base_url.removesuffix("/v1") + "/seen"
        answer: dict[str, Any] = httpx.get(url, trust_env=False).raise_for_status().json()
        return answer
