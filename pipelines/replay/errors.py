"""The errors of a replay."""

from __future__ import annotations

from router.errors import IntelliRouterError


class ReplayError(IntelliRouterError):
    """The replay could not continue."""

    code = "replay_failed"


class BooksError(ReplayError):
    """The requests that were sent and those that were recorded differ."""

    code = "books_differ"
