"""Constraints and wishes of one request: OpenRouter's `provider` object, and a few more members.

    {"order": ["openai"], "ignore": ["gpt-4o"], "max_price": {"prompt": 1}, "allow_fallbacks": false}

A member with OpenRouter's name has OpenRouter's meaning. `order`, `only` and `ignore` take
the ids of models as well as the names of providers.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, get_args

from router.errors import RequestError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

Sort = Literal["price", "latency"]
MAX_NAMES = 200
"""Entries of one list of names."""
MEMBERS = (
    "allow_fallbacks",
    "data_collection",
    "data_policy",
    "deterministic",
    "ignore",
    "max_cost_usd",
    "max_latency_ms",
    "max_price",
    "min_quality",
    "only",
    "order",
    "regions",
    "sort",
    "zdr",
)

AMOUNTS = ("max_prompt_usd_per_mtok", "max_completion_usd_per_mtok", "max_cost_usd")
"""Members that are dollars."""
SETS = ("only", "ignore", "data_policy", "regions", "allowed_models")
"""Members that are names in no order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """Constraints and wishes of one request. They are hashable, so that equal ones share a plan."""

    order: tuple[str, ...] = ()
    """Providers or models to try first, in this order. The others follow unless fallbacks are off."""
    only: frozenset[str] | None = None
    """The providers or models that may be used; None: any."""
    ignore: frozenset[str] = frozenset()
    """Providers or models that may not be used."""
    sort: Sort | None = None
    """Take the cheapest or the fastest model instead of the policy's choice."""
    max_prompt_usd_per_mtok: Decimal | float | None = None
    max_completion_usd_per_mtok: Decimal | float | None = None
    allow_fallbacks: bool = True
    """Whether another model may answer when the chosen one fails."""
    data_policy: frozenset[str] = frozenset()
    """Labels that a model's `data_policy` must state."""
    regions: frozenset[str] | None = None
    """A model must serve from at least one of these regions."""
    min_quality: float | None = None
    max_cost_usd: Decimal | float | None = None
    """Largest expected cost of this request. A float counts as the digits that Python prints for it."""
    max_latency_ms: float | None = None
    """Longest expected latency."""
    deterministic: bool = False
    """Take the model of highest utility, and do not explore."""
    allowed_models: frozenset[str] | None = None
    """Models the caller may use, whatever the other members say; None: any. `provider` cannot set it."""

    def __post_init__(self) -> None:
        """Make amounts decimals, and names a tuple or sets. RequestError for a value that is neither."""
        for name in AMOUNTS:
            value = getattr(self, name)
            if value is not None and type(value) is not Decimal:
                object.__setattr__(self, name, _money(name, value))
        for name, kind in (("order", tuple), *((name, frozenset) for name in SETS)):
            value = getattr(self, name)
            if value is not None and type(value) is not kind:
                object.__setattr__(self, name, kind(_names(name, value)))

    @classmethod
    def parse(cls, value: object) -> Preferences:
        """Preferences from a JSON object; RequestError names the member that is not valid."""
        if not isinstance(value, dict):
            raise _wrong("", value, "an object")
        members = dict(value)
        given: dict[str, Any] = {}
        for name in ("order", "only", "ignore", "data_policy", "regions"):
            if members.get(name) is not None:
                names = _names(name, members[name])
                given[name] = names if name == "order" else frozenset(names)
            members.pop(name, None)
        for name in ("allow_fallbacks", "deterministic"):
            if name in members and not isinstance(given.setdefault(name, members.pop(name)), bool):
                raise _wrong(name, given[name], "true or false")
        if (sort := members.pop("sort", None)) is not None:
            if sort not in get_args(Sort):
                raise _wrong("sort", sort, " or ".join(f"`{item}`" for item in get_args(Sort)))
            given["sort"] = sort
        given.update(_max_price(members.pop("max_price", None)))
        given["data_policy"] = given.get("data_policy", frozenset()) | _openrouter_data_policy(members)
        for name, upper in (("min_quality", 1.0), ("max_latency_ms", None)):
            if members.get(name) is not None:
                given[name] = _number(name, members[name], upper)
            members.pop(name, None)
        if members.get("max_cost_usd") is not None:
            given["max_cost_usd"] = _money("max_cost_usd", members["max_cost_usd"])
        members.pop("max_cost_usd", None)
        if members:
            unknown = min(members, key=str)
            raise RequestError(
                f"unknown member `{unknown!s:.80}` of `provider`: {nearest(str(unknown)[:80], MEMBERS)}",
                param=f"provider.{unknown}",
            )
        return cls(**given)

    @property
    def is_limit_only(self) -> bool:
        """Whether only `allowed_models` is set."""
        return self == Preferences(allowed_models=self.allowed_models)

    def names(self) -> frozenset[str]:
        """Every provider or model the preferences mention."""
        return frozenset(self.order) | (self.only or frozenset()) | self.ignore


def _openrouter_data_policy(members: dict[str, Any]) -> frozenset[str]:
    """`data_collection: deny` and `zdr: true` as labels of the catalog's `data_policy`."""
    labels = set()
    collection = members.pop("data_collection", "allow")
    if collection not in ("allow", "deny"):
        raise _wrong("data_collection", collection, "`allow` or `deny`")
    if collection == "deny":
        labels.add("no_training")
    is_zero = members.pop("zdr", False)
    if not isinstance(is_zero, bool):
        raise _wrong("zdr", is_zero, "true or false")
    if is_zero:
        labels.add("zero_retention")
    return frozenset(labels)


def _max_price(value: object) -> dict[str, Decimal]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not value.keys() <= {"prompt", "completion"}:
        raise _wrong("max_price", value, "an object of `prompt` and `completion`, dollars per million tokens")
    return {
        f"max_{name}_usd_per_mtok": _money(f"max_price.{name}", price)
        for name, price in value.items()
        if price is not None
    }


def _names(member: str, value: object) -> tuple[str, ...]:
    is_list = isinstance(value, list | tuple | set | frozenset) and all(
        isinstance(item, str) and item for item in value
    )
    if not is_list or len(value) > MAX_NAMES:  # type: ignore[arg-type]
        raise _wrong(member, value, f"a list of at most {MAX_NAMES} names")
    return tuple(value)  # type: ignore[arg-type]


def _number(member: str, value: object, upper: float | None) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not is_number or not 0 <= value <= (upper if upper is not None else value):  # type: ignore[operator]
        raise _wrong(member, value, "a number from 0" + (f" to {upper:g}" if upper is not None else ""))
    return float(value)  # type: ignore[arg-type]


def _money(member: str, value: object) -> Decimal:
    try:
        amount = Decimal(str(value)) if isinstance(value, int | float | str | Decimal) else None
    except InvalidOperation:
        amount = None
    if amount is None or isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise _wrong(member, value, "an amount of dollars, not negative")
    return amount


def _wrong(member: str, value: object, expected: str) -> RequestError:
    name = f"provider.{member}" if member else "provider"
    return RequestError(f"`{name}` must be {expected}, got `{value!s:.80}`", param=name)


def check_names(
    preferences: Preferences, known: Mapping[str, object], providers: Mapping[str, object]
) -> None:
    """RequestError for a provider or model that the catalog does not list (most likely a typing error)."""
    for name in sorted(preferences.names()):
        if name not in known and name not in providers:
            raise RequestError(
                f"`provider` names `{name}`, which is neither a provider nor a model:"
                f" {nearest(name, [*providers, *known])}",
                param="provider",
            )
