"""Every error IntelliRouter raises, in one tree.

    IntelliRouterError
    ├── ConfigError                 settings, catalog or policy files cannot be used
    │   ├── ConfigConflictError     the configuration changed since a change to it was made
    │   └── DatabaseUnavailableError  DATABASE_URL's server does not answer
    ├── RequestError                the caller's request is not valid
    │   ├── UnknownModelError
    │   ├── UnknownTaskError
    │   ├── UnknownPolicyError
    │   └── NoEligibleModelError
    ├── ProviderError               a provider did not give a usable answer
    │   └── InexpressibleError      its API cannot express the request
    ├── RateLimitedError            a limit of limits.yaml is used up
    ├── BudgetExceededError         the request may cost more than a budget has left
    ├── LimitsUnavailableError      limits and budgets cannot be checked
    ├── InvalidKeyError             the caller's key is not valid
    ├── ForbiddenError              the caller's key does not permit this
    ├── OverloadedError             more requests at once than the shim accepts
    ├── ClosedError                 the router was closed
    ├── JournalError                a record could not be put on disk
    ├── SegmentError                a journal or segment file is damaged
    └── ScoresError                 a published score file cannot be used

A message says what failed, with the value in backticks, and what to do. This module masks everything in
it that looks like a secret. Attributes hold the same facts, so the HTTP shim builds an error body
without parsing text.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from router.records import Attempt, Refused


ERROR_TYPES = frozenset(
    {
        "attempt_timeout",
        "authentication",
        "bad_request",
        "bad_response",
        "budget_exceeded",
        "cancelled",
        "connection",
        "content_filter",
        "limits_unavailable",
        "model_gone",
        "no_eligible_model",
        "overloaded",
        "rate_limit_exceeded",
        "rate_limited",
        "server_error",
        "stream_cut",
        "timeout",
    }
)
"""Values of a record's `error_type`, apart from the names of faults in this code. Metrics count by these."""

MASK = "[key]"
_SECRET = re.compile(
    r"""\b(?:sk|rk|pk)[-_](?=[\w-]*\d)[\w-]{8,}               # OpenAI, Anthropic, Stripe and others
    | \b(?:gsk_|xai-|hf_|r8_|pplx-|fw_|csk-|dop_v1_|gh[oprsu]_)[A-Za-z0-9]{16,}
    | \b(?:nvapi-|glpat-|github_pat_)[\w-]{16,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,} | \bAIza[\w-]{20,}        # Amazon, Google
    | \bxox[abeoprs]-[\w-]{8,}                               # Slack
    | \bir_[\w-]{32,}                                        # our own virtual keys
    | \beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?                 # JSON web tokens
    | (?i:\b(?:bearer|basic)\s+)(?=\S*\d)[\w.~+/-]{12,}=*    # authorization headers
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----(?s:.*?)(?:-----END[ ][A-Z ]*-----|\Z)
    | (?<=://)[^\s/@`]+(?=@)                                 # user and password of a URL
    | (?i:(?<=[?&;])[\w-]*(?:key|token|secret|passw(?:or)?d|signature|sig|code)=)[^&\s`'"]+""",
    re.VERBOSE,
)
"""The only list of the shapes of secrets. Documents and settings that hold such a text are refused.
Messages show MASK in its place."""


def has_secret(text: str) -> bool:
    """Whether a part of `text` has the shape of a secret."""
    return _SECRET.search(text) is not None


def masked(text: str) -> str:
    """`text` with MASK for each part that has the shape of a secret."""
    return _SECRET.sub(MASK, text)


class IntelliRouterError(Exception):
    """Base of every error raised on purpose."""

    code = "internal_error"
    """Stable, machine-readable name of the failure (`error.code` over HTTP)."""
    http_status = 500
    is_retryable = False
    """Whether the same call may succeed later without a change."""
    request_id: str | None = None
    """The id of the failure's record, if one was written."""
    refused: Refused | None = None
    """The part of a request that it refuses. Such refusals are security events."""

    def __init__(self, message: str = "") -> None:
        super().__init__(masked(message))


class ConfigError(IntelliRouterError):
    """Settings, catalog or policies cannot be used. Nothing was started."""

    code = "config_error"


class ConfigConflictError(ConfigError):
    """The configuration has changed since the version that a change was made from. Nothing was changed."""

    code = "config_conflict"
    http_status = 409
    is_retryable = True

    def __init__(self, message: str, *, expected: int | None, newest: int | None) -> None:
        super().__init__(message)
        self.expected = expected
        self.newest = newest


class DatabaseUnavailableError(ConfigError):
    """DATABASE_URL's server does not answer, or refuses. Routers go on with what they have."""


class RequestError(IntelliRouterError):
    """The request itself is at fault."""

    code = "invalid_request"
    http_status = 400

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnknownModelError(RequestError):
    """The named model is not in the catalog."""

    code = "model_not_found"
    http_status = 404

    def __init__(self, model: str, known: Iterable[str], *, setting: str | None = None) -> None:
        start = "" if setting is None else f"{setting} is not usable: "
        other = "" if setting is not None else "; or use `auto` to let the router choose"
        super().__init__(
            f"{start}unknown model `{model}`: {nearest(model, known)}{other}",
            param="model",
        )
        self.model = model


class UnknownTaskError(RequestError):
    """The task label is not declared, so its scores would never be compared with others."""

    code = "unknown_task"

    def __init__(self, task_type: str, known: Iterable[str]) -> None:
        super().__init__(
            f"unknown task `{task_type}`: {nearest(task_type, known)};"
            " or declare it under `tasks` in catalog.yaml",
            param="task_type",
        )
        self.task_type = task_type


class UnknownPolicyError(RequestError):
    """The named policy is not defined."""

    code = "unknown_policy"

    def __init__(self, policy_id: str, known: Iterable[str], *, setting: str | None = None) -> None:
        start = "" if setting is None else f"{setting} is not usable: "
        advice = f"{nearest(policy_id, known)}; or define it in policies.yaml"
        super().__init__(
            f"{start}unknown policy `{policy_id}`: {advice}",
            param="policy",
        )
        self.policy_id = policy_id


class ForNow(str):
    """A reason that excludes a model only until something on our side changes: a key, a score, a setting."""

    __slots__ = ()


class NoEligibleModelError(RequestError):
    """Every candidate is excluded. `exclusions` maps each model to the reason.

    If one of them is excluded only for now, the same request may be served later: 503. Otherwise no entry
    of the catalog can ever serve it, so that the client has to change it: 400.
    """

    code = "no_eligible_model"

    def __init__(self, task_type: str, exclusions: Mapping[str, str], *, request_id: str) -> None:
        listed = "; ".join(f"`{model}`: {reason}" for model, reason in list(exclusions.items())[:8])
        more = f"; and {len(exclusions) - 8} more" if len(exclusions) > 8 else ""
        super().__init__(
            f"no eligible model for task `{task_type}`: {listed or 'the catalog lists no model'}{more};"
            " relax the request or the policy, or make one of these models available in catalog.yaml",
            param="model",
        )
        self.task_type = task_type
        self.exclusions = dict(exclusions)
        if not exclusions or any(isinstance(reason, ForNow) for reason in exclusions.values()):
            self.http_status, self.is_retryable = 503, True
        self.request_id = request_id


TIMEOUTS = frozenset({"timeout", "attempt_timeout"})
REFUSALS = frozenset({"bad_request", "content_filter", "model_gone"})
"""A model's own refusals: the same model refuses the same request again, and another may serve it."""
MAYBE_BILLED = TIMEOUTS | {"connection", "bad_response", "stream_cut"}
"""Failures after which the provider may have answered, and may charge for it."""


class ProviderError(IntelliRouterError):
    """A provider failed. Callers see this error after retries and fallback.

    `error_type` is one of `timeout` (of the request), `attempt_timeout` (of one try), `connection`,
    `rate_limited`, `overloaded`, `server_error`, `authentication`, `bad_request`, `content_filter`,
    `model_gone`, `bad_response`, `stream_cut`. The message is for the caller. It may quote the request, since
    providers do: logs use `facts`.
    """

    code = "provider_error"
    http_status = 502

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        model: str,
        error_type: str,
        status_code: int | None = None,
        provider_code: str | None = None,
        retry_after_s: float | None = None,
        is_retryable: bool = False,
        may_be_billed: bool | None = None,
    ) -> None:
        """`may_be_billed`: whether the provider may have done the work; None: as `error_type` suggests."""
        super().__init__(message)
        self.may_be_billed = error_type in MAYBE_BILLED if may_be_billed is None else may_be_billed
        self.provider = provider
        self.model = model
        self.error_type = error_type
        self.status_code = status_code
        self.provider_code = provider_code
        """The provider's own name of the failure, if that is an identifier."""
        self.said_code: str | None = None
        self.said_type: str | None = None
        """The provider's `code` and `type` of the failure, as OpenAI's errors have both."""
        self.param: str | None = None
        """The member of the request that the provider refuses."""
        self.retry_after_s = retry_after_s
        self.is_retryable = is_retryable
        self.should_retry: bool | None = None
        """The provider's advice on retries (`x-should-retry`); None if it gives none."""
        self.has_other_key = False
        """Whether the provider refused or limited one key while another key can still be tried."""
        self.attempts: tuple[Attempt, ...] = ()

    @property
    def facts(self) -> str:
        """The failure, without any text that could quote a request."""
        status = None if self.status_code is None else f"status {self.status_code}"
        code = None if self.provider_code is None else f"`{self.provider_code}`"
        return ", ".join(part for part in (self.error_type, status, code) if part is not None)


class InexpressibleError(ProviderError):
    """The provider's API cannot express the request. Nothing was sent.

    Another model may serve the request, so it is tried next.
    """

    code = "inexpressible"
    http_status = 400

    def __init__(self, error: RequestError, *, provider: str, model: str) -> None:
        super().__init__(
            f"provider `{provider}` cannot express this request for model `{model}`: {error}",
            provider=provider,
            model=model,
            error_type="bad_request",
            is_retryable=True,
        )
        self.param = error.param


class RateLimitedError(IntelliRouterError):
    """A limit of limits.yaml is used up. OpenAI's clients read `headers`."""

    refused = "limit"

    code = "rate_limit_exceeded"
    http_status = 429
    openai_type = "requests"

    def __init__(
        self, label: str, *, unit: str, limit: int, remaining: int, retry_after_s: float | None
    ) -> None:
        """`label` names the limit and its owner. `retry_after_s` None: the limit never admits as much."""
        advice = (
            "ask for fewer tokens" if retry_after_s is None else f"try again in {max(retry_after_s, 1):.0f} s"
        )
        super().__init__(f"rate limit reached: {label}; {advice}, or raise the limit in limits.yaml")
        self.openai_type = unit
        self.label = label
        self.unit = unit
        self.limit = limit
        self.remaining = remaining
        self.retry_after_s = retry_after_s
        self.is_retryable = retry_after_s is not None
        self.headers: Mapping[str, str] = {}


class BudgetExceededError(IntelliRouterError):
    """The request may cost more than a hard budget has left. No provider was called."""

    refused = "limit"

    code = "budget_exceeded"
    http_status = 429
    openai_type = "insufficient_quota"

    def __init__(
        self, message: str, *, budget_id: str, period_end: datetime | None, retry_after_s: float | None
    ) -> None:
        """`period_end` is None if the budget never ends."""
        super().__init__(message)
        self.budget_id = budget_id
        self.period_end = period_end
        self.retry_after_s = retry_after_s
        self.is_retryable = retry_after_s is not None


class LimitsUnavailableError(IntelliRouterError):
    """Limits and budgets cannot be checked, and LIMITS_ON_ERROR says to refuse."""

    code = "limits_unavailable"
    http_status = 503
    is_retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InvalidKeyError(IntelliRouterError):
    """The caller's key is missing, unknown, expired or revoked. The message never repeats it."""

    code = "invalid_api_key"
    http_status = 401
    headers: Mapping[str, str] = MappingProxyType({"www-authenticate": "Bearer"})
    refused = "key"

    def __init__(
        self,
        message: str,
        *,
        key_id: str | None = None,
        organization_id: str | None = None,
        user_id: str | None = None,
    ) -> None:
        """`key_id` and the others are known if the key is expired, revoked or rotated."""
        super().__init__(message)
        self.key_id = key_id
        self.organization_id = organization_id
        self.user_id = user_id


class ForbiddenError(IntelliRouterError):
    """The caller's key is valid but does not permit this."""

    code = "permission_denied"
    http_status = 403
    refused: Refused | None = "scope"


class ForbiddenModelError(ForbiddenError):
    """The caller's key may not use the model."""

    refused = "model"


class OverloadedError(IntelliRouterError):
    """More requests are in flight than MAX_IN_FLIGHT. Nothing was called or recorded."""

    code = "overloaded"
    http_status = 503
    is_retryable = True


class NotReadyError(IntelliRouterError):
    """No request can succeed now. The message lists every reason."""

    code = "not_ready"
    http_status = 503
    is_retryable = True


class ClosedError(IntelliRouterError):
    """The router was closed. Nothing was called or recorded."""

    code = "router_closed"
    http_status = 503

    def __init__(self) -> None:
        super().__init__(
            "this router is closed: open another with `Router.open`, or make the call inside its `with` block"
        )


class JournalError(IntelliRouterError):
    """Records could not be appended, so the reply they belong to is withheld.

    `written` is the number of them, from the first on, that are in the journal nevertheless.
    """

    code = "record_not_written"
    http_status = 503
    is_retryable = True

    def __init__(self, message: str, *, written: int = 0) -> None:
        super().__init__(message)
        self.written = written


class SegmentError(IntelliRouterError):
    """A journal or segment file cannot be read."""

    code = "bad_segment"


class ScoresError(IntelliRouterError):
    """A score snapshot is corrupt or of an unknown schema. The router keeps the one it has."""

    code = "bad_scores"


def nearest(value: str, known: Iterable[str]) -> str:
    """The advice for a value that is not known: the known names most like it, or the first of all."""
    names = sorted(known)
    close = get_close_matches(value, names, n=3, cutoff=0.5)
    if close:
        return "nearest known: " + ", ".join(f"`{name}`" for name in close)
    if not names:
        return "none is known"
    shown = ", ".join(f"`{name}`" for name in names[:12])
    return f"known: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
