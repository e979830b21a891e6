"""A real `intellirouter serve` to be attacked, and what is seen of it from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.factories import write_catalog
from tests.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = b'{"messages": [{"role": "user", "content": "hi"}]}'
CHAT = "/v1/chat/completions"
REFUSED_HTTP = "WARNING uvicorn.error: Invalid HTTP request received."
"""What the server may say of bytes that are not HTTP; anything else in the log is a finding."""


@dataclass(frozen=True)
class Answer:
    """What came back for bytes; `status` None: the connection was closed without a word."""

    status: int | None
    head: bytes = b""
    body: bytes = b""

    @property
    def message(self) -> str:
        """Of the error body, whichever API's shape it has."""
        told = json.loads(self.body)["error"]
        assert isinstance(told["message"], str)
        assert isinstance(told["type"], str)
        return str(told["message"])


@dataclass
class Target:
    """One shim, and the provider behind it, which keeps what it is sent."""

    url: str
    home: Path
    log: Path
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers and body of each call that reached the provider."""
    _read: int = 0
    """Lines of the log that were looked at."""

    def send(self, *parts: bytes, timeout_s: float = 10.0) -> Answer:
        """The first answer to bytes on a connection of their own, and all that follows it."""
        host, port = self.url.removeprefix("http://").split(":")
        received = b""
        with closing(socket.create_connection((host, int(port)), timeout=timeout_s)) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                while block := connection.recv(65_536):
                    received += block
            except (ConnectionResetError, BrokenPipeError):
                pass  # it was refused while it still sent
        if not received:
            return Answer(None)
        head, _, body = received.partition(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head, _, body = body.partition(b"\r\n\r\n")
        return Answer(int(head.split(b" ")[1]), head, body)

    def is_alive(self) -> bool:
        """Whether an honest request is served; it is not kept as seen."""
        seen = len(self.seen)
        answer = self.send(request())
        del self.seen[seen:]
        return answer.status == 200

    def complaints(self) -> list[str]:
        """New lines of the log that say more than that something was not HTTP."""
        lines = self.log.read_text().splitlines()
        new, self._read = lines[self._read :], len(lines)
        return [line for line in new if not line.endswith(REFUSED_HTTP) and " INFO " not in line]


def request(
    path: str = CHAT,
    body: bytes | None = BODY,
    *headers: bytes,
    method: str = "POST",
    is_whole: bool = True,
) -> bytes:
    """A request as bytes; `headers` are lines. `is_whole` False: without the length of the body."""
    lines = [
        f"{method} {path} HTTP/1.1".encode("utf-8", "surrogateescape"),
        b"host: shim",
        b"connection: close",
    ]
    if body is not None and is_whole:
        lines += [b"content-type: application/json", b"content-length: %d" % len(body)]
    return b"\r\n".join([*lines, *headers]) + b"\r\n\r\n" + (body or b"")


@contextmanager
def provider(seen: list[tuple[dict[str, str], bytes]]) -> Iterator[str]:
    """Base URL of a provider that answers everything and keeps what it is sent."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1  # head and body in one piece

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            seen.append(({name.lower(): value for name, value in self.headers.items()}, content))
            message = {"role": "assistant", "content": "ok"}
            answer = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def shim(home: Path, log: Path, **environment: str) -> Iterator[str]:
    """URL of an `intellirouter serve` on the data folder; its log goes to a file."""
    command = [sys.executable, "-m", "router.cli", "serve", "--home", str(home), "--port", "0"]
    inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=log.parent, env={**inherited, **environment}, stdout=subprocess.PIPE, stderr=stderr
        )
        assert process.stdout is not None
        with process.stdout:
            try:
                line = process.stdout.readline().decode()
                assert "listening on " in line, log.read_text()
                yield line.split()[-1]
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0


@contextmanager
def target(folder: Path, **environment: str) -> Iterator[Target]:
    """A shim over a provider that keeps what it is sent; stopped orderly at the end."""
    seen: list[tuple[dict[str, str], bytes]] = []
    home = folder / "data"
    with provider(seen) as base_url:
        write_catalog(home, ["small"], base_url=base_url)
        with shim(home, folder / "stderr.log", **environment) as url:
            yield Target(url, home, folder / "stderr.log", seen)


@contextmanager
def trap() -> Iterator[tuple[int, list[bytes]]]:
    """(port, first bytes of each connection so far) of a listener that nobody should call."""
    caught: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        is_over = threading.Event()

        def accept() -> None:
            while not is_over.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(1.0)
                    caught.append(connection.recv(1000))

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1], caught
        finally:
            is_over.set()
            thread.join()


def ask(url: str, body: dict[str, Any], path: str = CHAT, **headers: str) -> httpx.Response:
    """An honest client's request."""
    return httpx.post(url + path, json=body, headers=headers, timeout=30)
