"""LiteLLM's `config.yaml` and its keys as catalog, policies, limits and keys of a new data folder.

Each leaf of the file is mapped, or named with its value (masked if it may be a secret), the reason and an
advice. Everything is checked before anything is written, and existing documents are never replaced.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.errors import ImportSourceError
from pipelines.importing.deployments import ENVIRONMENT, Catalog, add_deployment
from pipelines.importing.leaves import Finding, Leaves
from router.configuration.changing import apply
from router.configuration.documents import CATALOG, LIMITS, POLICIES
from router.configuration.folder import StateFolder
from router.errors import has_secret
from router.keys.keys import KeyEntry, KeyFile, KeysFile, SecretEntry, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from router.config import Settings
    from router.keys.keys import Scope

SCOPES: tuple[Scope, ...] = ("route", "feedback", "usage", "budgets")
"""The scopes of an imported key: to call models, judge answers and read its own use."""
PERIODS = {
    "1d": "day", "24h": "day", "86400s": "day", "daily": "day", "1440m": "day", "7d": "week", "1w": "week",
    "weekly": "week", "30d": "month", "1mo": "month", "monthly": "month", "31d": "month",
}  # fmt: skip
"""LiteLLM's durations that are a period here. Ours follow the calendar."""
EACH_USER = "each-user"
"""The id of the budget of each user."""
_DIGEST = re.compile(r"[0-9a-f]{64}")

REASONS = (
    ("litellm_settings.request_timeout", "it is a setting of the process", "set REQUEST_TIMEOUT_S"),
    ("router_settings.timeout", "it is a setting of the process", "set REQUEST_TIMEOUT_S"),
    ("litellm_settings.num_retries", "it is a setting of the process", "set MAX_RETRIES"),
    ("router_settings.num_retries", "it is a setting of the process", "set MAX_RETRIES"),
    ("general_settings.database_url", "it is a setting that may hold a password",
     "set DATABASE_URL"),
    ("router_settings.redis", "it is a setting that may hold a password", "set REDIS_URL"),
    ("litellm_settings.cache", "the router keeps no answers", "use the prompt caches of the providers"),
    ("router_settings.routing_strategy", "models are chosen by their scores",
     "set DEFAULT_POLICY: `cheapest` for cost, `fastest` for latency, else `balanced`"),
    ("router_settings.model_group_alias", "a model has one name",
     "let clients ask for the model, or for `auto`"),
    ("router_settings.fallbacks", "a failed request goes to the next best model by itself",
     "bound the choice by a policy with `allowed_models`"),
    ("litellm_settings.fallbacks", "a failed request goes to the next best model by itself",
     "bound the choice by a policy with `allowed_models`"),
    ("litellm_settings.default_fallbacks", "a failed request goes to the next best model by itself",
     "bound the choice by a policy with `allowed_models`"),
    ("litellm_settings.context_window_fallbacks", "a model whose window is too small is not chosen",
     "write `context_window` of each model"),
    ("litellm_settings.content_policy_fallbacks", "another model serves a request that a filter refuses",
     "set `content_filter_fallback` of a policy"),
    ("router_settings", "the router ejects and retries by its own rules", "see MAX_ATTEMPTS and MAX_RETRIES"),
    ("litellm_settings.callbacks", "records and traces replace callbacks",
     "set OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("litellm_settings.success_callback", "records and traces replace callbacks",
     "set OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("litellm_settings.failure_callback", "records and traces replace callbacks",
     "set OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("litellm_settings.service_callback", "records and traces replace callbacks",
     "set OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("litellm_settings.max_budget", "a budget has a subject",
     "put a budget for the organisation into limits.yaml"),
    ("litellm_settings.budget_duration", "a budget has a subject",
     "put a budget for the organisation into limits.yaml"),
    ("litellm_settings", "the router has no such setting", "see the settings in router/README.md"),
    ("general_settings.alert", "alerts are files and webhooks of the pipelines", "see pipelines/README.md"),
    ("general_settings.master_key", "it is in a variable, and only its hash would be kept",
     "make a key with `intellirouter keys create --scope admin`"),
    ("general_settings", "the router has no such setting", "see the settings in router/README.md"),
    ("environment_variables", "documents hold no variables of the process", "set it where the router starts"),
    ("credential_list", "documents hold no keys",
     "put the key into a variable, and name it in `api_key_env`"),
    ("guardrails", "the router does not judge texts", "keep the filter in front of the router"),
    ("mcp_servers", "the router serves no tools", "connect clients to the server itself"),
    ("vector_store_registry", "the router serves no vector stores", "connect clients to the store itself"),
    ("search_tools", "the router serves no tools", "connect clients to the tool itself"),
    ("include", "only one file is read", "import each file that it names, or merge them"),
)  # fmt: skip
"""Reason and advice by the start of the path, the first that fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The documents of a configuration, nothing of which is written yet."""

    documents: Mapping[str, bytes]
    keys: tuple[KeyEntry, ...]
    mapped: Mapping[str, str]
    """Path in the source to the place in ours."""
    findings: tuple[Finding, ...]
    leaves: int


def read_config(path: Path) -> dict[str, Any]:
    """The tree of a config.yaml. ImportSourceError if it is none."""
    try:
        tree = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise ImportSourceError(f"the file `{path}` does not exist: name LiteLLM's config.yaml") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        raise ImportSourceError(f"`{path}` is no YAML{line}: correct it") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("model_list"), list):
        raise ImportSourceError(f"`{path}` has no `model_list`: name LiteLLM's config.yaml")
    return tree


def read_keys(path: Path) -> list[dict[str, Any]]:
    """Rows of `LiteLLM_VerificationToken`: lines of JSON, or an array. ImportSourceError if it is neither."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        found = (
            json.loads(text)
            if text.startswith("[")
            else [json.loads(line) for line in text.splitlines() if line]
        )
    except FileNotFoundError:
        raise ImportSourceError(
            f"the file `{path}` does not exist: name an export of LiteLLM_VerificationToken"
        ) from None
    except (OSError, ValueError):
        raise ImportSourceError(
            f"`{path}` is neither JSONL nor a JSON array: export the keys as JSON"
        ) from None
    if not all(isinstance(row, dict) for row in found):
        raise ImportSourceError(f"`{path}` holds values that are no rows: export the keys as JSON")
    return found


def convert(
    tree: dict[str, Any], keys: Iterable[Mapping[str, Any]] = (), *, now: datetime | None = None
) -> Converted:
    """The documents for a configuration, and for rows of `LiteLLM_VerificationToken`.

    ImportSourceError if no deployment can be served.
    """
    moment = now or datetime.now(UTC)
    rows = list(keys)
    leaves = Leaves({**tree, "keys": rows} if rows else tree)
    catalog = Catalog()
    for number, item in enumerate(tree["model_list"]):
        if isinstance(item, dict):
            add_deployment(catalog, leaves, f"model_list[{number}]", item)
    if not catalog.models:
        reasons = sorted({finding.reason for finding in leaves.findings})
        raise ImportSourceError(
            f"no deployment of the file can be served: {'; '.join(reasons) or 'it lists none'}"
        )
    limits: dict[str, list[dict[str, Any]]] = {"limits": [], "budgets": []}
    _settings(tree, leaves, catalog, limits)
    entries = _master_key(tree, leaves, moment)
    for number, row in enumerate(rows):
        entry = _key(leaves, f"keys[{number}]", row, catalog, limits, moment)
        if entry is not None:
            entries.append(entry)
    for leaf in leaves.rest():
        reason, advice = next(
            ((reason, advice) for start, reason, advice in REASONS if leaf.startswith(start)),
            ("it is not known here", "see the documents in router/README.md"),
        )
        leaves.name(leaf, reason, advice)
    documents: dict[str, bytes] = {
        CATALOG: _yaml({"providers": catalog.providers, "models": catalog.models}),
    }
    policies = _policies(catalog)
    if policies:
        documents[POLICIES] = _yaml({"policies": policies})
    if limits["limits"] or limits["budgets"]:
        documents[LIMITS] = _yaml({name: found for name, found in limits.items() if found})
    return Converted(
        documents=documents,
        keys=tuple(entries),
        mapped=leaves.mapped,
        findings=tuple(sorted(leaves.findings, key=lambda finding: finding.path)),
        leaves=len(leaves.values),
    )


def write(settings: Settings, converted: Converted) -> None:
    """Put the documents and the keys into the data folder, all or nothing.

    ImportSourceError if one of them exists. ConfigError for a set that cannot be used.
    """
    if settings.database_url is not None:
        raise ImportSourceError(
            "documents are in DATABASE_URL: unset it, import into a folder, and push that"
        )
    files = [settings.home / name for name in converted.documents] + [settings.keys_file]
    for path in files:
        if path.exists():
            raise ImportSourceError(f"`{path}` exists and is left as it is: import into an empty folder")
    KeysFile(keys=converted.keys)  # two keys with one secret are refused before anything is written
    is_new = not settings.home.exists()
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        apply(StateFolder(settings.home), settings, converted.documents, origin="applied")
    except BaseException:
        if is_new:
            _remove_empty(settings.home)
        raise
    if converted.keys:
        with KeyFile(settings.keys_file).held() as held:
            held.write(converted.keys)


def _remove_empty(home: Path) -> None:
    """Remove a folder that this import made and that holds no documents."""
    import shutil

    if not (home / CATALOG).exists():
        shutil.rmtree(home)


def _settings(
    tree: dict[str, Any], leaves: Leaves, catalog: Catalog, limits: dict[str, list[dict[str, Any]]]
) -> None:
    """The few settings of LiteLLM that are documents here."""
    found = tree.get("litellm_settings")
    if not isinstance(found, dict):
        return
    if isinstance(found.get("drop_params"), bool):
        for entry in catalog.providers.values():
            entry["drop_params"] = found["drop_params"]
        leaves.take("litellm_settings.drop_params", "catalog.yaml: providers.drop_params")
    each = found.get("default_internal_user_params")
    at = "litellm_settings.default_internal_user_params"
    if isinstance(each, dict):
        _allowance(leaves, at, each, "user", "*", EACH_USER, limits)
    if "max_internal_user_budget" in found and not any(item["scope"] == "user" for item in limits["budgets"]):
        values = {
            "max_budget": found["max_internal_user_budget"],
            "budget_duration": found.get("internal_user_budget_duration"),
        }
        if _budget(values, "user", "*", EACH_USER, limits):
            for member in ("max_internal_user_budget", "internal_user_budget_duration"):
                leaves.take(f"litellm_settings.{member}", "limits.yaml: budgets.each-user")


def _allowance(
    leaves: Leaves, at: str, values: Mapping[str, Any], scope: str, subject: str, name: str,
    limits: dict[str, list[dict[str, Any]]],
) -> None:  # fmt: skip
    """Rates and the budget of one subject."""
    for member, unit in (("rpm_limit", "requests"), ("tpm_limit", "tokens")):
        value = values.get(member)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            limits["limits"].append({"scope": scope, "subject": subject, unit: value, "per": "minute"})
            leaves.take(f"{at}.{member}", f"limits.yaml: limits.{scope}.{subject}.{unit}")
    if values.get("max_budget") is None:
        return
    if _budget(values, scope, subject, name, limits):
        for member in ("max_budget", "budget_duration"):
            leaves.take(f"{at}.{member}", f"limits.yaml: budgets.{name}")
        return
    for member in ("max_budget", "budget_duration"):
        leaves.name(
            f"{at}.{member}",
            "a budget counts for a day, a week or a month of the calendar",
            "put a budget with one of these periods into limits.yaml",
        )


def _budget(
    values: Mapping[str, Any], scope: str, subject: str, name: str, limits: dict[str, list[dict[str, Any]]]
) -> bool:
    period = PERIODS.get(str(values.get("budget_duration")))
    try:
        usd = Decimal(str(values["max_budget"]))
    except InvalidOperation:
        return False
    if period is None or not usd.is_finite() or usd < 0:
        return False
    limits["budgets"].append(
        {"id": name, "scope": scope, "subject": subject, "usd": str(usd), "period": period, "mode": "hard"}
    )
    return True


def _policies(catalog: Catalog) -> list[dict[str, Any]]:
    """A policy for each of LiteLLM's model names with several deployments."""
    return [
        {"id": f"group-{ids[0]}", "version": 1, "allowed_models": sorted(ids)}
        for ids in catalog.groups.values()
        if len(ids) > 1
    ]


def _master_key(tree: dict[str, Any], leaves: Leaves, moment: datetime) -> list[KeyEntry]:
    general = tree.get("general_settings")
    key = general.get("master_key") if isinstance(general, dict) else None
    if not isinstance(key, str) or key.startswith(ENVIRONMENT) or not key:
        return []
    leaves.take("general_settings.master_key", "keys.json: SHA-256 of a key with the scope admin")
    digest = digest_of(key)
    return [
        KeyEntry(
            id=f"key_{digest[:12]}",
            name="LiteLLM master key",
            scopes=("route", "admin"),
            created_at=moment,
            secrets=(SecretEntry(sha256=digest, created_at=moment),),
        )
    ]


def _key(
    leaves: Leaves, at: str, row: Mapping[str, Any], catalog: Catalog,
    limits: dict[str, list[dict[str, Any]]], moment: datetime,
) -> KeyEntry | None:  # fmt: skip
    """A row of `LiteLLM_VerificationToken`. Its token is the SHA-256 of the key, as here."""
    token = str(row.get("token") or "")
    if not _DIGEST.fullmatch(token):
        leaves.name(at, "`token` is no SHA-256 of a key", "export the table LiteLLM_VerificationToken itself")
        return None
    key_id = f"key_{token[:12]}"
    target = f"keys.json: {key_id}"
    name = str(row.get("key_alias") or f"LiteLLM key {token[:6]}")[:255]
    if has_secret(name):
        name = f"LiteLLM key {token[:6]}"
        leaves.name(f"{at}.key_alias", "the name of a key may not look like a key", "nothing to do")
    models = _list(row.get("models"))
    named = [name for model in models for name in catalog.groups.get(model, ())]
    if any(model not in catalog.groups for model in models):
        leaves.name(
            f"{at}.models",
            "a key lists models by name; the others were left out"
            + ("" if named else ", and the key was left out, since it would open every model"),
            "make a key with `intellirouter keys create --model`",
        )
        if not named:
            leaves.name(
                at, "its models are not in the catalog", "make a key with `intellirouter keys create`"
            )
            return None
    created, expires = _moment(row.get("created_at")) or moment, _moment(row.get("expires"))
    blocked = str(row.get("blocked")).lower() in ("true", "1", "t")
    for member in (
        "token",
        "key_alias",
        "models",
        "organization_id",
        "team_id",
        "user_id",
        "created_at",
        "expires",
        "blocked",
    ):
        leaves.take(f"{at}.{member}", target)
    organization = row.get("organization_id") or row.get("team_id")
    if row.get("organization_id") and row.get("team_id"):
        leaves.mapped.pop(f"{at}.team_id", None)
        leaves.name(f"{at}.team_id", "a key has one organisation", "send the team as a tag")
    values = {
        member: _number(row.get(member)) if member != "budget_duration" else row.get(member)
        for member in ("rpm_limit", "tpm_limit", "max_budget", "budget_duration")
    }
    _allowance(leaves, at, values, "key", key_id, key_id, limits)
    for member, value in row.items():
        if value in (None, "", [], {}, "{}", "[]", 0, False, "0", "0.0", "f", "false", "False"):
            leaves.take(f"{at}.{member}", "empty")
        else:
            leaves.name(
                f"{at}.{member}",
                "a key has scopes, models, an owner and limits",
                "nothing to do, unless you rely on it",
            )
    return KeyEntry(
        id=key_id,
        name=name,
        scopes=SCOPES,
        models=tuple(named) or None,
        organization_id=str(organization)[:255] if organization else None,
        user_id=str(row["user_id"])[:255] if row.get("user_id") else None,
        created_at=created,
        expires_at=expires,
        revoked_at=moment if blocked else None,
        secrets=(SecretEntry(sha256=token, created_at=created),),
    )


def _list(value: Any) -> list[str]:
    """A list of texts, also as JSON or as PostgreSQL writes arrays."""
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except ValueError:
            value = [item.strip('"') for item in value.strip("{}").split(",") if item]
    return [str(item) for item in value] if isinstance(value, list) else []


def _number(value: Any) -> Any:
    if isinstance(value, str) and value.strip():
        try:
            amount = Decimal(value)
        except InvalidOperation:
            return value
        return int(amount) if amount == amount.to_integral_value() and "." not in value else value
    return value


def _moment(value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _yaml(tree: Any) -> bytes:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode()
