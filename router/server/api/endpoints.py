"""One row an endpoint. Dispatch, key checks and `/openapi.json` all use these rows, so that none drifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.keys.keys import Scope
    from router.server.http import Answer, HttpRequest
    from router.server.shim import Shim

    Handler = Callable[[Shim, HttpRequest], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint of the shim."""

    method: Literal["GET", "POST", "PUT"]
    path: str
    """`{id}` matches one segment. `{model}` and `{session}` match any number: ids may hold slashes."""
    handler: Handler
    summary: str
    scopes: tuple[Scope, ...]
    """A key must have one of these. If empty, callers need no key, and the answer holds no secrets."""
    body: str | None = None
    """Name of the request body's schema, or None if the endpoint takes no body."""
    answer: str = "Object"
    """Name of the answer's schema."""
    media_type: str = "application/json"
    status: int = 200
    parameters: tuple[str, ...] = ()
    """Headers that the endpoint reads."""
    query: tuple[str, ...] = ()
    """Members of the query that the endpoint reads."""
    is_calling: bool = False
    """Whether the endpoint may call a provider, and report its failure."""
    is_recorded: bool = False
    """Whether the request is recorded, and the answer has the headers of a recorded request."""
    is_streaming: bool = False
    """Whether the answer may come as server-sent events."""
    errors: tuple[int, ...] = ()
    """Error statuses in addition to those of every endpoint that needs a key, a body or a provider."""

    @property
    def label(self) -> str:
        """The name of the endpoint in errors."""
        return f"{self.method} {self.path}"
