"""Errors in the shape of OpenAI's API: as the answer to a request, or as an event in a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.errors import TIMEOUTS, ProviderError

if TYPE_CHECKING:
    from router.errors import IntelliRouterError

PASSED_STATUS = (400, 413, 422, 429)
"""A provider's statuses that the client can act on. Any other becomes a bad gateway."""


def status_of(error: IntelliRouterError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, ProviderError):
        if error.error_type in TIMEOUTS:
            return 504
        if error.status_code in PASSED_STATUS:
            return error.status_code
    return error.http_status


def body_of_error(error: IntelliRouterError) -> dict[str, Any]:
    """The body that says what failed."""
    return error_body(
        status_of(error),
        str(error),
        code=error.error_type if isinstance(error, ProviderError) else error.code,
        kind=getattr(error, "openai_type", None),
        param=getattr(error, "param", None),
    )


def error_body(
    status: int, message: str, *, code: str, kind: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """OpenAI's error object. If `kind` is None, the status decides its `type`."""
    default = "invalid_request_error" if 400 <= status < 500 and status != 429 else "api_error"
    return {"error": {"message": message, "type": kind or default, "param": param, "code": code}}
