"""Refuse a request that is too large or too deep, or that comes while too many are in flight.

`router.server.protocol` refuses a request that comes too slowly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from router.errors import OverloadedError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from router.server.http import Receive

MAX_HEADERS = 100
MAX_HEADER_BYTES = 64 << 10
"""Names and values of all headers together."""
MAX_JSON_DEPTH = 100
"""Levels of lists and objects. It stays below orjson's own limit of 254 levels for writing."""
CLOSE: Mapping[str, str] = {"connection": "close"}
"""Ends a connection on which the rest of a refused request can still arrive."""


class BodyError(RequestError):
    """The request's body is no JSON object, or is nested too deeply."""

    refused = "body"


class BodyTooLargeError(BodyError):
    """The request's body is larger than the shim reads."""

    code = "body_too_large"
    http_status = 413
    headers = CLOSE


class HeadersTooLargeError(BodyError):
    """The request has more headers than the shim reads."""

    code = "headers_too_large"
    http_status = 431
    headers = CLOSE


class UnsupportedEncodingError(BodyError):
    """The request's body is compressed, so that it could unpack to any size."""

    code = "unsupported_content_encoding"
    http_status = 415
    headers: Mapping[str, str] = {**CLOSE, "accept-encoding": "identity"}


class InFlight:
    """Counts the requests in flight, and bounds their number."""

    def __init__(self, most: int) -> None:
        self.count = 0
        self._most = most

    @property
    def is_full(self) -> bool:
        """Whether the next request is refused."""
        return self.count >= self._most

    def __enter__(self) -> None:
        if self.is_full:
            raise OverloadedError(f"`{self.count}` requests are in flight; try again, or raise MAX_IN_FLIGHT")
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.count -= 1


class ClientGoneError(Exception):
    """The client left before its whole request arrived, so that it needs no answer."""


def check_headers(headers: list[tuple[bytes, bytes]], max_body_bytes: int) -> None:
    """Refuse too many headers, and a body that the headers announce as too large or compressed."""
    if len(headers) > MAX_HEADERS:
        raise HeadersTooLargeError(f"`{len(headers)}` headers are more than the {MAX_HEADERS} that are read")
    size = sum(len(name) + len(value) for name, value in headers)
    if size > MAX_HEADER_BYTES:
        raise HeadersTooLargeError(f"`{size}` bytes of headers are more than the {MAX_HEADER_BYTES} read")
    for name, value in headers:
        # 18 digits hold every allowed length. The server has checked that the value is a number.
        if name == b"content-length" and (len(value) > 18 or int(value) > max_body_bytes):
            raise _too_large(max_body_bytes)
        if name == b"content-encoding" and value.lower() not in (b"", b"identity"):
            raise UnsupportedEncodingError(
                f"the body has the content-encoding `{value.decode('latin-1'):.40}`, and only uncompressed"
                " bodies are read; send it without compression"
            )


async def read_body(receive: Receive, max_bytes: int) -> dict[str, Any]:
    """Read the body as a JSON object. RequestError if it is not one, ClientGoneError if it ends early.

    If a member appears twice, the last one counts, and only that one is passed on.
    """
    message = await receive()
    content = message.get("body", b"")
    while message["type"] == "http.request" and message.get("more_body", False):
        if len(content) > max_bytes:
            raise _too_large(max_bytes)
        message = await receive()
        content = bytearray(content)
        content += message.get("body", b"")
    if message["type"] != "http.request":
        raise ClientGoneError
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return _object(content)


def _object(content: bytes | bytearray) -> dict[str, Any]:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BodyError(f"the body is not valid JSON: {error}; send a JSON object") from error
    if not isinstance(body, dict):
        raise BodyError(f"the body must be a JSON object, got `{type(body).__name__}`")
    # Counting openers is quick, and a body with few of them cannot be deep.
    if content.count(b"{") + content.count(b"[") > MAX_JSON_DEPTH and _is_deeper(body, MAX_JSON_DEPTH):
        raise BodyError(f"the body nests lists and objects deeper than `{MAX_JSON_DEPTH}`; flatten it")
    return body


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body exceeds `{max_bytes}` bytes; send less or raise MAX_BODY_BYTES")


def _is_deeper(value: object, depth: int) -> bool:
    """Whether containers nest deeper than `depth`. It walks level by level, without recursion."""
    level = [value]
    for _ in range(depth):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)  # type: ignore[attr-defined]
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
