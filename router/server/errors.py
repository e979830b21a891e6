"""Errors in the shape of OpenAI's API: as the answer to a request, or as an event in a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.errors import TIMEOUTS, ProviderError

if TYPE_CHECKING:
    from router.errors import IntelliRouterError

PASSED_STATUS = (400, 404, 410, 413, 422, 429)
"""A provider's statuses that the client can act on. Any other becomes a bad gateway."""


def status_of(error: IntelliRouterError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, ProviderError):
        if error.error_type in TIMEOUTS:
            return 504
        if error.error_type == "content_filter":
            return 400  # OpenRouter says it with 403, which would blame the client's key
        if error.status_code in PASSED_STATUS:
            return error.status_code
    return error.http_status


def body_of_error(error: IntelliRouterError) -> dict[str, Any]:
    """The body that says what failed.

    The provider's own `code`, `type` and `param` go with a status that is the provider's too. A code such
    as `invalid_api_key` of a bad gateway would blame the client's key for ours.
    """
    status = status_of(error)
    code, kind = error.code, getattr(error, "openai_type", None)
    if isinstance(error, ProviderError):
        code = error.error_type
        if status in PASSED_STATUS:
            code, kind = error.said_code or code, error.said_type
    return error_body(status, str(error), code=code, kind=kind, param=getattr(error, "param", None))


def error_body(
    status: int, message: str, *, code: str, kind: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """OpenAI's error object. If `kind` is None, the status decides its `type`."""
    default = "invalid_request_error" if 400 <= status < 500 and status != 429 else "api_error"
    return {"error": {"message": message, "type": kind or default, "param": param, "code": code}}
