"""JSON as the official clients read it: half an emoji and `-Infinity` are no reason to lose an answer."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson

_HIGH, _LOW = ("\ud800", "\udbff"), ("\udc00", "\udfff")
_MARK = b"\xef\xbb\xbf"

Path = tuple[str | int, ...]


class NotJsonError(ValueError):
    """The text is not JSON for any client."""


class Read(NamedTuple):
    """The value of a JSON text."""

    value: Any
    is_plain: bool
    """Whether it is JSON by the letter. Otherwise its texts may hold halves of characters: see `Halves`."""
    is_portable: bool
    """Whether every client can read the text. Otherwise write the value again."""


def loads(raw: bytes) -> Read:
    """Read a JSON text. Numbers that JSON lacks become None. NotJsonError if no client could read it."""
    try:
        return Read(orjson.loads(raw), is_plain=True, is_portable=True)
    except orjson.JSONDecodeError:
        odd: list[str] = []
        try:
            value = json.loads(raw.removeprefix(_MARK), parse_constant=odd.append)
        except (ValueError, RecursionError) as error:
            raise NotJsonError(type(error).__name__) from error
        return Read(value, is_plain=False, is_portable=not odd and not raw.startswith(_MARK))


def clean(value: Any) -> Any:
    """`value` with U+FFFD for each half of a surrogate pair that lacks the other half."""
    return Halves().joined(value, is_last=True)


class Halves:
    """Joins the halves of surrogate pairs that a stream sends in two events.

    A text that ends with a first half waits for the text at the same place of the next event.
    """

    def __init__(self) -> None:
        self._held: dict[Path, str] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no half is waiting."""
        return not self._held

    def joined(self, value: Any, *, is_last: bool = False) -> Any:
        """`value` with whole characters only. `is_last`: nothing follows, so no half may wait."""
        return self._walk(value, (), is_last=is_last)

    def _walk(self, value: Any, path: Path, *, is_last: bool) -> Any:
        if isinstance(value, str):
            return self._text(value, path, is_last=is_last)
        if isinstance(value, list):
            return [self._walk(item, (*path, place), is_last=is_last) for place, item in enumerate(value)]
        if isinstance(value, dict):
            return {
                _whole(name): self._walk(item, (*path, name), is_last=is_last) for name, item in value.items()
            }
        return value

    def _text(self, text: str, path: Path, *, is_last: bool) -> str:
        text = self._held.pop(path, "") + text
        if text and not is_last and _HIGH[0] <= text[-1] <= _HIGH[1]:
            self._held[path] = text[-1]
            text = text[:-1]
        return _whole(text)


def _whole(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
