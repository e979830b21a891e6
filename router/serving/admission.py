"""Admission: limits, decision and reservation, before a provider is called.

`admit` returns the `Serving` that calls providers and records. `route` only decides.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from router.decision.knowledge import NEW_SESSION, Moment
from router.errors import (
    BudgetExceededError,
    IntelliRouterError,
    LimitsUnavailableError,
    NoEligibleModelError,
    RateLimitedError,
)
from router.limits.counters import Subjects
from router.records import new_id
from router.serving.fallback import since_ms
from router.serving.funds import Funds
from router.serving.recording import refused_record
from router.serving.serving import Serving
from router.sessions.sessions import fetch_session, owned_session

if TYPE_CHECKING:
    from datetime import datetime

    from router.decision.knowledge import Knowledge
    from router.policies.policy import Policy
    from router.request.decision import Decision
    from router.request.demand import Demand
    from router.request.request import Request
    from router.serving.parts import Parts
    from router.sessions.sessions import Session

REFUSALS = (NoEligibleModelError, RateLimitedError, BudgetExceededError, LimitsUnavailableError)
"""Errors of a valid request that is not served. They are recorded."""
MAX_RESERVATIONS = 10
"""Most decisions for one request while others take the rest of its budget."""


def route(parts: Parts, request: Request, *, draw: float | None = None) -> Decision:
    """Decide without a call and without a record. It raises the errors of `Router.route`.

    A `draw` makes it a trial: it replaces the router's own random number, so that a seeded router does not
    use one up, and it spends nothing of the budgets for exploration.
    """
    request_id, timestamp = new_id()
    knowledge, session = parts.refresher.knowledge, _session(parts, request)
    demand = request.measure(session.tokens_per_estimate)
    funds = None
    if parts.limits.is_active:
        admission = parts.limits.peek(_subjects(request), at=timestamp)
        funds = Funds(parts.limits, admission, request, demand, timestamp)
    return knowledge.decide(
        request,
        demand,
        knowledge.policy_of(request, session, parts.settings.default_policy),
        Moment(request_id, timestamp, parts.random.random() if draw is None else draw),
        session=session,
        ejections=parts.breaker.view(),
        funds=funds,
        is_trial=draw is not None,
    )


async def admit(parts: Parts, request: Request) -> Serving:
    """Admit the request and decide. A refusal is recorded and raised."""
    started = time.perf_counter()
    request_id, timestamp = new_id()
    parts.recorder.check_writable()
    session = await _latest_session(parts, request)
    knowledge = parts.refresher.knowledge
    policy = knowledge.policy_of(request, session, parts.settings.default_policy)
    moment = Moment(request_id, timestamp, parts.random.random())
    demand = request.measure(session.tokens_per_estimate)
    funds: Funds | None = None
    try:
        if parts.limits.is_active:
            funds = await _take(parts, request, demand, timestamp)
        decision = await _decide(parts, knowledge, request, demand, policy, moment, session, funds)
    except IntelliRouterError as error:
        if funds is not None:
            await funds.give_back()
        if not isinstance(error, REFUSALS):
            raise  # the request itself is not valid: nothing was refused
        if isinstance(error, BudgetExceededError):
            parts.limits.log_refusal(error)
        error.request_id = request_id
        refused = refused_record(
            request,
            error,
            request_id=request_id,
            timestamp=timestamp,
            settings=parts.settings,
            policy=policy,
            state=knowledge.state,
            latency_ms=since_ms(started),
        )
        await parts.recorder.record(request, refused, None, knowledge.state.catalog)
        raise
    decided_by = knowledge.state.policies.by_id[decision.policy_id]
    return Serving(
        parts,
        request,
        demand,
        knowledge.state.catalog,
        decision,
        funds,
        started,
        passes_filters=decided_by.content_filter_fallback,
    )


async def _take(parts: Parts, request: Request, demand: Demand, timestamp: datetime) -> Funds:
    tokens = demand.tokens_estimated + demand.max_output_tokens * demand.choices
    admission = await parts.limits.admit(_subjects(request), tokens=tokens, at=timestamp)
    return Funds(parts.limits, admission, request, demand, timestamp)


async def _decide(
    parts: Parts,
    knowledge: Knowledge,
    request: Request,
    demand: Demand,
    policy: Policy,
    moment: Moment,
    session: Session,
    funds: Funds | None,
) -> Decision:
    """Decide, and reserve the worst case of the chosen model."""
    for attempt in range(MAX_RESERVATIONS):
        decision = knowledge.decide(
            request, demand, policy, moment, session=session, ejections=parts.breaker.view(), funds=funds
        )
        model = knowledge.state.catalog.models[decision.model]
        if funds is None or await funds.reserve(decision.request_id, model):
            parts.breaker.begin(model.id)
            return decision
        # Other requests were quicker. The admission now has the new balance, so the next round
        # excludes the models that do not fit.
        if attempt == MAX_RESERVATIONS - 1:
            raise funds.admission.refusal(funds.worst_case(model))
    raise AssertionError("unreachable: the last round returns or raises")


def _session(parts: Parts, request: Request) -> Session:
    """The session as this process knows it."""
    owned = _owned(request)
    return NEW_SESSION if owned is None else parts.sessions.get(owned) or NEW_SESSION


async def _latest_session(parts: Parts, request: Request) -> Session:
    """The session as the machine that answered last left it."""
    owned = _owned(request)
    return NEW_SESSION if owned is None else await fetch_session(parts.sessions, owned) or NEW_SESSION


def _owned(request: Request) -> str | None:
    if request.session_id is None:
        return None
    return owned_session(request.session_id, request.api_key_id, request.organization_id)


def _subjects(request: Request) -> Subjects:
    return Subjects(request.api_key_id, request.user_id, request.organization_id, request.session_id)
