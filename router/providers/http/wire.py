"""Read HTTP/1.1 responses from bytes as they arrive.

It accepts and refuses the same responses as h11. A test compares them at every split of the bytes. It
costs a fraction of h11, and bounds the bytes that a server may send before the body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

MAX_HEAD_BYTES = 64 << 10
"""Bounds status line and headers of a response. Real servers stay far below 16 KiB."""
MAX_LINE_BYTES = 4 << 10
"""Bounds a chunk's size with its extensions, and all trailers together."""

_STATUS_LINE = re.compile(rb"HTTP/([0-9]\.[0-9]) ([0-9]{3})(?: ([^\x00\r\n\x0b\x0c]*))?")
_HEADER = re.compile(rb"([-!#$%&'*+.^_`|~0-9a-zA-Z]+):([^\x00\r\x0b\x0c]*)")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[^\n]*)?[ \t]*\r\n")
_LENGTH = re.compile(rb"[0-9]{1,19}")

_UNTIL_CLOSE = -1
_BETWEEN_CHUNKS = -2


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers, with names and values as sent."""

    version: bytes
    status_code: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    named: dict[bytes, list[bytes]]
    """The values of each header, by its name in lower case."""

    def all(self, name: bytes) -> list[bytes]:
        """The values of a header, in lower case. `name` must be in lower case."""
        return [value.lower() for value in self.named.get(name, ())]


class ResponseReader:
    """Reads one response. RemoteProtocolError if the server does not speak HTTP/1.1."""

    __slots__ = (
        "_buffer",
        "_is_chunked",
        "_is_last",
        "_left",
        "_method",
        "_trailers_bytes",
        "has_excess",
        "head",
        "is_complete",
    )

    def __init__(self, method: bytes) -> None:
        self.head: Head | None = None
        """None until the whole head has arrived."""
        self.is_complete = False
        self.has_excess = False
        """Whether the server sent more than the response. Then do not use the connection again."""
        self._method = method
        self._buffer = b""
        self._left = 0
        """Bytes left of the body or of the chunk, or one of `_UNTIL_CLOSE` and `_BETWEEN_CHUNKS`."""
        self._is_chunked = False
        self._is_last = False
        """Whether the chunk of size 0 has arrived, so that trailers follow."""
        self._trailers_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes from the server, and return the parts of the body in them."""
        while self.head is None:
            rest = self._read_head(data)
            if rest is None:
                return []
            data = rest
        if self.is_complete:
            self.has_excess = self.has_excess or bool(data)
            return []
        if self._left == _UNTIL_CLOSE:
            return [data] if data else []
        return self._read_chunks(data) if self._is_chunked else self._read_length(data)

    def end(self) -> None:
        """Handle the server's close. RemoteProtocolError unless it ends the body."""
        if self.head is None:
            begun = "in the middle of the headers" if self._buffer else "without sending a response"
            raise httpx.RemoteProtocolError(f"server disconnected {begun}")
        if self._left == _UNTIL_CLOSE:
            self.is_complete = True
        if not self.is_complete:
            raise httpx.RemoteProtocolError("server disconnected in the middle of the body")

    @property
    def may_be_reused(self) -> bool:
        """Whether the connection can carry another request after this response."""
        head = self.head
        if head is None or not self.is_complete or self.has_excess or self._left == _UNTIL_CLOSE:
            return False
        return head.version >= b"1.1" and not _has_token(head.all(b"connection"), b"close")

    def _read_head(self, data: bytes) -> bytes | None:
        """The bytes after the head, or None if the head is not complete yet."""
        seen = max(len(self._buffer) - 2, 0)
        buffer = self._buffer + data
        if buffer and buffer[:1] != b"H":
            raise httpx.RemoteProtocolError("server does not speak HTTP/1.1")
        blank = _BLANK_LINE.search(buffer, seen)
        if (len(buffer) if blank is None else blank.end()) > MAX_HEAD_BYTES:
            raise httpx.RemoteProtocolError(f"server sent more than {MAX_HEAD_BYTES} bytes of headers")
        if blank is None:
            self._buffer = buffer
            return None
        self._buffer = b""
        head = parse_head(buffer[: blank.start()])
        if head.status_code >= 200:
            self.head = head
            self._begin_body(head)
        elif head.status_code == 101:
            raise httpx.RemoteProtocolError("server switched protocols unasked")
        return buffer[blank.end() :]

    def _begin_body(self, head: Head) -> None:
        encodings = head.all(b"transfer-encoding")
        lengths = {length.strip() for value in head.all(b"content-length") for length in value.split(b",")}
        if len(lengths) > 1 or not all(_LENGTH.fullmatch(length) for length in lengths):
            raise httpx.RemoteProtocolError("server sent a bad content-length")
        if encodings and encodings != [b"chunked"]:
            raise httpx.RemoteProtocolError("server sent a transfer-encoding other than chunked")
        if self._method == b"HEAD" or head.status_code in (204, 304):
            self.is_complete = True
        elif encodings:
            self._left, self._is_chunked = _BETWEEN_CHUNKS, True
        elif lengths:
            self._left = int(lengths.pop())
            self.is_complete = self._left == 0
        else:
            self._left = _UNTIL_CLOSE

    def _read_length(self, data: bytes) -> list[bytes]:
        if len(data) > self._left:
            data, self.has_excess = data[: self._left], True
        self._left -= len(data)
        self.is_complete = self._left == 0
        return [data] if data else []

    def _read_chunks(self, data: bytes) -> list[bytes]:
        buffer = self._buffer + data
        parts: list[bytes] = []
        at = 0
        while at < len(buffer) and not self.is_complete:
            if self._left > 0:
                part = buffer[at : at + self._left]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
            elif self._left == 0:  # after a chunk
                footer = buffer[at : at + 2]
                if not b"\r\n".startswith(footer):
                    raise httpx.RemoteProtocolError("server sent a chunk of another length than it said")
                if len(footer) < 2:
                    break
                at, self._left = at + 2, _BETWEEN_CHUNKS
            else:
                end = buffer.find(b"\n", at) + 1
                if (end or len(buffer)) - at > MAX_LINE_BYTES:
                    raise httpx.RemoteProtocolError(f"server sent a chunk line over {MAX_LINE_BYTES} bytes")
                if not end:
                    break
                self._read_line(buffer[at:end])
                at = end
        self._buffer = buffer[at:]
        self.has_excess = self.is_complete and bool(self._buffer)
        return parts

    def _read_line(self, line: bytes) -> None:
        """Read the line before a chunk, or check and drop a trailer."""
        if not self._is_last:
            size = _CHUNK_SIZE.fullmatch(line)
            if size is None:
                raise httpx.RemoteProtocolError("server sent a bad chunk size")
            self._left = int(size[1], 16) or _BETWEEN_CHUNKS
            self._is_last = self._left == _BETWEEN_CHUNKS
        elif line in (b"\r\n", b"\n"):
            self.is_complete = True
        else:
            _header(line.removesuffix(b"\n").removesuffix(b"\r"))
            self._trailers_bytes += len(line)
            if self._trailers_bytes > MAX_LINE_BYTES:
                raise httpx.RemoteProtocolError(f"server sent more than {MAX_LINE_BYTES} bytes of trailers")


def parse_head(block: bytes) -> Head:
    """The head of a response, without the blank line that ends it."""
    first, *lines = (line.removesuffix(b"\r") for line in block.split(b"\n"))
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise httpx.RemoteProtocolError("server sent a bad status line")
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):  # a folded line continues the one before
            if not headers:
                raise httpx.RemoteProtocolError("server sent a bad header line")
            name, value = headers.pop()
            line = name + b":" + value + b" " + line.strip(b" \t")
        headers.append(_header(line))
    named: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        named.setdefault(name.lower(), []).append(value)
    return Head(status[1], int(status[2]), status[3] or b"", headers, named)


def _header(line: bytes) -> tuple[bytes, bytes]:
    header = _HEADER.fullmatch(line)
    if header is None:
        raise httpx.RemoteProtocolError("server sent a bad header line")
    return header[1], header[2].strip(b" \t")


def _has_token(values: list[bytes], token: bytes) -> bool:
    return any(token == part.strip() for value in values for part in value.split(b","))
