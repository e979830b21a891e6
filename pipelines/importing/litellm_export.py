"""Our documents and keys as LiteLLM's `config.yaml` and rows of its table of keys: the way back.

Each leaf of the documents is mapped, or named with the reason and an advice. A key never opens more at
LiteLLM than here: one whose models cannot be named there is left out. It writes the members that
`litellm_config` reads, so that an imported folder comes back as it was.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.errors import ImportSourceError
from pipelines.importing.deployment_export import GROUP, deployment
from pipelines.importing.leaves import Finding, Leaves
from pipelines.importing.litellm_config import EACH_USER, SCOPES
from router.configuration.documents import CATALOG, EDITED, LIMITS, POLICIES
from router.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from router.keys.keys import KeyEntry

KEYS = "keys.json"
DURATIONS = {"day": "1d", "week": "7d", "month": "1mo"}
MASTER_KEY = {"master_key": "os.environ/LITELLM_MASTER_KEY", "database_url": "os.environ/DATABASE_URL"}
"""Without a master key LiteLLM asks for no key. Its keys are in its database."""
FREE = "LiteLLM chooses by `routing_strategy`, and not by quality"
REASONS = (
    (f"{CATALOG}.tasks", "LiteLLM has no tasks", "nothing to do"),
    (f"{CATALOG}.aliases", "LiteLLM has no `auto`", "let clients ask for a model"),
    (POLICIES, FREE, "set `router_settings.routing_strategy`, and `fallbacks`"),
    ("experiments.yaml", "LiteLLM has no experiments", "finish them here first"),
    ("retention.yaml", "LiteLLM has one period for its logs",
     "set `general_settings.maximum_spend_logs_retention_period`"),
    ("organizations.yaml", "LiteLLM keeps organisations in its database",
     "make them with `/organization/new`"),
    (LIMITS, "LiteLLM keeps limits of users, teams and organisations in its database",
     "set them with `/user/new` or `/team/new`"),
    (KEYS, "a key of LiteLLM has models, an owner and an expiry", "nothing to do, unless you rely on it"),
)  # fmt: skip
"""Reason and advice by the start of the path, the first that fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The configuration for LiteLLM, nothing of which is written yet."""

    config: bytes
    keys: tuple[dict[str, Any], ...]
    """Rows of `LiteLLM_VerificationToken`."""
    mapped: Mapping[str, str]
    """Path in our documents to the place in LiteLLM's."""
    findings: tuple[Finding, ...]
    leaves: int


def export(documents: Mapping[str, bytes], keys: Sequence[KeyEntry] = (), *, now: datetime) -> Exported:
    """LiteLLM's configuration of valid documents, and the keys that it can take at a moment."""
    if CATALOG not in documents:
        raise ImportSourceError("catalog.yaml is missing: name a data folder that has one with --home")
    trees = {name: yaml.safe_load(documents[name]) or {} for name in EDITED if name in documents}
    entries = [key.model_dump(mode="json", exclude_none=True) for key in keys]
    leaves = Leaves({**trees, **({KEYS: entries} if entries else {})})
    groups = _groups(leaves, trees)
    models = [
        deployment(leaves, f"{CATALOG}.models[{number}]", trees[CATALOG], model, groups, now=now)
        for number, model in enumerate(trees[CATALOG]["models"])
    ]
    settings = _drop_params(leaves, trees[CATALOG])
    config: dict[str, Any] = {"model_list": models}
    rows = [_key(leaves, number, key, groups, now) for number, key in enumerate(keys)]
    owners = {key.id: row for key, row in zip(keys, rows, strict=True) if row}
    each_user = _limits(leaves, trees.get(LIMITS, {}), owners)
    if each_user:
        settings["default_internal_user_params"] = each_user
    if settings:
        config["litellm_settings"] = settings
    aliases = _aliases(leaves, trees[CATALOG], groups)
    if aliases:
        config["router_settings"] = {"model_group_alias": aliases}
    if any(rows):
        config["general_settings"] = MASTER_KEY
    for leaf in leaves.rest():
        reason, advice = next(
            ((reason, advice) for start, reason, advice in REASONS if leaf.startswith(start)),
            ("LiteLLM has no such member", "nothing to do, unless you rely on it"),
        )
        leaves.name(leaf, reason, advice)
    return Exported(
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode(),
        keys=tuple(row for row in rows if row),
        mapped=leaves.mapped,
        findings=tuple(leaves.findings),
        leaves=len(leaves.values),
    )


def write_export(exported: Exported, config: Path, keys: Path | None) -> None:
    """Write both files. ImportSourceError, with nothing written, if one exists."""
    for path in (config, keys):
        if path is not None and path.exists():
            raise ImportSourceError(f"`{path}` exists and is left as it is: name a new file")
    if keys is not None:
        lines = "".join(json.dumps(row) + "\n" for row in exported.keys)
        write_atomically(keys, lines.encode(), mode=0o600)
    write_atomically(config, exported.config)


def _groups(leaves: Leaves, trees: Mapping[str, Any]) -> dict[str, str]:
    """LiteLLM's model name of each model: its own, or that of the policy which says that they are alike."""
    names = {model["id"]: model["id"] for model in trees[CATALOG]["models"]}
    for number, policy in enumerate(trees.get(POLICIES, {}).get("policies") or ()):
        name = str(policy["id"]).removeprefix(GROUP)
        members = policy.get("allowed_models") or ()
        is_group = policy.keys() == {"id", "version", "allowed_models"} and policy["id"] == f"{GROUP}{name}"
        if is_group and name in members and all(names.get(model) == model for model in members):
            names |= dict.fromkeys(members, name)
            leaves.take(f"{POLICIES}.policies[{number}]", f"model_list: model_name {name}")
    return names


def _drop_params(leaves: Leaves, catalog: Mapping[str, Any]) -> dict[str, Any]:
    """One value for all providers is one setting. Others are said for each model."""
    said = {provider.get("drop_params") for provider in catalog["providers"].values()}
    if len(said) != 1 or None in said:
        return {}
    for name in catalog["providers"]:
        leaves.take(f"{CATALOG}.providers.{name}.drop_params", "litellm_settings.drop_params")
    return {"drop_params": said.pop()}


def _aliases(leaves: Leaves, catalog: Mapping[str, Any], groups: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for alias, model in (catalog.get("aliases") or {}).items():
        if model in groups:
            found[alias] = groups[model]
            leaves.take(f"{CATALOG}.aliases.{alias}", "router_settings.model_group_alias")
    return found


def _key(
    leaves: Leaves, number: int, key: KeyEntry, groups: Mapping[str, str], now: datetime
) -> dict[str, Any] | None:
    """A row of LiteLLM's table of keys. None, with the reason, for a key that would open more there."""
    at = f"{KEYS}[{number}]"
    if "route" not in key.scopes:
        leaves.name(at, "a key of LiteLLM always calls models", "make the key at LiteLLM, if you need it")
        return None
    living = [item for item in key.secrets if item.expires_at is None or item.expires_at > now]
    if not living:
        leaves.name(at, "none of its secrets lives", "nothing to do")
        return None
    allowed = None
    if key.models is not None:
        whole = defaultdict(set)
        for model, name in groups.items():
            whole[name].add(model)
        allowed = sorted(name for name, members in whole.items() if members <= set(key.models))
        if not allowed:
            leaves.name(
                at,
                "its models cannot be named at LiteLLM without others, so that it would open more",
                "make the key at LiteLLM",
            )
            return None
        covered = {model for name in allowed for model in whole[name]}
        for place, model in enumerate(key.models):
            if model in covered:
                leaves.take(f"{at}.models[{place}]", "models")
            else:
                leaves.name(
                    f"{at}.models[{place}]", "LiteLLM uses its name for other models too", "add it there"
                )
    secret = max(living, key=lambda item: item.created_at)
    row: dict[str, Any] = {"token": secret.sha256, "key_alias": key.name}
    if allowed is not None:
        row["models"] = allowed
    if key.organization_id is not None:
        row["team_id"] = key.organization_id
    if key.user_id is not None:
        row["user_id"] = key.user_id
    row["created_at"] = _text(key.created_at)
    ends = [moment for moment in (key.expires_at, secret.expires_at) if moment is not None]
    if ends:
        row["expires"] = _text(min(ends))
    if key.revoked_at is not None and key.revoked_at <= now:
        row["blocked"] = True
    place = key.secrets.index(secret)
    if key.id != f"key_{secret.sha256[:12]}":
        leaves.name(f"{at}.id", "LiteLLM knows a key by its hash", "nothing to do")
    for member in ("id", "name", "organization_id", "user_id", "created_at", "expires_at", "revoked_at"):
        leaves.take(f"{at}.{member}", "keys")
    leaves.take(f"{at}.secrets[{place}]", "keys: token")
    leaves.name(f"{at}.secrets", "a key of LiteLLM has one secret", "let clients take the newest one")
    for place, scope in enumerate(key.scopes):
        if scope in SCOPES:
            leaves.take(f"{at}.scopes[{place}]", "keys")
    leaves.name(
        f"{at}.scopes", "at LiteLLM only the master key administers", "use LITELLM_MASTER_KEY for that"
    )
    return row


def _limits(leaves: Leaves, limits: Mapping[str, Any], rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Put rates and budgets of keys into their rows. Returns those of each user."""
    each_user: dict[str, Any] = {}
    for number, item in enumerate(limits.get("limits") or ()):
        at, owner = f"{LIMITS}.limits[{number}]", _owner(item, rows, each_user)
        if owner is None or item["per"] != "minute":
            if owner is not None:
                leaves.name(at, "a rate of LiteLLM counts for a minute", "choose a rate for a minute")
            continue
        for unit, member in (("requests", "rpm_limit"), ("tokens", "tpm_limit")):
            if item.get(unit) is not None:
                owner[member] = item[unit]
        leaves.take(at, "rpm_limit, tpm_limit")
    for number, item in enumerate(limits.get("budgets") or ()):
        at, owner = f"{LIMITS}.budgets[{number}]", _owner(item, rows, each_user)
        if owner is None:
            continue
        if item["period"] not in DURATIONS or item["mode"] != "hard" or "max_budget" in owner:
            leaves.name(
                at,
                "LiteLLM has one budget of a subject, which refuses, for a day, a week or a month",
                "choose one of its budgets",
            )
            continue
        usd = Decimal(str(item["usd"]))
        owner["max_budget"] = int(usd) if usd == usd.to_integral_value() else float(usd)
        owner["budget_duration"] = DURATIONS[item["period"]]
        if item["id"] not in (item["subject"], EACH_USER):
            leaves.name(f"{at}.id", "a budget of LiteLLM has no name", "nothing to do")
        leaves.name(f"{at}.alert_at", "LiteLLM alerts at shares of its own", "set up `alerting`")
        leaves.take(at, "max_budget, budget_duration")
    return each_user


def _owner(
    item: Mapping[str, Any], rows: Mapping[str, dict[str, Any]], each_user: dict[str, Any]
) -> dict[str, Any] | None:
    """The place for the rate or the budget of a subject. None: LiteLLM keeps it in its database."""
    if item["scope"] == "key":
        return rows.get(str(item["subject"]))
    return each_user if item["scope"] == "user" and item["subject"] == "*" else None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
