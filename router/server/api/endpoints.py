"""One row an endpoint: what is served, keys and `/openapi.json` are all made from these: none can drift."""

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
    """One thing the shim does."""

    method: Literal["GET", "POST"]
    path: str
    """`{id}` stands for one segment."""
    handler: Handler
    summary: str
    scopes: tuple[Scope, ...]
    """Of which a key must have one; empty: anybody may call, and learns nothing worth a key."""
    body: str | None = None
    """Name of the request body's schema; None: it takes none."""
    answer: str = "Object"
    """Name of the answer's schema."""
    media_type: str = "application/json"
    status: int = 200
    parameters: tuple[str, ...] = ()
    """Headers that are read."""
    is_calling: bool = False
    """Whether a provider may be called, and its failure told."""
    is_recorded: bool = False
    """Whether the request is recorded, and the answer's headers tell of it."""
    is_streaming: bool = False
    """Whether the answer may come as server-sent events."""
    errors: tuple[int, ...] = ()
    """Statuses of errors beside those of every endpoint that asks for a key, a body or a provider."""

    @property
    def label(self) -> str:
        """As errors name it."""
        return f"{self.method} {self.path}"
