"""catalog.yaml and policies.yaml: bad files are refused with the place and the remedy."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from router.catalog import EXAMPLE, Catalog
from router.errors import ConfigError
from router.policy import Policies
from tests.factories import write_catalog


def load(tmp_path: Path, text: str) -> Catalog:
    """The catalog of `text`."""
    path = tmp_path / "catalog.yaml"
    path.write_text(text)
    return Catalog.load(path)


PROVIDERS = "providers: {p: {kind: openai, base_url: 'http://h/v1'}}\n"


def test_the_example_is_usable(tmp_path: Path) -> None:
    """What `intellirouter init` writes loads, with exact prices."""
    catalog = load(tmp_path, EXAMPLE)
    (price,) = catalog.models["gpt-4o-mini"].prices
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (Decimal("0.15"), Decimal("0.60"))


def test_a_missing_catalog_says_how_to_get_one(tmp_path: Path) -> None:
    """An empty data folder names the file and the command that writes it."""
    with pytest.raises(ConfigError, match=r"catalog\.yaml.*intellirouter init"):
        Catalog.load(tmp_path / "catalog.yaml")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("providers: [", "not valid YAML"),
        ("", "providers: Field required"),
        (PROVIDERS + "models: [{id: m, provider: q}]", "unknown provider `q`"),
        (PROVIDERS + "models: [{id: m, provider: p}, {id: m, provider: p}]", "`m` is taken"),
        (PROVIDERS + "models: [{id: auto, provider: p}]", "`auto` is the router's"),
        (PROVIDERS + "models: [{id: 'a b', provider: p}]", "models.0.id.*got `a b`"),
        (PROVIDERS + "models: [{id: m, provider: p, contextwindow: 5}]", "models.0.contextwindow"),
        (PROVIDERS + "models: [{id: m, provider: p, context_window: 0}]", "context_window.*got `0`"),
        (
            PROVIDERS + "models: [{id: m, provider: p, prices: "
            "[{start: 2026-01-01, input_usd_per_mtok: -1, output_usd_per_mtok: 1}]}]",
            "input_usd_per_mtok.*got `-1`",
        ),
        (
            PROVIDERS + "models: [{id: m, provider: p, prices: "
            "[{start: 2026-01-01, input_usd_per_mtok: 1, output_usd_per_mtok: 1},"
            " {start: 2026-01-01, input_usd_per_mtok: 2, output_usd_per_mtok: 1}]}]",
            "start at the same moment",
        ),
        ("providers: {p: {kind: openai, base_url: 'http://u@h/v1'}}\nmodels: []", "base_url"),
        ("providers: {p: {kind: openai, base_url: 'file:///etc/passwd'}}\nmodels: []", "base_url"),
    ],
)
def test_a_bad_catalog_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    """The error names the file, the place within it and the value."""
    with pytest.raises(ConfigError, match=f"catalog.yaml(?s:.*){complaint}"):
        load(tmp_path, text)


def test_the_digest_names_the_content(tmp_path: Path) -> None:
    """Another content is another configuration."""
    first = Catalog.load(write_catalog(tmp_path / "a"))
    second = Catalog.load(write_catalog(tmp_path / "b", ["other"]))
    assert first.digest != second.digest


def test_policies_add_to_the_built_in_ones(tmp_path: Path) -> None:
    """A file may add a policy and replace a built-in one; the others stay."""
    path = tmp_path / "policies.yaml"
    path.write_text("policies: [{id: mine, cost_weight: 0.3}, {id: balanced, version: 2, cost_weight: 0.5}]")
    policies = Policies.load(path).by_id
    assert set(policies) == {"balanced", "cheapest", "quality", "fastest", "mine"}
    assert (policies["balanced"].version, policies["balanced"].cost_weight) == (2, 0.5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("policies: [{id: a}, {id: a}]", "share an id"),
        ("policies: [{id: a, cost_weight: -1}]", "cost_weight.*got `-1`"),
        ("policies: [{id: a, strategy: magic}]", "strategy.*got `magic`"),
    ],
)
def test_a_bad_policy_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    """The error names the file and the value."""
    path = tmp_path / "policies.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"policies.yaml(?s:.*){complaint}"):
        Policies.load(path)
