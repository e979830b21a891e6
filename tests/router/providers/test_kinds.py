"""Every kind of provider that the catalog takes can be built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from router.catalog.catalog import Catalog
from router.catalog.entries import ProviderEntry
from router.config import Settings
from router.providers.registry import Providers
from router.telemetry.description import KINDS
from tests.factories import write_catalog

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES: dict[str, dict[str, Any]] = {
    "openai": {},
    "anthropic": {},
    "azure": {"api_version": "2024-10-21"},
    "gemini": {},
    "bedrock": {"region": "us-east-1"},
}
"""The members that each kind requires besides its name and its address."""


@pytest.mark.smoke
def test_every_kind_has_a_class_of_its_own(tmp_path: Path) -> None:
    """Each kind is built by another class; a kind that speaks an API of its own has a name for traces."""
    kinds = get_args(ProviderEntry.model_fields["kind"].annotation)
    assert sorted(ENTRIES) == sorted(kinds)
    classes = set()
    for kind in kinds:
        path = write_catalog(tmp_path / kind, base_url="http://127.0.0.1:9", kind=kind, **ENTRIES[kind])
        built = Providers(Settings.load({}, home=tmp_path), {}).of(Catalog.load(path))
        classes.add(type(built["fake"]))
    assert len(classes) == len(kinds)
    assert set(KINDS) == set(kinds) - {"openai"}  # the name of an OpenAI-compatible host is its address
