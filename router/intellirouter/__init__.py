"""The public names of IntelliRouter, under the name that it is installed by.

    from intellirouter import Request, Router

In: the package `router`, which holds everything. Out: its public names, and nothing else.
A file `router.py` of an application would hide that package, so this one names it.
"""

# ruff: noqa: E402 - the check comes before the imports that would fail

from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_found = find_spec("router")
_place = Path(_found.origin).resolve() if _found is not None and _found.origin else None
if _place is None or _place.parent not in (_HERE.parent, _HERE.parent / "router"):
    raise ImportError(
        f"`{_place}` hides the package `router` of IntelliRouter: rename that file or folder, or start Python"
        " from another folder"
    )

from router import (
    BudgetExceededError,
    ConfigError,
    Decision,
    EmbeddingRequest,
    Explanation,
    IntelliRouterError,
    JournalError,
    LimitsUnavailableError,
    NoEligibleModelError,
    Preferences,
    ProviderError,
    RateLimitedError,
    Request,
    RequestError,
    Response,
    ResponsesRequest,
    Router,
    ScoresError,
    SegmentError,
    Stream,
    StreamEvent,
    SyncStream,
    UnknownModelError,
    UnknownPolicyError,
    UnknownTaskError,
    explain,
)

__all__ = [
    "BudgetExceededError",
    "ConfigError",
    "Decision",
    "EmbeddingRequest",
    "Explanation",
    "IntelliRouterError",
    "JournalError",
    "LimitsUnavailableError",
    "NoEligibleModelError",
    "Preferences",
    "ProviderError",
    "RateLimitedError",
    "Request",
    "RequestError",
    "Response",
    "ResponsesRequest",
    "Router",
    "ScoresError",
    "SegmentError",
    "Stream",
    "StreamEvent",
    "SyncStream",
    "UnknownModelError",
    "UnknownPolicyError",
    "UnknownTaskError",
    "explain",
]

__version__: str


def __getattr__(name: str) -> str:
    """`__version__` is read when it is asked for."""
    if name != "__version__":
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    import router

    return router.__version__
