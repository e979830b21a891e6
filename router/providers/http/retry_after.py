"""Read how long a provider asks to wait, in every form that providers use."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RETRY_AFTER_S = 86_400.0
_NUMBERS = (("retry-after-ms", 1000.0), ("x-ms-retry-after-ms", 1000.0), ("retry-after", 1.0))


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds to wait, at most a day. None if the provider does not say.

    `retry-after-ms` and `x-ms-retry-after-ms` are milliseconds (OpenAI, Azure). `retry-after` is seconds
    or an HTTP date (RFC 9110, section 10.2.3). A date counts from the response's own `date`, if it has
    one, so that clocks need not agree.
    """
    for name, unit in _NUMBERS:
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if seconds >= 0 and isfinite(seconds):
            return min(seconds, MAX_RETRY_AFTER_S)
    until = _moment(headers.get("retry-after"))
    if until is None:
        return None
    since = _moment(headers.get("date")) or now or datetime.now(UTC)
    return min(max((until - since).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _moment(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
