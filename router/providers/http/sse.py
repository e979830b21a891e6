"""Split a stream of bytes into server-sent events.

It follows the WHATWG's rules (https://html.spec.whatwg.org/multipage/server-sent-events.html) for `data`,
comments and the three line ends, which providers send. Other fields are passed on unread.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.providers.reading.traces import Trace

MAX_EVENT_BYTES = 4 << 20
"""A larger event is refused, because an event without an end would fill the memory."""
MAX_STRAY_BYTES = 64 << 10
"""Most bytes that are kept of text that is no event."""
_FIELDS = (b"event:", b"id:", b"retry:", b"data:", b":")

BOM = b"\xef\xbb\xbf"
_NULL_USAGE = re.compile(rb',[ \t]*"usage"[ \t]*:[ \t]*null')


class StreamEvent(NamedTuple):
    """One event of a streamed answer."""

    raw: bytes
    """The bytes to pass on untouched, blank line included. Lines end in a line feed."""
    data: Mapping[str, Any] | None
    """Its JSON, a chunk in OpenAI's shape. None for a comment (a keep-alive) and for DONE."""
    native: dict[str, Any] | None = None
    """The event of the responses API that `data` was translated from. None for chat's own chunks."""
    trace: Trace | None = None
    """The facts in the headers of the reply. Such an event comes first, and goes to no client."""

    @property
    def text(self) -> str:
        """The piece of the first choice's text, or an empty text."""
        choices = self.data.get("choices") if self.data else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        delta = choice.get("delta") if isinstance(choice, dict) else None
        content = delta.get("content") if isinstance(delta, dict) else None
        return content if isinstance(content, str) else ""


DONE = StreamEvent(b"data: [DONE]\n\n", None)
"""The end of a complete answer. Compare it with `is`."""


def without_usage(event: StreamEvent) -> StreamEvent:
    """Remove a `usage` of null from a chunk. Servers that report usage send it in all chunks but the last.

    The other bytes stay unchanged, unless the member is in an unusual place.
    """
    assert event.data is not None  # noqa: S101 - comments carry no usage
    data = {name: value for name, value in event.data.items() if name != "usage"}
    raw = event.raw
    if raw.count(b'"usage"') == 1:  # unescaped, so it is a member's name, and the only one
        cut = _NULL_USAGE.sub(b"", raw)
        if cut != raw:
            return StreamEvent(cut, data)
    return StreamEvent(b"data: " + orjson.dumps(data) + b"\n\n", data)


class OversizedEventError(ValueError):
    """An event is larger than MAX_EVENT_BYTES."""


class EventSplitter:
    """Cuts bytes into events, for any size of portions."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_start = True
        self.stray = b""
        """The lines that are no fields of events: some servers write a bare error behind their events."""

    def feed(self, part: bytes) -> list[tuple[bytes, bytes | None]]:
        """Return (event without its blank line, its data) of each event that is complete now.

        The data is None for a comment. If the last blank line is missing, the caller must feed it.
        OversizedEventError if an event is larger than MAX_EVENT_BYTES.
        """
        buffer = self._rest + part
        if self._is_start:
            if len(buffer) < len(BOM) and BOM.startswith(buffer):
                self._rest = buffer
                return []
            self._is_start, buffer = False, buffer.removeprefix(BOM)
        if b"\r" in buffer:
            buffer = _with_line_feeds(buffer)
        *blocks, self._rest = buffer.split(b"\n\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise OversizedEventError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        events = []
        for block in blocks:
            if (event := _event(block)) is not None:
                events.append(event)
            elif block and not block.startswith(_FIELDS):
                self.stray = (self.stray + block + b"\n")[:MAX_STRAY_BYTES]
        return events


def _with_line_feeds(buffer: bytes) -> bytes:
    # The last byte may be the first half of a line end, so it waits for the next byte.
    held = b"\r" if buffer.endswith(b"\r") else b""
    whole = buffer[: len(buffer) - len(held)]
    return whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held


def _event(block: bytes) -> tuple[bytes, bytes | None] | None:
    if block.startswith(b"data: ") and b"\n" not in block:  # nearly every event
        return block, block[6:]
    block = block.strip(b"\n")
    lines = block.split(b"\n")
    data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    if data:
        return block, b"\n".join(data)
    return (block, None) if block.startswith(b":") else None
