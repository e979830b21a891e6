"""A server that speaks MongoDB's protocol, as a process of its own on a file."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

START_S = 30.0


class MongoServer:
    """nx-27017 on a free port; may be stopped and started again with its data."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/intellirouter"

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-W", "ignore", "-m", "nx_27017.nx_27017", "--host", "127.0.0.1"]
        command += ["-p", str(self.port), "--db", str(self._folder / "nx.db")]
        command += ["--log-file", str(self._folder / "nx.log"), "--pid-file", str(self._folder / "nx.pid")]
        with (self._folder / "out").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "out").read_text()
            assert time.monotonic() < deadline, "nx-27017 did not start"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def documents(self, collection: str = "request_documents") -> list[dict[str, Any]]:
        """Every document of a collection, by id."""
        import pymongo

        with pymongo.MongoClient[dict[str, Any]](self.url) as client:
            return sorted(client.intellirouter[collection].find({}), key=lambda item: str(item["_id"]))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
