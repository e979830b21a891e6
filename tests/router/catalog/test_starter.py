"""The catalog that `serve` writes into an empty folder: the models of the keys there are, at list prices."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from router.catalog.catalog import Catalog
from router.catalog.starter import STARTER_FILE, key_variables, write_starter

if TYPE_CHECKING:
    from pathlib import Path

STARTER = yaml.safe_load(STARTER_FILE.read_text())
NAMES = {
    "input_usd_per_mtok": ("input_mtok", 1),
    "output_usd_per_mtok": ("output_mtok", 1),
    "cached_input_usd_per_mtok": ("cache_read_mtok", 1),
    "cache_write_usd_per_mtok": ("cache_write_mtok", 1),
    "audio_input_usd_per_mtok": ("input_audio_mtok", 1),
    "cached_audio_input_usd_per_mtok": ("cache_audio_read_mtok", 1),
    "web_search_usd": ("web_searches_kcount", 1000),
}
"""Our rates, and the names and units that the public price list has for them."""


@pytest.mark.smoke
@pytest.mark.parametrize("variable", key_variables())
def test_each_key_gives_a_catalog_that_loads(tmp_path: Path, variable: str) -> None:
    """With models of its provider only, each with a price or with the provider's own cost."""
    assert write_starter(tmp_path, {variable: "sk-test"}) == (variable,)
    catalog = Catalog.load(tmp_path / "catalog.yaml")
    assert len(catalog.providers) == 1
    assert next(iter(catalog.providers.values())).key_variables == (variable,)
    assert len(catalog.models) >= 2
    assert all(model.prices or model.cost_source == "provider" for model in catalog.models.values())
    assert "sk-test" not in (tmp_path / "catalog.yaml").read_text()


def test_without_a_key_nothing_is_written(tmp_path: Path) -> None:
    """An empty variable is no key."""
    assert write_starter(tmp_path / "data", {"OPENAI_API_KEY": "", "PATH": "/bin"}) == ()
    assert not (tmp_path / "data").exists()


def test_several_keys_give_one_catalog(tmp_path: Path) -> None:
    """In the order of the providers."""
    variables = {"GROQ_API_KEY": "a", "OPENAI_API_KEY": "b"}
    assert write_starter(tmp_path, variables) == ("OPENAI_API_KEY", "GROQ_API_KEY")
    assert {model.provider for model in Catalog.load(tmp_path / "catalog.yaml").models.values()} == {
        "openai",
        "groq",
    }


PRICED = [model for model in STARTER["models"] if "prices" in model]


@pytest.mark.parametrize("model", PRICED, ids=[model["id"] for model in PRICED])
def test_prices_are_those_of_the_public_list(model: dict[str, Any]) -> None:
    """Of the list's release in the lock file, at the start of each row."""
    data = pytest.importorskip("genai_prices.data")
    provider = next(each for each in data.providers if each.id == model["provider"])
    name = model.get("provider_model", model["id"])
    listed = next(each for each in provider.models if each.id == name)
    for row in model["prices"]:
        start = datetime(row["start"].year, row["start"].month, row["start"].day, tzinfo=UTC)
        price = listed.get_prices(start)
        ours = {NAMES[rate][0]: Decimal(str(row[rate])) for rate in row if rate in NAMES}
        theirs = {
            field: value / units
            for field, units in NAMES.values()
            if (value := getattr(price, field, None)) is not None
        }
        assert ours == theirs
    assert model["context_window"] == listed.context_window
