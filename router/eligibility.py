"""Which models a request cannot have, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog import Catalog
    from router.policy import Policy
    from router.request import Request


def standing_exclusions(catalog: Catalog, environment: Mapping[str, str]) -> dict[str, str]:
    """Models that no request can have until the configuration changes: model to reason."""
    excluded = {}
    for model in catalog.models.values():
        key_name = catalog.providers[model.provider].api_key_env
        if model.availability_status == "unavailable":
            excluded[model.id] = "its availability_status is `unavailable`"
        elif key_name is not None and not environment.get(key_name):
            excluded[model.id] = f"the key of provider `{model.provider}` is missing: set `{key_name}`"
    return excluded


def exclusions_of(
    request: Request, policy: Policy, catalog: Catalog, standing: Mapping[str, str]
) -> dict[str, str]:
    """Models this request cannot have: model to reason. What is not known excludes nothing."""
    excluded = dict(standing)
    context_tokens = request.estimated_input_tokens() + request.max_output_tokens()
    needs = _needed_capabilities(request)
    for model in catalog.models.values():
        if model.id in excluded:
            continue
        if model.id in policy.denied_models:
            excluded[model.id] = f"policy `{policy.id}` denies it"
        elif policy.allowed_models is not None and model.id not in policy.allowed_models:
            excluded[model.id] = f"policy `{policy.id}` does not allow it"
        elif model.context_window is not None and context_tokens > model.context_window:
            excluded[model.id] = (
                f"about {context_tokens} tokens exceed its context window of {model.context_window}"
            )
        elif model.capabilities is not None and not needs <= model.capabilities:
            excluded[model.id] = f"it lacks {', '.join(sorted(needs - model.capabilities))}"
    return excluded


def _needed_capabilities(request: Request) -> frozenset[str]:
    needs = set()
    if request.parameters.get("tools"):
        needs.add("tools")
    if isinstance(request.parameters.get("response_format"), dict):
        needs.add("json")
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, list) and any(
            isinstance(part, dict) and part.get("type") == "image_url" for part in content
        ):
            needs.add("vision")
    return frozenset(needs)
