"""A request's own wishes: parsed strictly, followed exactly."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from router import NoEligibleModelError, Preferences, Request, RequestError, Router
from router.request.preferences import AMOUNTS, SETS
from tests.factories import write_catalog

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.smoke
def test_every_member_is_read() -> None:
    """The members of OpenRouter's `provider` object, and ours, each in its field."""
    parsed = Preferences.parse(
        {
            "order": ["b", "a"],
            "only": ["a", "b"],
            "ignore": ["c"],
            "sort": "price",
            "max_price": {"prompt": "0.5", "completion": 2},
            "allow_fallbacks": False,
            "data_collection": "deny",
            "zdr": True,
            "data_policy": ["hipaa"],
            "regions": ["eu"],
            "min_quality": 0.7,
            "max_cost_usd": 0.01,
            "max_latency_ms": 900,
            "deterministic": True,
        }
    )
    assert parsed == Preferences(
        order=("b", "a"),
        only=frozenset({"a", "b"}),
        ignore=frozenset({"c"}),
        sort="price",
        max_prompt_usd_per_mtok=Decimal("0.5"),
        max_completion_usd_per_mtok=Decimal(2),
        allow_fallbacks=False,
        data_policy=frozenset({"no_training", "zero_retention", "hipaa"}),
        regions=frozenset({"eu"}),
        min_quality=0.7,
        max_cost_usd=Decimal("0.01"),
        max_latency_ms=900.0,
        deterministic=True,
    )


@pytest.mark.parametrize("name", AMOUNTS)
def test_python_may_give_an_amount_as_a_float(name: str) -> None:
    """It counts as the digits that it shows, and equals the exact amount. A text that is none is refused."""
    wanted: dict[str, Any] = {name: 0.1}
    exact: dict[str, Any] = {name: Decimal("0.1")}
    given = Preferences(**wanted)
    assert given == Preferences(**exact)
    assert isinstance(getattr(given, name), Decimal)
    wanted[name] = "free"
    with pytest.raises(RequestError, match="got `free`"):
        Preferences(**wanted)


@pytest.mark.parametrize("name", SETS)
def test_python_may_give_names_as_a_list(name: str) -> None:
    """They equal a set of them. One text is no list of names."""
    wanted: dict[str, Any] = {name: ["a", "b"]}
    exact: dict[str, Any] = {name: frozenset({"b", "a"})}
    assert hash(Preferences(**wanted)) == hash(Preferences(**exact))
    assert Preferences(order=["b", "a"]).order == ("b", "a")  # type: ignore[arg-type]
    wanted[name] = "gpt-4o"
    with pytest.raises(RequestError, match="got `gpt-4o`"):
        Preferences(**wanted)


@pytest.mark.parametrize(
    ("value", "param", "message"),
    [
        ("cheap", "provider", "must be an object, got `cheap`"),
        ({"sort": "throughput"}, "provider.sort", "`price` or `latency`, got `throughput`"),
        ({"order": "a"}, "provider.order", "list of at most 200 names, got `a`"),
        ({"only": [1]}, "provider.only", r"got `\[1\]`"),
        ({"max_price": {"request": 1}}, "provider.max_price", "`prompt` and `completion`"),
        ({"max_price": {"prompt": -1}}, "provider.max_price.prompt", "not negative, got `-1`"),
        ({"max_cost_usd": "free"}, "provider.max_cost_usd", "got `free`"),
        ({"max_cost_usd": True}, "provider.max_cost_usd", "got `True`"),
        ({"min_quality": 1.5}, "provider.min_quality", "from 0 to 1, got `1.5`"),
        ({"max_latency_ms": float("nan")}, "provider.max_latency_ms", "got `nan`"),
        ({"allow_fallbacks": "no"}, "provider.allow_fallbacks", "true or false, got `no`"),
        ({"data_collection": "maybe"}, "provider.data_collection", "got `maybe`"),
        ({"quantizations": ["int4"]}, "provider.quantizations", "unknown member `quantizations`"),
    ],
)
def test_what_cannot_be_followed_is_refused(value: Any, param: str, message: str) -> None:
    """Nothing is dropped silently: the error names the member and the value."""
    with pytest.raises(RequestError, match=message) as caught:
        Preferences.parse(value)
    assert caught.value.param == param


ENTRIES: list[dict[str, Any]] = [
    {
        "id": "eu",
        "regions": ["eu", "us"],
        "data_policy": ["no_training"],
        "prices": [{"start": "2026-01-01", "input_usd_per_mtok": 1, "output_usd_per_mtok": 4}],
        "quality_scores": {"*": 0.6},
    },
    {
        "id": "us",
        "regions": ["us"],
        "data_policy": [],
        "prices": [{"start": "2026-01-01", "input_usd_per_mtok": 5, "output_usd_per_mtok": 20}],
        "quality_scores": {"*": 0.9},
    },
    {"id": "unstated"},
]


@pytest.mark.parametrize(
    ("wishes", "left", "reason"),
    [
        ({"only": ["us"]}, {"us"}, "`only` does not list it"),
        ({"ignore": ["us", "unstated"]}, {"eu"}, "`ignore` lists it"),
        ({"regions": ["eu"]}, {"eu"}, "not stated to serve from `eu`, which the request requires"),
        ({"data_collection": "deny"}, {"eu"}, "does not state `no_training`, which the request requires"),
        ({"max_price": {"prompt": 1}}, {"eu"}, r"prompt price of \$5 per million tokens exceeds"),
        ({"max_price": {"completion": 10}}, {"eu"}, "price is not known, and the request sets a `max_price`"),
        ({"min_quality": 0.8}, {"us"}, "expected quality 0.600 is below the 0.8 the request requires"),
        ({"max_cost_usd": 0.004}, {"eu", "unstated"}, "exceeds the .0.004 that the request allows"),
    ],
)
def test_a_wish_excludes_and_says_why(tmp_path: Path, wishes: Any, left: set[str], reason: str) -> None:
    """Exactly the models that do not meet it; what somebody relies on must be stated."""
    write_catalog(tmp_path, ENTRIES)
    with Router.open(home=tmp_path, seed=1) as router:
        decision = router.route(Request(messages=MESSAGES, preferences=Preferences.parse(wishes)))
    assert {item.model for item in decision.candidates if item.is_eligible} >= left - {"unstated"}
    excluded = {item.model: item.exclusion or "" for item in decision.candidates if not item.is_eligible}
    assert excluded.keys() == {"eu", "us", "unstated"} - left
    assert any(re.search(reason, text) for text in excluded.values())


@pytest.mark.smoke
def test_an_unknown_name_is_a_typing_error(tmp_path: Path) -> None:
    """A provider or model that the catalog lacks is refused with the nearest, not taken as met by none."""
    write_catalog(tmp_path, ENTRIES)
    with (
        Router.open(home=tmp_path) as router,
        pytest.raises(RequestError, match=r"names `eur`, which is neither a provider nor a model.*`eu`"),
    ):
        router.route(Request(messages=MESSAGES, preferences=Preferences(only=frozenset({"eur"}))))


@pytest.mark.smoke
def test_contradictory_wishes_leave_nothing_and_say_why(tmp_path: Path) -> None:
    """Each model stands with the wish that excludes it."""
    write_catalog(tmp_path, ENTRIES)
    wishes = Preferences(only=frozenset({"us"}), regions=frozenset({"eu"}))
    with Router.open(home=tmp_path) as router, pytest.raises(NoEligibleModelError) as caught:
        router.route(Request(messages=MESSAGES, preferences=wishes))
    assert caught.value.exclusions.keys() == {"eu", "us", "unstated"}
    assert "`us`: it is not stated to serve from `eu`" in str(caught.value)
