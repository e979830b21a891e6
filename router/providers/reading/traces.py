"""The facts of a reply about its request: the id, the region and the model that answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LENGTH = 255
REQUEST_IDS = (
    b"x-generation-id",  # OpenRouter: by this id it lists what a request cost
    b"x-request-id",
    b"request-id",
    b"apim-request-id",
    b"x-ms-request-id",
    b"x-amzn-requestid",
    b"x-goog-request-id",
    b"x-trace-id",
    b"x-correlation-id",
    b"cf-ray",
)
"""Headers with the provider's id of a request, the most telling first."""
REGIONS = (b"x-ms-region", b"x-groq-region", b"x-amz-region", b"x-goog-region", b"x-region")
"""Headers with the place where an answer was computed."""


class Trace(NamedTuple):
    """The facts in the headers of a reply."""

    request_id: str | None = None
    region: str | None = None

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> Trace:
        """Read the headers of a reply."""
        found: dict[bytes, str] = {}
        for name, value in headers:
            if (key := name.lower()) in _NAMES and (text := _text(value)) is not None:
                found.setdefault(key, text)
        if not found:
            return NO_TRACE
        return cls(_first(found, REQUEST_IDS), _first(found, REGIONS))


NO_TRACE = Trace()
_NAMES = frozenset((*REQUEST_IDS, *REGIONS))


def answered_model(body: object) -> str | None:
    """The name of the model that answered."""
    return _member(body, "model")


def id_of(body: object) -> str | None:
    """The id in an answer, for providers that send none in a header."""
    return _member(body, "id")


def region_of(body: object) -> str | None:
    """The place that Anthropic names in its usage."""
    usage = body.get("usage") if isinstance(body, dict) else None
    place = _member(usage, "inference_geo")
    return None if place == "not_available" else place


def _member(body: object, name: str) -> str | None:
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) and 0 < len(value) <= MAX_LENGTH and value.isprintable() else None


def _text(value: bytes) -> str | None:
    text = value.decode("ascii", errors="replace").strip()
    return text if 0 < len(text) <= MAX_LENGTH and text.isascii() and text.isprintable() else None


def _first(found: dict[bytes, str], names: tuple[bytes, ...]) -> str | None:
    return next((found[name] for name in names if name in found), None)
