"""A Spark Connect server of the tests' own: Sail, from the package `pysail`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

START_S = 60.0


class SailServer:
    """Started on a free port, with its log in a temporary file."""

    def __init__(self, **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def program() -> Path | None:
        """The server's program, next to this Python's."""
        path = Path(sys.executable).with_name("sail")
        return path if path.exists() else None

    @property
    def remote(self) -> str:
        """The server's address, as SPARK_REMOTE takes it."""
        return f"sc://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        program = self.program()
        assert program is not None, "install pysail"
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                [str(program), "spark", "server", "--port", str(self._port)],
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "Sail did not start"
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"Sail accepts no connection after {START_S:.0f} s")

    def stop(self) -> None:
        """Kill the server, as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
