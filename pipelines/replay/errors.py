"""What can go wrong in a replay."""

from __future__ import annotations

from router.errors import IntelliRouterError


class ReplayError(IntelliRouterError):
    """The replay could not go on."""

    code = "replay_failed"


class BooksError(ReplayError):
    """What was sent and what was recorded differ."""

    code = "books_differ"
