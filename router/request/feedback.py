"""Checks feedback before it is stored."""

from __future__ import annotations

from datetime import UTC, timedelta
from difflib import get_close_matches
from math import isfinite
from typing import TYPE_CHECKING, Literal, get_args
from uuid import UUID

from router.errors import RequestError, nearest
from router.records import moment_of
from router.request.request import check_encodable, has_control

if TYPE_CHECKING:
    from datetime import datetime

FeedbackSource = Literal["user", "judge", "program"]
SCORED = "quality"
"""The metric that scores models. Any other name is stored and scores nothing."""
ALIKE = 0.85
"""A name this much like SCORED is a misspelling, and its judgements would be lost."""
MAX_COMMENT_LENGTH = 10_000
CLOCK_SKEW = timedelta(minutes=5)
"""The clock of the router that answered may be ahead of ours by this much."""


def check_feedback(
    request_id: str, metric: str, value: float, source: str, comment: str | None, *, now: datetime
) -> None:
    """RequestError names the first member that cannot be stored as it is."""
    moment = _moment(request_id)
    if moment is None:
        raise RequestError(
            f"`{request_id!s:.80}` is not a request id: pass the `x-request-id` of the response"
            " (`Response.request_id` in Python)",
            param="request_id",
        )
    if moment > now + CLOCK_SKEW:
        raise RequestError(
            f"`{request_id}` is of `{moment:%Y-%m-%d %H:%M}` UTC, and this router's clock says"
            f" `{now.astimezone(UTC):%Y-%m-%d %H:%M}`: set the clocks of your routers, and try again later",
            param="request_id",
        )
    if not isinstance(metric, str) or not 0 < len(metric) <= 64 or has_control(metric):
        raise RequestError(
            f"`metric` must be a text of 1 to 64 characters without control characters, got `{metric!r:.80}`",
            param="metric",
        )
    check_encodable(metric, "metric")
    if metric != SCORED and get_close_matches(metric.strip().lower(), [SCORED], cutoff=ALIKE):
        raise RequestError(
            f"unknown metric `{metric}`: {nearest(SCORED, [SCORED])}; a metric of your own needs a name"
            " that is less like it",
            param="metric",
        )
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not is_number or not 0 <= value <= 1:
        raise RequestError(f"`value` must be a number from 0 to 1, got `{value!s:.80}`", param="value")
    if source not in get_args(FeedbackSource):
        raise RequestError(
            f"`source` must be one of {', '.join(get_args(FeedbackSource))}, got `{source!s:.80}`",
            param="source",
        )
    if comment is not None and (not isinstance(comment, str) or len(comment) > MAX_COMMENT_LENGTH):
        raise RequestError(
            f"`comment` must be a text of at most {MAX_COMMENT_LENGTH} characters", param="comment"
        )
    check_encodable(comment, "comment")


def _moment(request_id: object) -> datetime | None:
    """The moment of an id that is spelled as in responses: another spelling would match no request."""
    try:
        if not isinstance(request_id, str) or not _is_canonical(request_id):
            return None
        return moment_of(request_id)
    except ValueError:
        return None


def _is_canonical(request_id: str) -> bool:
    return str(UUID(request_id)) == request_id.lower()
