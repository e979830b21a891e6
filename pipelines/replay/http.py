"""A keep-alive HTTP/1.1 client for the replay's own shim.

It shares two cores with what it measures, so it is thin: asyncio streams, JSON bodies, answers
with a Content-Length. httpx costs 0.7 to 2.4 ms of CPU a call at 16 to 64 in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 60.0
MAX_HEAD_BYTES = 1 << 20


class HttpError(Exception):
    """The server closed the connection, or spoke what this client does not read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)


class Connection:
    """One connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connect to the host of `url` (http only)."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=MAX_HEAD_BYTES)
        return cls(reader, writer, parts.netloc)

    async def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Reply:
        """POST a JSON body."""
        return await self._send("POST", path, orjson.dumps(body), headers or {})

    async def get(self, path: str) -> Reply:
        """GET."""
        return await self._send("GET", path, b"", {})

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # already gone, which is what was asked for
            await self._writer.wait_closed()

    async def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}", f"content-length: {len(body)}"]
        if body:
            lines.append("content-type: application/json")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        async with asyncio.timeout(TIMEOUT_S):
            self._writer.write("\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body)
            await self._writer.drain()
            return await self._read()

    async def _read(self) -> Reply:
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = (line.partition(":") for line in head[1:] if line)
            headers = {name.strip().lower(): value.strip() for name, _, value in fields}
            if "content-length" not in headers:
                raise HttpError(f"`{head[0]}` has no Content-Length")
            body = await self._reader.readexactly(int(headers["content-length"]))
        except asyncio.IncompleteReadError as error:
            raise HttpError("the server closed the connection") from error
        return Reply(int(head[0].split(" ", 2)[1]), headers, body)
