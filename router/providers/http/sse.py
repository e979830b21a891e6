"""Server-sent events: a stream of bytes as the events that it carries.

After the WHATWG's rules (https://html.spec.whatwg.org/multipage/server-sent-events.html), for what
providers send: `data`, comments, and any of the three line ends. Other fields are passed on unread.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_EVENT_BYTES = 4 << 20
"""An event larger than this is refused: what has no end cannot be waited for."""

_NULL_USAGE = re.compile(rb',[ \t]*"usage"[ \t]*:[ \t]*null')


class StreamEvent(NamedTuple):
    """One event of a streamed answer."""

    raw: bytes
    """As it came, blank line included, for passing on untouched; lines end in a line feed."""
    data: Mapping[str, Any] | None
    """Its JSON, a chunk in OpenAI's shape; None for a comment (a keep-alive) and for DONE."""
    native: dict[str, Any] | None = None
    """The event of the responses API that `data` was translated from; None for chat's own chunks."""

    @property
    def text(self) -> str:
        """The piece of the first choice's text, empty when it carries none."""
        choices = self.data.get("choices") if self.data else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        delta = choice.get("delta") if isinstance(choice, dict) else None
        content = delta.get("content") if isinstance(delta, dict) else None
        return content if isinstance(content, str) else ""


DONE = StreamEvent(b"data: [DONE]\n\n", None)
"""The end of an answer that is whole. Compare with `is`."""


def without_usage(event: StreamEvent) -> StreamEvent:
    """A chunk without its `usage`, which is null: servers that are asked for usage say so in every chunk.

    The other bytes stay as they came, unless the member stands where nobody puts it.
    """
    assert event.data is not None  # noqa: S101 - comments carry no usage
    data = {name: value for name, value in event.data.items() if name != "usage"}
    raw = event.raw
    if raw.count(b'"usage"') == 1:  # unescaped, and so a member's name; there is no other
        cut = _NULL_USAGE.sub(b"", raw)
        if cut != raw:
            return StreamEvent(cut, data)
    return StreamEvent(b"data: " + orjson.dumps(data) + b"\n\n", data)


class OversizedEventError(ValueError):
    """An event is larger than MAX_EVENT_BYTES."""


class EventSplitter:
    """Cuts bytes, in whatever portions they come, into events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, part: bytes) -> list[tuple[bytes, bytes | None]]:
        """(event without its blank line, its data) of each event that is complete now.

        The data is None for a comment. A blank line that is missing at the end is for the caller to
        feed. OversizedEventError when an event is larger than MAX_EVENT_BYTES.
        """
        buffer = self._rest + part
        if b"\r" in buffer:
            buffer = _with_line_feeds(buffer)
        *blocks, self._rest = buffer.split(b"\n\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise OversizedEventError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return [event for block in blocks if (event := _event(block)) is not None]


def _with_line_feeds(buffer: bytes) -> bytes:
    # The last byte may be the first half of a line end: its other half tells.
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
