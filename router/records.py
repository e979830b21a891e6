"""The record contracts: the data that the router writes and the pipelines read.

Each class below is one dataset. Its fields, in order, are the columns of the Parquet segments
(`router.journal.segments`), of the warehouse table of the same name (`pipelines.warehouse`), and of the
documentation: all three are derived from here. Fields are only ever added, at the end, with a
default. A new field raises `SCHEMA_VERSION` of its dataset.

None means unknown. Zero means measured zero. Moments are UTC. Money is `Decimal` US dollars.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Literal
from uuid import UUID

UsageSource = Literal["provider", "unknown"]
TaskTypeSource = Literal["caller", "rule", "classifier", "default"]
Refused = Literal["key", "scope", "model", "body", "limit"]
BodyMode = Literal["none", "hash", "redacted", "full"]
Strategy = Literal["thompson", "greedy", "sticky", "pinned", "preferred", "experiment"]
"""How the model was chosen: by chance in proportion to the probability of being best, by utility,
by its session, by name, by the request's own order, or by an experiment whose variant is a model."""

SINCE_2 = {"since": 2}
"""Marks the fields of schema version 2 of their dataset."""
SINCE_3 = {"since": 3}
"""Marks the fields of schema version 3 of their dataset."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONEY_SCALE = 12
"""Digits after the point of every stored amount: enough for a single token's price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model as the decision saw it."""

    model: str
    is_eligible: bool
    exclusion: str | None = None
    """Why the model could not be chosen; None when it could."""
    quality: float | None = None
    """Posterior mean quality of the model on the task, 0..1."""
    cost_usd: float | None = None
    """Expected cost of this request."""
    latency_ms: float | None = None
    """Expected (median) latency."""
    utility: float | None = None
    """quality - cost_weight * cost_usd / reference cost."""
    probability: float | None = None
    """Chance of being chosen, given this request's eligible set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call to one provider on behalf of a request."""

    model: str
    provider: str
    status_code: int | None = None
    error_type: str | None = None
    latency_ms: float | None = None
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """One caller-supplied label."""

    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One client request: the question, the decision, the usage, the cost and the outcome."""

    DATASET: ClassVar[str] = "request_analytics"
    SCHEMA_VERSION: ClassVar[int] = 3
    MOMENT: ClassVar[str] = "timestamp"
    """The column that places a row in its hour."""

    # identity
    id: str
    """UUIDv7; its embedded milliseconds equal `timestamp`'s."""
    schema_version: int = 3
    timestamp: datetime
    """When the request arrived."""
    environment: str
    organization_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    session_id: str | None = None
    tags: list[Tag] = field(default_factory=list)
    # the request
    operation: str = "chat"
    task_type: str
    task_type_source: TaskTypeSource
    model_requested: str
    """The caller's `model`: `auto` or a name."""
    is_streaming: bool = False
    # the decision
    model_selected: str | None = None
    """The model that answered, or the last one tried; None when none was eligible."""
    provider: str | None = None
    policy_id: str
    policy_version: int
    config_hash: str
    snapshot_id: str | None = None
    """The score snapshot the decision read; None before the first one."""
    snapshot_age_s: float | None = None
    strategy: Strategy
    propensity: float | None = None
    """Probability with which `model_decided` was chosen among the eligible candidates."""
    is_exploration: bool = False
    """Whether a model other than the one of highest utility was chosen."""
    reason: str
    experiment_id: str | None = None
    variant: str | None = None
    candidates: list[Candidate] = field(default_factory=list)
    # usage
    tokens_input: int | None = None
    """Includes cached tokens."""
    tokens_output: int | None = None
    """Includes reasoning tokens."""
    tokens_cached_input: int | None = None
    tokens_cache_write: int | None = None
    tokens_reasoning: int | None = None
    usage_source: UsageSource = "unknown"
    # money
    cost_usd: Decimal | None = None
    """The cost of all attempts; None when any price or usage is unknown."""
    price_id: str | None = None
    """The dated price row that was applied, or `provider` for a provider-reported cost."""
    provider_cost_usd: Decimal | None = None
    """The provider's own figure, in addition to ours."""
    baseline_model: str | None = None
    baseline_cost_usd: Decimal | None = None
    """The same usage at the baseline model's price."""
    # outcome
    success: bool
    status_code: int | None = None
    error_type: str | None = None
    error_details: str | None = None
    """The facts of the failure. A provider's message is kept only if bodies are kept in full."""
    finish_reason: str | None = None
    latency_ms: float
    """From arrival to reply, retries and fallback included."""
    ttft_ms: float | None = None
    overhead_ms: float | None = None
    """`latency_ms` less the time spent waiting for providers, or before asking them again."""
    attempts: list[Attempt] = field(default_factory=list)
    model_decided: str | None = None
    """The decision's own choice; differs from `model_selected` after a fallback."""
    task_type_confidence: float | None = field(default=None, metadata=SINCE_2)
    """The classifier's confidence, 0..1; None if it was not asked."""
    draw: float | None = field(default=None, metadata=SINCE_2)
    """The random number in [0, 1) that picked among the candidates; None if nothing was left to chance."""
    tokens_input_estimated: int | None = field(default=None, metadata=SINCE_2)
    """The decision's estimate of the input. The provider's count is `tokens_input`."""
    budget_reserved_usd: Decimal | None = field(default=None, metadata=SINCE_2)
    """The worst case reserved on the budgets that apply; None if none applies."""
    shadow_policy_id: str | None = field(default=None, metadata=SINCE_2)
    """The policy that a shadow experiment decided by, without serving its choice."""
    shadow_model: str | None = field(default=None, metadata=SINCE_2)
    """The model that this policy chose."""
    prompt_features: str | None = field(default=None, metadata=SINCE_2)
    """Input of the task classifier's training (`router.tasks.features`), from some labelled requests."""
    model_answered: str | None = field(default=None, metadata=SINCE_3)
    """The provider's name of the model that answered; None if it does not say. The cost is that model's."""
    service_tier: str | None = field(default=None, metadata=SINCE_3)
    """The provider's name of the tier that served the answer (`default`, `flex`); None if it does not say."""
    provider_request_id: str | None = field(default=None, metadata=SINCE_3)
    """The provider's own id of the request, for its bills and its support."""
    provider_region: str | None = field(default=None, metadata=SINCE_3)
    """Where the answer was computed, by the provider's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRecord:
    """One judgement of one answer. It often arrives hours or days late."""

    DATASET: ClassVar[str] = "feedback"
    SCHEMA_VERSION: ClassVar[int] = 1
    MOMENT: ClassVar[str] = "created_at"

    feedback_id: str
    """UUIDv7."""
    schema_version: int = 1
    request_id: str
    """The `id` of the judged request."""
    metric: str
    """`quality` is the metric that scores models. Other metrics are stored too."""
    value: float
    """0 (worst) to 1 (best)."""
    source: Literal["user", "judge", "program"] = "user"
    comment: str | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLog:
    """The audit trail of one request: its sender, its origin, the request and the answer.

    It is a separate dataset, so that it can be kept for another time than the analytics. Headers are
    never stored.
    """

    DATASET: ClassVar[str] = "request_logs"
    SCHEMA_VERSION: ClassVar[int] = 1
    MOMENT: ClassVar[str] = "timestamp"

    request_id: str
    """The `id` of the request's RequestRecord."""
    schema_version: int = 1
    timestamp: datetime
    organization_id: str | None = None
    user_id: str | None = None
    body_mode: BodyMode
    """How much of the bodies is kept; see `router.serving.recording`."""
    request_data: str | None = None
    """JSON, as `body_mode` leaves it."""
    response_data: str | None = None
    routing_decision: str | None = None
    """JSON: model, policy, reason, propensity and all other facts of the decision except its candidates."""
    error_details: str | None = None
    """As in the RequestRecord."""
    ip_address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityEvent:
    """Equal refusals of the HTTP shim: of keys, scopes, models, bodies and limits.

    Repeats within a second are one event with their number. Of many different refusals at once, the later
    ones are counted without key, address and agent, so that an attack cannot fill the disk. The sum of
    `refusals` is exact.
    """

    DATASET: ClassVar[str] = "security_events"
    SCHEMA_VERSION: ClassVar[int] = 1
    MOMENT: ClassVar[str] = "timestamp"

    id: str
    """UUIDv7."""
    schema_version: int = 1
    timestamp: datetime
    """The moment of the first of the refusals."""
    last_at: datetime
    """The moment of the last of them."""
    environment: str
    organization_id: str | None = None
    """Of the key, where it is known."""
    user_id: str | None = None
    api_key_id: str | None = None
    kind: Refused
    """The part of the request that was refused."""
    code: str
    """The code of the error that the caller got."""
    status_code: int
    refusals: int
    """The number of equal refusals."""
    key_fingerprint: str | None = None
    """A keyed hash of an unknown key, never the key: equal keys have equal fingerprints."""
    ip_address: str | None = None
    user_agent: str | None = None
    path: str | None = None
    """The endpoint, as the documentation names it."""


Record = RequestRecord | FeedbackRecord | RequestLog | SecurityEvent
DATASETS: dict[str, type[Record]] = {
    RequestRecord.DATASET: RequestRecord,
    FeedbackRecord.DATASET: FeedbackRecord,
    RequestLog.DATASET: RequestLog,
    SecurityEvent.DATASET: SecurityEvent,
}


def new_id() -> tuple[str, datetime]:
    """A UUIDv7 as text, and the UTC moment it embeds (RFC 9562, section 5.7).

    One clock reading gives both, so the id contains the hour of its request. Late feedback finds the
    hour that it changes without a look-up.
    """
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (millis & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | (random >> 62 & 0xFFF) << 64
    value |= 0b10 << 62 | random & 0x3FFF_FFFF_FFFF_FFFF
    moment = EPOCH + timedelta(milliseconds=millis)
    digits = f"{value:032x}"  # by hand: `str(UUID(int=value))` takes three times as long
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}", moment


def moment_of(record_id: str) -> datetime:
    """The UTC moment that a UUIDv7 embeds; ValueError when `record_id` is not a UUIDv7."""
    value = UUID(record_id)
    if value.version != 7:
        raise ValueError(f"`{record_id}` is a UUID of version {value.version}, not 7")
    seconds, rest = divmod(value.int >> 80, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)
