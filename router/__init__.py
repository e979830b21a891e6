"""IntelliRouter's serving half: pick a model for each request, call it, record everything.

    from router import Request, Router

    with Router.open() as router:
        response = router.complete_sync(
            Request(messages=[{"role": "user", "content": "2 + 2?"}], task_type="math")
        )
        router.feedback(response.request_id, "quality", 1.0)

Where to read on, in the order a request takes:

    router      `Router`: the main path           providers/  who answers
    engine      admit, decide         serving     call, record, settle
    streaming   piece by piece        upstream    one provider's stream
    request     what is asked and answered        records     the record contract
    responses   OpenAI's other way to ask         embeddings  vectors, which do not mix
    knowledge   everything a decision reads       journal     safe before the reply leaves
    tasks       task types                        segments    journal to Parquet
    policy      what to optimise                  state       catalog and policies, reloaded
    eligibility who can serve, and who not        refresh     the thread that renews knowledge
    scores      what the pipelines learnt         server/     the OpenAI-compatible HTTP shim
    decide      the choice itself                 cli         `intellirouter`
    explanations  why, from the record alone      limits/     limits and budgets
    breaker     who failed of late                experiments who is treated how

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
