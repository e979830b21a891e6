"""Everything a decision reads at one moment. A refresh replaces it whole, and no decision waits for that."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from router.decision.eligibility import Needs, exclusions_of
from router.decision.exploration import ExplorationBudgets
from router.decision.plan import make_plan
from router.errors import NoEligibleModelError, RequestError, UnknownModelError, UnknownPolicyError
from router.health.breaker import Ejections
from router.policies.assignment import assign
from router.request.decision import Decision
from router.request.embeddings import EmbeddingRequest
from router.request.preferences import check_names
from router.request.request import AUTO
from router.scores.board import tokens_bucket
from router.sessions.sessions import Session
from router.tasks.tasks import classify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from router.decision.plan import Plan, Purse
    from router.decision.state import State
    from router.policies.assignment import Assignment
    from router.policies.policy import Policy
    from router.request.decision import Choice
    from router.request.demand import Demand
    from router.request.preferences import Preferences
    from router.request.request import Request
    from router.scores.board import ScoreBoard
    from router.tasks.classifier import TaskClassifier

MAX_PLANS = 10_000
"""Plans kept. At this number all are dropped, so that odd preferences cannot fill the memory."""
NEW_SESSION = Session()
BEYOND_EVERY_WINDOW = 1 << 62
NOT_ALLOWED = "the caller's key does not allow it"


class Moment(NamedTuple):
    """The values that are new with every request: id, time and random number."""

    request_id: str
    timestamp: datetime
    draw: float
    """A random number in [0, 1)."""


NO_EJECTIONS = Ejections(epoch=0, models={})


class Question(NamedTuple):
    """Everything that determines the plan of a request."""

    policy: Policy
    task_type: str
    needs: Needs
    preferences: Preferences | None
    ejections: Ejections
    at: datetime
    """For prices. It is not part of `key`, since plans are made again after some minutes."""

    def key(self) -> tuple[str, str, Needs, Preferences | None, int]:
        """Questions with the same key share a plan."""
        return self.policy.id, self.task_type, self.needs, self.preferences, self.ejections.epoch


class Knowledge:
    """State and scores, and the plans made from them."""

    def __init__(
        self,
        state: State,
        board: ScoreBoard,
        *,
        standing: Mapping[str, str],
        environment: str,
        classifier: TaskClassifier | None = None,
        note: str | None = None,
        budgets: ExplorationBudgets | None = None,
    ) -> None:
        """`standing` are models that can serve no request. `environment` is for requests that name none.

        `note` is added to each record's reason. `budgets` count what exploration costs.
        """
        self.state = state
        self.board = board
        self.standing = standing
        self.environment = environment
        self.classifier = classifier
        self.note = note
        self.budgets = budgets or ExplorationBudgets()
        self._windows = sorted(
            {model.context_window for model in state.catalog.models.values() if model.context_window}
        )
        self._provider_of = {model.id: model.provider for model in state.catalog.models.values()}
        self._plans: dict[tuple[str, str, Needs, Preferences | None, int], Plan] = {}

    def policy_of(self, request: Request, session: Session, default: str) -> Policy:
        """The request's policy, else its session's, user's, organisation's, environment's, else `default`."""
        policies = self.state.policies
        name = (
            request.policy
            or (session.policy if session.policy in policies.by_id else None)  # it may be gone since
            or policies.users.get(request.user_id or "")
            or policies.organizations.get(request.organization_id or "")
            or policies.environments.get(request.environment or self.environment)
            or default
        )
        try:
            return policies.by_id[name]
        except KeyError:
            raise UnknownPolicyError(name, policies.by_id) from None

    def decide(
        self,
        request: Request,
        demand: Demand,
        policy: Policy,
        moment: Moment,
        *,
        session: Session = NEW_SESSION,
        ejections: Ejections = NO_EJECTIONS,
        funds: Purse | None = None,
        is_trial: bool = False,
    ) -> Decision:
        """Choose a model. A trial spends nothing of the policy's budget for exploration.

        RequestError for an unknown model or task, and for a reference that some of the possible providers
        do not know. NoEligibleModelError when every candidate is excluded. BudgetExceededError when
        every model that could serve costs more than `funds` allow.
        """
        catalog = self.state.catalog
        task_type, task_type_source, confidence = classify(request, catalog.tasks, self.classifier)
        pinned = None if request.model == AUTO else request.model
        vectors = None
        if isinstance(request, EmbeddingRequest):
            pinned, vectors = request.meant(catalog)
        elif pinned is not None and pinned not in catalog.models:
            raise UnknownModelError(pinned, catalog.models)
        preferences = self._preferences(request, session)
        treatment = self._treatment(request, session, task_type, moment)
        if treatment is not None and not treatment.is_shadow and treatment.policy_id is not None:
            policy = self.state.policies.by_id[treatment.policy_id]
        if pinned is not None:
            ejections = NO_EJECTIONS  # a request that names its model gets it
        question = Question(
            policy, task_type, self._needs(demand, vectors), preferences, ejections, moment.timestamp
        )
        plan = self._plan(question)
        if funds is not None:
            plan = self._affordable(plan, funds, pinned, question)
        draw: float | None = None
        choice: Choice | None = None
        if pinned is not None:
            choice = plan.fixed("pinned", pinned)
        else:
            if treatment is not None and not treatment.is_shadow and treatment.model is not None:
                choice = plan.fixed("experiment", treatment.model)
            is_same = session.treated_as == _treated_as(treatment)
            if choice is None and session.model is not None and is_same and plan.strategy != "preferred":
                choice = plan.fixed("sticky", session.model)
            if choice is None:
                draw = moment.draw
                if policy.exploration_usd_per_day is not None and not is_trial:
                    plan = self.budgets.within(policy, plan, moment.timestamp)
                choice = plan.draw(draw)
        if choice is not None and pinned is None and session.model is None and demand.refers_to is not None:
            self._check_provider(demand.refers_to, choice)
        if choice is None:
            excluded = plan.exclusions if pinned is None else {pinned: plan.exclusions[pinned]}
            raise NoEligibleModelError(task_type, excluded, request_id=moment.request_id)
        snapshot = self.board.snapshot
        shadow = treatment if treatment is not None and treatment.is_shadow else None
        return Decision.of(
            choice,
            reason=choice.reason if self.note is None else f"{choice.reason}; {self.note}",
            request_id=moment.request_id,
            timestamp=moment.timestamp,
            provider=catalog.models[choice.model].provider,
            task_type=task_type,
            task_type_source=task_type_source,
            task_type_confidence=confidence,
            policy_id=policy.id,
            policy_version=policy.version,
            config_hash=self.state.config_hash,
            snapshot_id=snapshot.snapshot_id if snapshot else None,
            snapshot_age_s=(moment.timestamp - snapshot.published_at).total_seconds() if snapshot else None,
            draw=draw,
            tokens_input_estimated=demand.tokens_input,
            experiment_id=treatment.experiment_id if treatment else None,
            variant=treatment.variant if treatment else None,
            shadow_policy_id=shadow.policy_id if shadow else None,
            shadow_model=self._shadow_of(shadow, question, moment.draw) if shadow else None,
        )

    def _check_provider(self, member: str, choice: Choice) -> None:
        """Refuse a reference that only one provider knows when several providers could answer."""
        found = sorted({self._provider_of[name] for name in (choice.model, *choice.fallbacks)})
        if len(found) > 1:
            raise RequestError(
                f"`{member}` is known to only one provider, and `{'`, `'.join(found)}` could answer:"
                " name the model that answered before, send its conversation's x-session-id, or say"
                ' `"provider": {"only": [...]}`',
                param=member,
            )

    def _preferences(self, request: Request, session: Session) -> Preferences | None:
        """The preferences of the request, else of its session, user or organisation.

        The request's `allowed_models` bind it whichever of these it follows, and bind no other request.
        """
        own = request.preferences
        allowed = None if own is None else own.allowed_models
        for found in (own, session.preferences):
            if found is not None and (found.allowed_models is None or not found.is_limit_only):
                break
        else:
            found = self.state.policies.preferences_of(request.user_id, request.organization_id)
        if found is None:
            return own
        return found if found.allowed_models == allowed else replace(found, allowed_models=allowed)

    def _treatment(
        self, request: Request, session: Session, task_type: str, moment: Moment
    ) -> Assignment | None:
        """The experiment the request is in. A request that names its model or policy is in none."""
        if not self.state.experiments or request.model != AUTO or request.policy or session.policy:
            return None
        if request.operation != "chat":
            return None
        return assign(
            self.state.experiments,
            request_id=moment.request_id,
            session_id=request.session_id,
            user_id=request.user_id,
            organization_id=request.organization_id,
            environment=request.environment or self.environment,
            task_type=task_type,
            at=moment.timestamp,
        )

    def _shadow_of(self, shadow: Assignment, question: Question, draw: float) -> str | None:
        """The model that a shadow variant would serve: its own, or its policy's for the same draw."""
        if shadow.policy_id is None:
            return shadow.model
        choice = self._plan(question._replace(policy=self.state.policies.by_id[shadow.policy_id])).draw(draw)
        return choice.model if choice else None

    def _affordable(self, plan: Plan, funds: Purse, pinned: str | None, question: Question) -> Plan:
        """The plan without the models whose worst case a hard budget has no room for."""
        models = self.state.catalog.models
        excluded = funds.exclusions(plan, models)
        if not excluded:
            return plan
        if len(excluded) == len(plan.ranking) or pinned in excluded:
            raise funds.refusal(plan, models)
        return self._make_plan(question, {**plan.exclusions, **excluded})

    def _needs(self, demand: Demand, vectors: str | None) -> Needs:
        place = bisect_left(self._windows, demand.context_tokens)
        return Needs(
            input_tokens_bucket=tokens_bucket(demand.tokens_input),
            context_window=self._windows[place] if place < len(self._windows) else BEYOND_EVERY_WINDOW,
            capabilities=demand.capabilities,
            vectors=vectors,
            apis=demand.apis,
            native=demand.native,
        )

    def _plan(self, question: Question) -> Plan:
        key = question.key()
        plan = self._plans.get(key)
        if plan is None:
            plan = self._make_plan(question, self._exclusions(question))
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _make_plan(self, question: Question, exclusions: Mapping[str, str]) -> Plan:
        policy, task_type, needs, preferences, *_ = question
        return make_plan(
            self.board.table(policy, task_type, needs.input_tokens_bucket),
            exclusions,
            policy=policy,
            preferences=preferences,
            providers=self._provider_of,
            baseline=self.state.baseline_model,
        )

    def _exclusions(self, question: Question) -> dict[str, str]:
        """The models that cannot serve, and why."""
        catalog = self.state.catalog
        policy, task_type, needs, preferences, ejections, at = question
        if preferences is not None:
            check_names(preferences, catalog.models, catalog.providers)
        table = self.board.table(policy, task_type, needs.input_tokens_bucket)
        standing = self.standing
        if preferences is not None and (allowed := preferences.allowed_models) is not None:
            standing = {**dict.fromkeys(catalog.models.keys() - allowed, NOT_ALLOWED), **standing}
        excluded = exclusions_of(
            {item.model: item for item in table.candidates},
            catalog=catalog,
            policy=policy,
            preferences=preferences,
            needs=needs,
            standing=standing,
            at=at,
        )
        failing = {model: reason for model, reason in ejections.models.items() if model not in excluded}
        if len(excluded) + len(failing) == len(catalog.models):
            failing = {}  # a failing model is better than none
        return {**excluded, **failing}


def _treated_as(treatment: Assignment | None) -> tuple[str, str] | None:
    """The (experiment, variant) that decides a request; None when no experiment does.

    A session stays with its model only while this is equal to the session's `treated_as`.
    """
    if treatment is None or treatment.is_shadow:
        return None
    return treatment.experiment_id, treatment.variant
