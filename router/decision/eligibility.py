"""Finds the models that cannot serve a request, and why.

A model that does not state a property is excluded if the caller must rely on it (regions, data policy).
It stays eligible if the provider itself would refuse (context window, capabilities), or if only an
estimate is missing (quality, cost, latency).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from router.errors import ForNow
from router.request.demand import CHAT
from router.request.preferences import Preferences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from router.catalog.catalog import Catalog, Model
    from router.policies.policy import Policy
    from router.records import Candidate

NO_PREFERENCES = Preferences()


class Needs(NamedTuple):
    """The properties of a request that decide which models can serve it. Equal needs share a plan."""

    input_tokens_bucket: int
    """Number of bits of the estimated input tokens: requests within a factor of two are alike."""
    context_window: int
    """Tokens of the smallest window in the catalog that input and allowed output fit."""
    capabilities: frozenset[str]
    vectors: str | None = None
    """The name of the vectors that an embedding request asks for."""
    apis: frozenset[str] = CHAT
    """See `Demand.apis`."""
    native: str | None = None
    """See `Demand.native`."""


def standing_exclusions(catalog: Catalog, environment: Mapping[str, str]) -> dict[str, str]:
    """Models that can serve no request until the configuration changes: model to reason."""
    excluded: dict[str, str] = {}
    for model in catalog.models.values():
        key_names = catalog.providers[model.provider].key_variables
        if model.availability_status == "unavailable":
            excluded[model.id] = ForNow("its availability_status is `unavailable`")
        elif key_names and not any(environment.get(name) for name in key_names):
            named = " or ".join(f"`{name}`" for name in key_names)
            excluded[model.id] = ForNow(f"the key of provider `{model.provider}` is missing: set {named}")
    return excluded


def exclusions_of(
    candidates: Mapping[str, Candidate],
    *,
    catalog: Catalog,
    policy: Policy,
    preferences: Preferences | None,
    needs: Needs,
    standing: Mapping[str, str],
    at: datetime,
) -> dict[str, str]:
    """Models that cannot serve a request: model to the first reason found.

    `candidates` are the models with their expected quality, cost and latency on the request's task.
    """
    excluded = dict(standing)
    wishes = preferences or NO_PREFERENCES
    for model in catalog.models.values():
        known = excluded.get(model.id)
        if known is None:
            reason = next(_reasons(model, candidates[model.id], policy, wishes, needs, at), None)
            if reason is not None:
                excluded[model.id] = reason
        elif isinstance(known, ForNow) and _is_lasting(model, candidates, policy, wishes, needs, at):
            excluded[model.id] = str(known)  # it could not serve the request if it were available
    return excluded


def _is_lasting(
    model: Model,
    candidates: Mapping[str, Candidate],
    policy: Policy,
    wishes: Preferences,
    needs: Needs,
    at: datetime,
) -> bool:
    """Whether a reason besides those for now excludes the model."""
    expected = candidates.get(model.id)
    if expected is None:
        return False
    reasons = _reasons(model, expected, policy, wishes, needs, at)
    return any(not isinstance(reason, ForNow) for reason in reasons)


def _reasons(
    model: Model, expected: Candidate, policy: Policy, wishes: Preferences, needs: Needs, at: datetime
) -> Iterator[str]:
    if not needs.apis & model.apis:
        yield _api_reason(model, needs)
    if needs.vectors is not None and model.vectors != needs.vectors:
        yield f"its vectors are `{model.vectors}`, which do not mix with `{needs.vectors}`"
    own = {model.id, model.provider}
    if wishes.only is not None and not own & wishes.only:
        yield "the request's `only` does not list it"
    if own & wishes.ignore:
        yield "the request's `ignore` lists it"
    if model.id in policy.denied_models:
        yield f"policy `{policy.id}` denies it"
    if policy.allowed_models is not None and model.id not in policy.allowed_models:
        yield f"policy `{policy.id}` does not allow it"
    if model.provider in policy.denied_providers:
        yield f"policy `{policy.id}` denies its provider"
    if policy.allowed_providers is not None and model.provider not in policy.allowed_providers:
        yield f"policy `{policy.id}` does not allow its provider"
    for regions, who in ((policy.regions, f"policy `{policy.id}`"), (wishes.regions, "the request")):
        if regions is not None and not (model.regions or frozenset()) & regions:
            yield f"it is not stated to serve from {_list(regions)}, which {who} requires"
    for labels, who in ((policy.data_policy, f"policy `{policy.id}`"), (wishes.data_policy, "the request")):
        if missing := labels - (model.data_policy or frozenset()):
            yield f"its data policy does not state {_list(missing)}, which {who} requires"
    if model.capabilities is not None:
        if missing := needs.capabilities - model.capabilities:
            yield f"it lacks {_list(missing)}"
        if missing := policy.capabilities - model.capabilities:
            yield f"it lacks {_list(missing)}, which policy `{policy.id}` requires"
    if model.context_window is not None and needs.context_window > model.context_window:
        yield f"the request exceeds its context window of {model.context_window} tokens"
    yield from _price_reasons(model, wishes, at)
    yield from _estimate_reasons(expected, policy, wishes)


def _api_reason(model: Model, needs: Needs) -> str:
    if model.vectors is not None:
        return "it embeds, and does nothing else"
    if "embeddings" in needs.apis:
        return "it does not embed: catalog.yaml states no `vectors` of it"
    if needs.native is not None and "item_reference" in needs.native:
        return f"{needs.native} needs OpenAI's responses API: send the item whole, with `store: false`"
    if needs.native is not None:
        return (
            f"{needs.native} needs OpenAI's responses API, which catalog.yaml does not state among its `apis`"
        )
    return "it is served only by OpenAI's responses API"


def _price_reasons(model: Model, wishes: Preferences, at: datetime) -> Iterator[str]:
    if wishes.max_prompt_usd_per_mtok is None and wishes.max_completion_usd_per_mtok is None:
        return
    price = model.price_at(at)
    if price is None:
        yield "its price is not known, and the request sets a `max_price`"
        return
    for name, limit, value in (
        ("prompt", wishes.max_prompt_usd_per_mtok, price.input_usd_per_mtok),
        ("completion", wishes.max_completion_usd_per_mtok, price.output_usd_per_mtok),
    ):
        if limit is not None and value is not None and value > limit:
            yield f"its {name} price of ${value:f} per million tokens exceeds the request's `max_price`"


def _estimate_reasons(expected: Candidate, policy: Policy, wishes: Preferences) -> Iterator[str]:
    cost, latency, quality = expected.cost_usd, expected.latency_ms, expected.quality
    # An estimate that a policy excludes changes with the next scores. The request's own wishes stay.
    for source, who, kind in ((policy, f"policy `{policy.id}`", ForNow), (wishes, "the request", str)):
        if source.max_cost_usd is not None and cost is not None and cost > source.max_cost_usd:
            yield kind(
                f"its expected cost of ${cost:.6f} exceeds the ${source.max_cost_usd} that {who} allows"
            )
        if source.max_latency_ms is not None and latency is not None and latency > source.max_latency_ms:
            yield kind(
                f"its expected {latency:.0f} ms exceed the {source.max_latency_ms:g} ms that {who} allows"
            )
        if source.min_quality is not None and quality is not None and quality < source.min_quality:
            yield kind(
                f"its expected quality {quality:.3f} is below the {source.min_quality:g} {who} requires"
            )


def _list(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
