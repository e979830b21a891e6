"""What one request may spend: its admission, and the most it can cost on each model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.errors import ProviderError
from router.limits.periods import to_pico

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from router.catalog.catalog import Model
    from router.decision.plan import Plan
    from router.errors import BudgetExceededError
    from router.limits.admission import Admission
    from router.limits.limits import Limits
    from router.records import RequestRecord
    from router.request.request import Request


class Funds:
    """One request's way through the budgets; belongs to that request alone."""

    def __init__(self, limits: Limits, admission: Admission, request: Request, at: datetime) -> None:
        self.admission = admission
        self._limits = limits
        self._request = request
        self._at = at
        self._is_hard = admission.headroom is not None
        self._max_input_tokens = request.max_input_tokens() if admission.accounts else 0
        self._maybe_billed = 0
        """Pico-dollars that attempts without an answer may have cost."""

    def worst_case(self, model: Model) -> int | None:
        """The most the request can cost on `model`, in pico-dollars; None when no bound is known.

        Every byte of the prompt counts as a token, and the output as the caller's limit, else the
        model's, else its context window.
        """
        price = model.price_at(self._at)
        tokens = self._request.worst_case_tokens(model, self._max_input_tokens)
        if price is None or tokens is None:
            return None
        given, allowed = tokens
        return price.worst_case_picousd(given, allowed * self._request.choices())

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
        """Whether even the dearest model of the plan fits, asked of a bound that similar requests share."""
        allowed = self._request.max_output_tokens() * self._request.choices()
        key = (self._max_input_tokens.bit_length(), allowed.bit_length())
        if allowed == 0 or self.admission.headroom is None or self._request.is_open_ended:
            return False
        if key not in plan.ceilings:
            prices = [models[name].price_at(self._at) for name in plan.ranking]
            worst = [price.worst_case_picousd(1 << key[0], 1 << key[1]) for price in prices if price]
            known = [amount for amount in worst if amount is not None]
            plan.ceilings[key] = max(known, default=0) if len(known) == len(prices) else None
        ceiling = plan.ceilings[key]
        return ceiling is not None and ceiling <= self.admission.headroom

    def refusal(self, plan: Plan, models: Mapping[str, Model]) -> BudgetExceededError:
        """The error of a request whose models are all over budget: it names the cheapest one's need."""
        known = [worst for name in plan.ranking if (worst := self.worst_case(models[name])) is not None]
        return self.admission.refusal(min(known, default=None), now=self._at)

    async def reserve(self, request_id: str, model: Model) -> bool:
        """Hold the model's worst case, beside what earlier attempts may have cost."""
        if not self.admission.accounts:
            return True
        worst = self.worst_case(model)
        return await self._limits.reserve(
            self.admission, request_id, None if worst is None else self._maybe_billed + worst
        )

    def note(self, model: Model, failure: ProviderError | None) -> None:
        """Remember an attempt that failed in a way that may be billed."""
        if failure is not None and failure.may_be_billed:
            self._maybe_billed += self.worst_case(model) or 0

    async def give_back(self) -> None:
        """Settle a request that was refused before any call."""
        await self._limits.release(self.admission)

    async def settle(
        self, record: RequestRecord, *, failure: BaseException | None, is_recorded: bool
    ) -> None:
        """Charge what the request cost. Unknown is not 0: it stays charged at the worst case."""
        admission, limits, beside = self.admission, self._limits, self._maybe_billed
        cost = None if record.cost_usd is None else to_pico(record.cost_usd)
        tokens = None if record.tokens_input is None else record.tokens_input + (record.tokens_output or 0)
        if cost is None and failure is not None and not isinstance(failure, ProviderError):
            await limits.settle(admission, None)  # cancelled under way: nobody knows what was done
        elif cost is None and failure is not None:
            await limits.settle(admission, 0, unrecorded=beside, tokens=None if beside else 0)
        elif cost is None or is_recorded:
            await limits.settle(admission, cost, unrecorded=beside, tokens=tokens)
        else:
            await limits.settle(admission, 0, unrecorded=beside + cost, tokens=tokens)
