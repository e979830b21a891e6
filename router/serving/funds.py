"""Funds: the budgets of one request, and the most it can cost on each model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.errors import ProviderError
from router.limits.periods import to_pico
from router.request.arms import asked_of
from router.request.demand import NO_PRICE, Missing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from router.catalog.catalog import Model
    from router.decision.plan import Plan
    from router.errors import BudgetExceededError
    from router.limits.admission import Admission
    from router.limits.limits import Limits
    from router.records import RequestRecord
    from router.request.demand import Demand
    from router.request.request import Request


class Funds:
    """Checks, reserves and settles the budgets of one request. Do not share it between requests."""

    def __init__(
        self, limits: Limits, admission: Admission, request: Request, demand: Demand, at: datetime
    ) -> None:
        self.admission = admission
        self._limits = limits
        self._request = request
        self._demand = demand
        self._at = at
        self._is_hard = admission.headroom is not None
        self._max_input_tokens = request.max_input_tokens() if admission.accounts else 0
        self._maybe_billed = 0
        """Pico-dollars that attempts without an answer may have cost."""

    def worst_case(self, model: Model) -> int | Missing:
        """The most that the request can cost on `model`, in pico-dollars.

        Every byte of the prompt counts as a token. The output counts as the caller's limit, else the
        model's limit, else its context window.
        """
        price = model.price_at(self._at)
        request, most, choices = self._request, self._max_input_tokens, self._demand.choices
        if (asked := asked_of(request, model)) is not request:
            request = asked
            most, choices = request.max_input_tokens(), request.measure().choices
        tokens = request.worst_case_tokens(model, most)
        if price is None:
            return NO_PRICE
        if isinstance(tokens, Missing):
            return tokens
        given, allowed = tokens
        worst = price.worst_case_picousd(given, allowed * choices, request.asked_tier())
        return NO_PRICE if worst is None else worst

    def exclusions(self, plan: Plan, models: Mapping[str, Model]) -> dict[str, str]:
        """The plan's eligible models that do not fit the tightest hard budget, and why."""
        if not self._is_hard or self._fits(plan, models):
            return {}
        excluded = {}
        for name in plan.ranking:
            reason = self.admission.exclusion_of(self.worst_case(models[name]))
            if reason is not None:
                excluded[name] = reason
        return excluded

    def _fits(self, plan: Plan, models: Mapping[str, Model]) -> bool:
        """Whether even the dearest model of the plan fits; False if each model must be checked."""
        demand, headroom = self._demand, self.admission.headroom
        if demand.max_output_tokens == 0 or headroom is None or demand.is_open_ended:
            return False
        if self._request.asked_tier() is not None or self._request.runs_tools():
            return False
        if any(models[name].is_arm for name in plan.ranking):
            return False
        ceiling = plan.ceiling(
            models,
            self._at,
            input_tokens=self._max_input_tokens,
            output_tokens=demand.max_output_tokens * demand.choices,
        )
        return ceiling is not None and ceiling <= headroom

    def refusal(self, plan: Plan, models: Mapping[str, Model]) -> BudgetExceededError:
        """The error if every model is over budget. It names the need of the cheapest model."""
        worst = [self.worst_case(models[name]) for name in plan.ranking]
        known = [amount for amount in worst if not isinstance(amount, Missing)]
        if known:
            return self.admission.refusal(min(known), now=self._at)
        missing = [item for item in worst if isinstance(item, Missing)]
        # A priced model lacks only the bound, so that is the smaller change to ask for.
        nearest = min(missing, key=lambda item: item == NO_PRICE)
        return self.admission.refusal(nearest, now=self._at)

    async def reserve(self, request_id: str, model: Model) -> bool:
        """Reserve the model's worst case, in addition to the possible cost of earlier attempts."""
        if not self.admission.accounts:
            return True
        worst = self.worst_case(model)
        return await self._limits.reserve(
            self.admission, request_id, worst if isinstance(worst, Missing) else self._maybe_billed + worst
        )

    def note(self, model: Model, failure: ProviderError | None) -> None:
        """Remember a failed attempt that may be billed."""
        if failure is not None and failure.may_be_billed:
            worst = self.worst_case(model)
            self._maybe_billed += 0 if isinstance(worst, Missing) else worst

    async def give_back(self) -> None:
        """Release the funds of a request that was refused before any call."""
        await self._limits.release(self.admission)

    async def settle(
        self, record: RequestRecord, *, failure: BaseException | None, is_recorded: bool
    ) -> None:
        """Charge the cost of the request. An unknown cost is not 0: the worst case stays charged."""
        admission, limits, beside = self.admission, self._limits, self._maybe_billed
        cost = None if record.cost_usd is None else to_pico(record.cost_usd)
        tokens = None if record.tokens_input is None else record.tokens_input + (record.tokens_output or 0)
        if cost is None and failure is not None and not isinstance(failure, ProviderError):
            await limits.settle(admission, None)  # cancelled during the call: its cost is unknown
        elif cost is None and failure is not None:
            await limits.settle(admission, 0, unrecorded=beside, tokens=None if beside else 0)
        elif cost is None or is_recorded:
            await limits.settle(admission, cost, unrecorded=beside, tokens=tokens)
        else:
            await limits.settle(admission, 0, unrecorded=beside + cost, tokens=tokens)
