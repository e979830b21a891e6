"""A deployment of LiteLLM (an entry of `model_list`) as a provider and a model of catalog.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from router.catalog.entries import ProviderEntry

if TYPE_CHECKING:
    from pipelines.importing.leaves import Leaves

OPENAI_URLS = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "cerebras": ("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "deepinfra": ("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "fireworks_ai": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "nvidia_nim": ("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "ollama": ("http://localhost:11434/v1", None),
    "ollama_chat": ("http://localhost:11434/v1", None),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "perplexity": ("https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "sambanova": ("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    "together_ai": ("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "xai": ("https://api.x.ai/v1", "XAI_API_KEY"),
}
"""Providers that speak OpenAI's API: their address, and the variable that LiteLLM reads their key from."""
OWN_ADDRESS = ("hosted_vllm", "vllm", "custom_openai", "openai_like", "lm_studio", "text-completion-openai")
"""OpenAI's API at an address that the deployment names."""
OTHERS = {
    "anthropic": ("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "gemini": ("gemini", "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY"),
    "azure": ("azure", None, "AZURE_API_KEY"),
    "bedrock": ("bedrock", None, "AWS_BEARER_TOKEN_BEDROCK"),
}
VERSIONED = ("anthropic", "ollama", "ollama_chat")
"""LiteLLM appends the version to the address of these, and we do not."""
PARAMETERS = (
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "reasoning_effort", "stop", "n",
    "frequency_penalty", "presence_penalty", "response_format", "logit_bias", "service_tier", "thinking",
    "top_k", "parallel_tool_calls", "verbosity",
)  # fmt: skip
"""Parameters of a deployment that its requests get unless they set them."""
RATES = {
    "input_cost_per_token": "input_usd_per_mtok",
    "output_cost_per_token": "output_usd_per_mtok",
    "cache_read_input_token_cost": "cached_input_usd_per_mtok",
    "cache_creation_input_token_cost": "cache_write_usd_per_mtok",
    "output_cost_per_reasoning_token": "reasoning_usd_per_mtok",
    "input_cost_per_audio_token": "audio_input_usd_per_mtok",
    "output_cost_per_audio_token": "audio_output_usd_per_mtok",
}
ABOVE = re.compile(r"(input|output)_cost_per_token_above_(\d+)k_tokens")
SERVED_MODES = ("chat", "completion", "embedding", "responses")
ENVIRONMENT = "os.environ/"
MILLION = Decimal(1_000_000)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NO_NAME = re.compile(r"[^!-)+-_a-~]+")

SPREADING = {
    "rpm": "the router has no rate of a model: limits count for keys, users and organisations",
    "tpm": "the router has no rate of a model: limits count for keys, users and organisations",
    "weight": "the router weighs models by their scores, not by a fixed share",
    "order": "the router orders models by their scores",
    "tags": "requests choose models by policy, not by tag",
    "max_parallel_requests": "the router has no bound on the calls of one model",
    "max_retries": "retries are the same for all models",
    "stream_timeout": "one time limit covers streams and answers",
    "max_budget": "budgets count for keys, users and organisations, not for models",
    "budget_duration": "budgets count for keys, users and organisations, not for models",
}
ADVICE = {
    "rpm": "a 429 of the provider ejects the model for a while by itself",
    "tpm": "a 429 of the provider ejects the model for a while by itself",
    "weight": "set `quality_scores` of the models, or an experiment with `share`",
    "order": "set `quality_scores` of the models",
    "tags": "make a policy with `allowed_models`",
    "max_parallel_requests": "set MAX_CONNECTIONS, which holds for each provider",
    "max_retries": "set MAX_RETRIES",
    "stream_timeout": "set `attempt_timeout_s` of the model: it covers a stream's first content",
    "max_budget": "put a budget for the organisation into limits.yaml",
    "budget_duration": "put a budget for the organisation into limits.yaml",
}


@dataclass(slots=True)
class Catalog:
    """The catalog that grows with each deployment."""

    providers: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    """LiteLLM's model names to the ids of their deployments."""


def add_deployment(catalog: Catalog, leaves: Leaves, path: str, item: dict[str, Any]) -> None:
    """Map one entry of `model_list`. Each of its leaves is mapped or named."""
    params, info = item.get("litellm_params") or {}, item.get("model_info") or {}
    name, model = str(item.get("model_name") or ""), str(params.get("model") or "")
    refused = _refusal(name, model, info)
    if refused is not None:
        leaves.name(path, *refused)
        return
    owner, provider_model = _owner(model, params)
    provider = _provider(leaves, path, owner, params)
    if provider is None:
        return
    clean = _NO_NAME.sub("-", name).strip("-") or "model"
    ids = catalog.groups.setdefault(name, [])
    known = {entry["id"] for entry in catalog.models}
    number, model_id = 1, clean
    while model_id in known:
        number += 1
        model_id = f"{clean}-{number}"
    ids.append(model_id)
    provider_id = _provider_id(catalog, owner, provider)
    at = f"catalog.yaml: models.{model_id}"
    entry: dict[str, Any] = {"id": model_id, "provider": provider_id}
    if provider_model != model_id:
        entry["provider_model"] = provider_model
    leaves.take(f"{path}.litellm_params.model", f"{at}.provider_model")
    if len(ids) == 1:
        leaves.take(f"{path}.model_name", f"{at}.id")
    else:
        leaves.take(f"{path}.model_name", f"policies.yaml: policies.group-{clean}.allowed_models")
    _fill_model(leaves, path, at, entry, params, info)
    catalog.models.append(entry)


def _refusal(name: str, model: str, info: dict[str, Any]) -> tuple[str, str] | None:
    mode = info.get("mode")
    if not name or not model:
        return "a deployment without `model_name` or `litellm_params.model` calls nothing", "leave it out"
    if "*" in name or "*" in model:
        return "a pattern names no model, and the router scores each model", "list the models that you use"
    if mode is not None and mode not in SERVED_MODES:
        return f"the router serves no requests of the mode `{mode}`", "call this provider directly"
    return None


def _owner(model: str, params: dict[str, Any]) -> tuple[str, str]:
    """LiteLLM's name of the provider, and the provider's name of the model."""
    stated = params.get("custom_llm_provider")
    prefix, slash, rest = model.partition("/")
    known = {*OPENAI_URLS, *OWN_ADDRESS, *OTHERS}
    if stated:
        return str(stated), rest if slash and prefix == stated else model
    if slash and prefix == "bedrock" and rest.startswith("converse/"):
        return prefix, rest.removeprefix("converse/")
    if slash and (prefix in known or not params.get("api_base")):
        return prefix, rest
    if model.startswith("claude-") and not params.get("api_base"):
        return "anthropic", model
    return "openai", model


def _provider(leaves: Leaves, path: str, owner: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The provider's entry. None, with everything named, if no kind of provider reaches it."""
    at = f"{path}.litellm_params"
    base = params.get("api_base") or params.get("base_url")
    if isinstance(base, str) and base.startswith(ENVIRONMENT):
        leaves.name(path, "an address in a variable is not read", "write the address itself into `api_base`")
        return None
    if isinstance(base, str) and owner in VERSIONED:
        base = base.rstrip("/").removesuffix("/messages").removesuffix("/v1") + "/v1"
    if owner in OPENAI_URLS:
        usual, variable = OPENAI_URLS[owner]
        entry: dict[str, Any] = {"kind": "openai", "base_url": base or usual}
    elif owner in OWN_ADDRESS and base:
        entry, variable = {"kind": "openai", "base_url": base}, None
    elif owner in OTHERS:
        kind, usual_url, variable = OTHERS[owner]
        region = params.get("aws_region_name")
        if owner == "bedrock" and isinstance(region, str) and not region.startswith(ENVIRONMENT):
            usual_url = f"https://bedrock-runtime.{region}.amazonaws.com"
        entry = {"kind": kind, "base_url": base or usual_url}
        if owner == "bedrock" and region and usual_url:
            entry["region"] = region
    else:
        leaves.name(
            path,
            f"no kind of provider speaks the API of `{owner}`",
            "use a gateway of that provider that speaks OpenAI's API, as `kind: openai` with its address",
        )
        return None
    if owner == "azure":
        entry["api_version"] = str(params.get("api_version") or "2024-10-21")
        entry["base_url"] = _host(entry["base_url"])
    if not _is_usable(entry):
        leaves.name(
            path, "the provider has no usable address", "add `api_base` with host and path, or the region"
        )
        return None
    entry["base_url"] = str(entry["base_url"]).rstrip("/")
    for member in ("api_base", "base_url", "custom_llm_provider", "aws_region_name"):
        leaves.take(f"{at}.{member}", "catalog.yaml: providers.base_url")
    if owner == "azure":
        leaves.take(f"{at}.api_version", "catalog.yaml: providers.api_version")
    _key(leaves, at, entry, params.get("api_key"), variable or f"{owner.upper().replace('-', '_')}_API_KEY")
    if params.get("api_key") is None and variable is None:
        entry.pop("api_key_env", None)
    return entry


def _is_usable(entry: dict[str, Any]) -> bool:
    try:
        ProviderEntry.model_validate(entry)
    except ValidationError:
        return False
    return True


def _host(address: Any) -> str | None:
    parts = urlsplit(str(address or ""))
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else None


def _key(leaves: Leaves, at: str, entry: dict[str, Any], key: Any, variable: str) -> None:
    """The variable that holds the key. A key in the document itself is named, and never written."""
    named = str(key).removeprefix(ENVIRONMENT) if isinstance(key, str) else None
    entry["api_key_env"] = variable
    if isinstance(key, str) and key.startswith(ENVIRONMENT) and named and _VARIABLE.fullmatch(named):
        entry["api_key_env"] = named
        leaves.take(f"{at}.api_key", "catalog.yaml: providers.api_key_env")
    elif key is not None:
        leaves.name(
            f"{at}.api_key", "catalog.yaml holds no keys", f"put the key into the variable {variable}"
        )


def _provider_id(catalog: Catalog, owner: str, entry: dict[str, Any]) -> str:
    for known, other in catalog.providers.items():
        if other == entry:
            return known
    name, number = owner, 1
    while name in catalog.providers:
        number += 1
        name = f"{owner}-{number}"
    catalog.providers[name] = entry
    return name


def _fill_model(
    leaves: Leaves, path: str, at: str, entry: dict[str, Any], params: dict[str, Any], info: dict[str, Any]
) -> None:
    below = f"{path}.litellm_params"
    for member in PARAMETERS:
        if params.get(member) is not None:
            entry.setdefault("parameters", {}).setdefault("default", {})[member] = params[member]
            leaves.take(f"{below}.{member}", f"{at}.parameters.default.{member}")
    timeout = params.get("timeout")
    if isinstance(timeout, int | float) and 0 < timeout <= 3600:
        entry["attempt_timeout_s"] = float(timeout)
        leaves.take(f"{below}.timeout", f"{at}.attempt_timeout_s")
    if isinstance(params.get("drop_params"), bool):
        entry["drop_params"] = params["drop_params"]
        leaves.take(f"{below}.drop_params", f"{at}.drop_params")
    if isinstance(params.get("region_name"), str):
        entry["regions"] = [params["region_name"]]
        leaves.take(f"{below}.region_name", f"{at}.regions")
    for member, reason in SPREADING.items():
        leaves.name(f"{below}.{member}", reason, ADVICE[member])
    leaves.name(
        f"{below}.extra_headers",
        "headers may hold keys, so they are not copied",
        "put headers without secrets into `headers` of the model",
    )
    _fill_info(leaves, f"{path}.model_info", at, entry, info)
    _prices(leaves, path, at, entry, params, info)


def _fill_info(leaves: Leaves, below: str, at: str, entry: dict[str, Any], info: dict[str, Any]) -> None:
    from pipelines.importing.price_names import book_name

    for member, ours in (
        ("max_input_tokens", "context_window"),
        ("max_output_tokens", "max_output_tokens"),
        ("max_tokens", "max_output_tokens"),
    ):
        value = info.get(member)
        if isinstance(value, int) and value > 0 and ours not in entry:
            entry[ours] = value
            leaves.take(f"{below}.{member}", f"{at}.{ours}")
    if info.get("mode") == "embedding":
        entry["vectors"] = entry["id"]
        leaves.take(f"{below}.mode", f"{at}.vectors")
    elif "mode" in info:
        leaves.take(f"{below}.mode", at)
    base = info.get("base_model")
    ref = book_name(str(base), None) if base else None
    if ref is not None:
        entry["price_ref"] = ref
        leaves.take(f"{below}.base_model", f"{at}.price_ref")
    leaves.name(
        f"{below}.base_model", "the price book has no model of this name", "write `prices` of the model"
    )
    leaves.name(f"{below}.id", "a model is known by its name here", "nothing to do")
    for member in info:
        if str(member).startswith("supports_"):
            leaves.name(
                f"{below}.{member}",
                "a model states all of its capabilities or none, and LiteLLM looks up the others",
                "write `capabilities` of the model, if requests must be kept from it",
            )


def _prices(
    leaves: Leaves, path: str, at: str, entry: dict[str, Any], params: dict[str, Any], info: dict[str, Any]
) -> None:
    """A price of the deployment's own. It holds from the beginning, since LiteLLM's prices have no date."""
    rates: dict[str, Any] = {}
    tiers: dict[int, dict[str, Any]] = {}
    places = []
    for section, values in (("litellm_params", params), ("model_info", info)):
        for member, value in values.items():
            amount = _per_million(value)
            tier = ABOVE.fullmatch(str(member))
            if amount is None or (member not in RATES and tier is None):
                continue
            if tier is not None:
                tiers.setdefault(int(tier[2]) * 1000, {})[f"{tier[1]}_usd_per_mtok"] = amount
            else:
                rates.setdefault(RATES[member], amount)
            places.append(f"{path}.{section}.{member}")
    needed = {"input_usd_per_mtok"} | (set() if "vectors" in entry else {"output_usd_per_mtok"})
    if not needed <= rates.keys():
        for place in places:
            leaves.name(
                place,
                "a price needs a rate for input and for output",
                "write `prices` of the model with both",
            )
        return
    price = {"start": "1970-01-01", **rates}
    if "0" in (rates["input_usd_per_mtok"], rates.get("output_usd_per_mtok")):
        price["is_free"] = True
    if tiers:
        price["tiers"] = [
            {"above_input_tokens": above, **{key: rates[key] for key in needed}, **tier}
            for above, tier in sorted(tiers.items())
        ]
    entry["prices"] = [price]
    for place in places:
        leaves.take(place, f"{at}.prices")


def _per_million(value: Any) -> str | None:
    """Dollars for a million tokens, as exact text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value)) * MILLION
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount < 0:
        return None
    text = f"{amount:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
