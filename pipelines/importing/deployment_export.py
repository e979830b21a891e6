"""A model of catalog.yaml with its provider as a deployment of LiteLLM (an entry of `model_list`)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.importing.deployments import (
    ENVIRONMENT,
    MILLION,
    OPENAI_URLS,
    OTHERS,
    OWN_ADDRESS,
    PARAMETERS,
    RATES,
    VERSIONED,
)
from pipelines.importing.price_names import book_name
from router.catalog.price_entries import PriceEntry
from router.configuration.documents import CATALOG

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pipelines.importing.leaves import Leaves

GROUP = "group-"
"""A policy with this prefix and nothing but `allowed_models` is a model name with several deployments."""
CAPABILITIES = {
    "tools": "supports_function_calling",
    "vision": "supports_vision",
    "json": "supports_response_schema",
    "reasoning": "supports_reasoning",
    "streaming": "supports_native_streaming",
}
REASONS = {
    "quality_scores": ("LiteLLM knows no quality", "order the deployments with `order`"),
    "version": ("LiteLLM keeps no outcomes of a model", "nothing to do"),
    "name": ("a deployment has one name", "nothing to do"),
    "data_policy": ("LiteLLM knows no promises of providers", "leave a model out that clients must not use"),
    "availability_status": ("LiteLLM has no state of a model", "leave a model out that must get no request"),
    "answers_as": ("LiteLLM prices by the name that was asked for", "nothing to do"),
    "cost_source": ("LiteLLM takes the cost of some providers by itself", "nothing to do"),
    "thinking": ("LiteLLM tells by the name of the model", "set `thinking` in `litellm_params`"),
    "apis": ("LiteLLM translates by itself", "nothing to do"),
    "stream_usage": ("LiteLLM always asks for usage", "nothing to do"),
    "max_tokens_as": ("LiteLLM renames the parameter by itself", "nothing to do"),
    "developer_as": ("LiteLLM renames the role by itself", "nothing to do"),
    "prices": ("a price of LiteLLM has no dates, times of day or tiers of service", "change it by hand then"),
    "vectors": ("LiteLLM does not know which vectors are alike", "give alike models one `model_name`"),
    "regions": ("a deployment is in one region", "nothing to do"),
}
SIZES = {"context_window": "max_input_tokens", "max_output_tokens": "max_output_tokens"}
_NUMBERED = re.compile(r"-\d+$")


def deployment(
    leaves: Leaves,
    at: str,
    catalog: Mapping[str, Any],
    model: Mapping[str, Any],
    groups: Mapping[str, str],
    *,
    now: datetime,
) -> dict[str, Any]:
    """The entry of a model. Its leaves, and those of its provider, are mapped or named."""
    provider_id = model["provider"]
    provider = catalog["providers"][provider_id]
    params, info = _reached(leaves, provider_id, provider, model), dict[str, Any]()
    for member in ("id", "provider", "provider_model"):
        leaves.take(f"{at}.{member}", "model_list: model_name, litellm_params.model")
    _parameters(leaves, at, model, params)
    said = model.get("attempt_timeout_s", provider.get("attempt_timeout_s"))
    if said is not None:
        params["timeout"] = said
        leaves.take(f"{at}.attempt_timeout_s", "litellm_params.timeout")
        leaves.take(f"{CATALOG}.providers.{provider_id}.attempt_timeout_s", "litellm_params.timeout")
    _drop_params(leaves, at, catalog, model, params)
    if len(model.get("regions") or ()) == 1:
        params["region_name"] = model["regions"][0]
        leaves.take(f"{at}.regions", "litellm_params.region_name")
    if model.get("headers"):
        params["extra_headers"] = dict(model["headers"])
        leaves.take(f"{at}.headers", "litellm_params.extra_headers")
    _information(leaves, at, model, info)
    _price(leaves, at, model, params, now)
    for member, (reason, advice) in REASONS.items():
        leaves.name(f"{at}.{member}", reason, advice)
        leaves.name(f"{CATALOG}.providers.{provider_id}.{member}", reason, advice)
    found: dict[str, Any] = {"model_name": groups[model["id"]], "litellm_params": params}
    if info:
        found["model_info"] = info
    return found


def _reached(
    leaves: Leaves, provider_id: str, provider: Mapping[str, Any], model: Mapping[str, Any]
) -> dict[str, Any]:
    """The members of `litellm_params` that reach the provider."""
    at = f"{CATALOG}.providers.{provider_id}"
    owner, address = _owner(provider_id, provider)
    params: dict[str, Any] = {"model": f"{owner}/{model.get('provider_model') or model['id']}"}
    if address is not None:
        params["api_base"] = address
    variables = provider.get("api_key_env")
    listed = [variables] if isinstance(variables, str) else list(variables or ())
    if listed:
        params["api_key"] = f"{ENVIRONMENT}{listed[0]}"
        leaves.take(f"{at}.api_key_env" if isinstance(variables, str) else f"{at}.api_key_env[0]", "api_key")
        leaves.name(
            f"{at}.api_key_env", "a deployment has one key", "add a deployment of the same name for each key"
        )
    if provider.get("region") is not None:
        params["aws_region_name"] = provider["region"]
    if provider.get("api_version") is not None:
        params["api_version"] = str(provider["api_version"])
    for member in ("kind", "base_url", "region", "api_version"):
        leaves.take(f"{at}.{member}", "litellm_params")
    return params


def _owner(provider_id: str, provider: Mapping[str, Any]) -> tuple[str, str | None]:
    """LiteLLM's name of the provider, and the address, if it is not the usual one."""
    kind, address = provider["kind"], provider["base_url"]
    name = _NUMBERED.sub("", provider_id)
    if kind != "openai":
        usual = OTHERS[kind][1]
        region = provider.get("region")
        if kind == "bedrock" and region:
            usual = f"https://bedrock-runtime.{region}.amazonaws.com"
        return kind, None if address == usual else _unversioned(kind, address)
    usual_owners = [owner for owner, (url, _) in OPENAI_URLS.items() if url == address]
    if name in usual_owners or usual_owners:
        return (name if name in usual_owners else usual_owners[0]), None
    if name in OWN_ADDRESS or name in OPENAI_URLS:
        return name, _unversioned(name, address)
    return ("openai" if provider.get("api_key_env") else "hosted_vllm"), address


def _unversioned(owner: str, address: str) -> str:
    return address.removesuffix("/v1") if owner in VERSIONED else address


def _parameters(leaves: Leaves, at: str, model: Mapping[str, Any], params: dict[str, Any]) -> None:
    found = model.get("parameters") or {}
    for name, value in (found.get("default") or {}).items():
        if name in PARAMETERS:
            params[name] = value
            leaves.take(f"{at}.parameters.default.{name}", f"litellm_params.{name}")
    leaves.name(
        f"{at}.parameters.forced",
        "a parameter of a deployment gives way to that of the request",
        "let clients leave it out",
    )
    leaves.name(
        f"{at}.parameters", "LiteLLM does not add this parameter to each request", "let clients send it"
    )


def _drop_params(
    leaves: Leaves, at: str, catalog: Mapping[str, Any], model: Mapping[str, Any], params: dict[str, Any]
) -> None:
    """Of the model, or of its provider where providers differ."""
    said = {entry.get("drop_params") for entry in catalog["providers"].values()}
    provider_id = model["provider"]
    own = catalog["providers"][provider_id].get("drop_params") if len(said) > 1 else None
    value = model.get("drop_params", own)
    if value is not None:
        params["drop_params"] = value
        leaves.take(f"{at}.drop_params", "litellm_params.drop_params")
        leaves.take(f"{CATALOG}.providers.{provider_id}.drop_params", "litellm_params.drop_params")


def _information(leaves: Leaves, at: str, model: Mapping[str, Any], info: dict[str, Any]) -> None:
    for member, theirs in SIZES.items():
        if model.get(member) is not None:
            info[theirs] = model[member]
            leaves.take(f"{at}.{member}", f"model_info.{theirs}")
    if model.get("vectors") is not None:
        info["mode"] = "embedding"
        if model["vectors"] == model["id"]:
            leaves.take(f"{at}.vectors", "model_info.mode")
    ref = model.get("price_ref")
    if ref is not None:
        name = next((name for name in (ref.partition("/")[2], ref) if book_name(name, None) == ref), None)
        if name is None:
            leaves.name(f"{at}.price_ref", "LiteLLM has other names of models", "set `model_info.base_model`")
        else:
            info["base_model"] = name
            leaves.take(f"{at}.price_ref", "model_info.base_model")
    for capability in model.get("capabilities") or ():
        info[CAPABILITIES[capability]] = True
    leaves.take(f"{at}.capabilities", "model_info.supports_…")


def _price(leaves: Leaves, at: str, model: Mapping[str, Any], params: dict[str, Any], now: datetime) -> None:
    """The rates that hold now, for a token. LiteLLM's prices have no date."""
    rows = [
        (PriceEntry.model_validate(row), number, row) for number, row in enumerate(model.get("prices") or ())
    ]
    begun = [row for row in rows if row[0].start <= now]
    if not begun:
        return
    _, number, price = max(begun, key=lambda row: row[0].start)
    place = f"{at}.prices[{number}]"
    for theirs, ours in RATES.items():
        if price.get(ours) is not None:
            params[theirs] = _per_token(price[ours])
            leaves.take(f"{place}.{ours}", f"litellm_params.{theirs}")
    for tier_number, tier in enumerate(price.get("tiers") or ()):
        above, rest = divmod(tier["above_input_tokens"], 1000)
        if rest:
            continue
        for member in ("input_usd_per_mtok", "output_usd_per_mtok"):
            if tier.get(member) is not None:
                side = member.partition("_")[0]
                params[f"{side}_cost_per_token_above_{above}k_tokens"] = _per_token(tier[member])
                leaves.take(f"{place}.tiers[{tier_number}].{member}", "litellm_params")
        leaves.take(f"{place}.tiers[{tier_number}].above_input_tokens", "litellm_params")
    leaves.take(f"{place}.is_free", "litellm_params")
    if len(rows) == 1:
        leaves.take(f"{place}.start", "litellm_params")


def _per_token(amount: Any) -> float:
    return float(Decimal(str(amount)) / MILLION)
