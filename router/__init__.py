"""IntelliRouter's serving half: pick a model for each request, call it, record everything.

    from router import Request, Router

    with Router.open() as router:
        response = router.complete_sync(
            Request(messages=[{"role": "user", "content": "2 + 2?"}], task_type="math")
        )
        router.feedback(response.request_id, "quality", 1.0)

The rooms, in the order that a request takes (each room's `__init__` says how to read it):

    router      `Router`: the main path            records     the record contract
    request/    requests and answers               serving/    admit, call, record, settle
    decision/   which model, and why               scores/     scores of the pipelines
    policies/   goals and experiments              tasks/      task types
    catalog/    models and dated prices            health/     models that fail
    limits/     rate limits and budgets            sessions/   conversations that stay with a model
    providers/  calls to providers                 translate/  between the APIs
    journal/    on disk before the reply leaves    telemetry/  traces and metrics
    configuration/  documents and their history
    keys/       callers' keys and their trail      server/     the OpenAI-compatible HTTP shim
    config      settings                           cli         `intellirouter`
    errors      every error, in one tree           files       atomic writes

Importing this package loads neither dagster, duckdb, polars nor pyarrow.
"""

from router.decision.explanations import Explanation, explain
from router.errors import (
    BudgetExceededError,
    ConfigError,
    IntelliRouterError,
    JournalError,
    LimitsUnavailableError,
    NoEligibleModelError,
    ProviderError,
    RateLimitedError,
    RequestError,
    ScoresError,
    SegmentError,
    UnknownModelError,
    UnknownPolicyError,
    UnknownTaskError,
)
from router.providers.http.sse import StreamEvent
from router.request.decision import Decision
from router.request.embeddings import EmbeddingRequest
from router.request.preferences import Preferences
from router.request.request import Request, Response
from router.request.responses import ResponsesRequest
from router.router import Router
from router.serving.streaming import Stream, SyncStream

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
    """`__version__`, read when it is asked for: its reader takes longer to import than this package."""
    if name != "__version__":
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("intellirouter")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0+unknown"
