"""Which models are the same, and which of the catalog's providers a bill is of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines.errors import ReconciliationError
from router.catalog.names import is_same_model
from router.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipelines.reconciliation.exports.reading import Shape
    from router.catalog.catalog import Catalog

HOSTS = {"openai": "openai.com", "anthropic": "anthropic.com", "openrouter": "openrouter.ai"}
_DATE = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2})$")


def providers_of(
    shape: Shape | None, catalog: Catalog, recorded: Collection[str], asked: Collection[str]
) -> list[str]:
    """The providers whose requests the bill is of. ReconciliationError if none of them has any."""
    unknown = [name for name in asked if name not in recorded and name not in catalog.providers]
    if unknown:
        known = sorted({*recorded, *catalog.providers})
        raise ReconciliationError(f"no provider `{unknown[0]}` is recorded: {nearest(unknown[0], known)}")
    if asked:
        return sorted(asked)
    if shape is None or shape == "focus":
        return sorted(recorded)
    host = HOSTS[shape]
    found: set[str] = {name for name in recorded if name == shape}
    for name, entry in catalog.providers.items():
        if (urlsplit(entry.base_url).hostname or "").endswith(host):
            found.add(name)
    if not found & set(recorded) and len(recorded) > 0:
        raise ReconciliationError(
            f"none of the providers of these days' requests is `{shape}`: name those of the bill with"
            f" --catalog-provider, out of `{'`, `'.join(sorted(recorded))}`"
        )
    return sorted(found)


@dataclass(slots=True, kw_only=True)
class Names:
    """The name of each model on the bill: the one that the provider uses."""

    catalog: Catalog
    known: set[str] = field(default_factory=set)
    _cache: dict[str, str] = field(default_factory=dict)

    def ours(self, selected: str, answered: str | None) -> str:
        """The name of the model that served a request, and that its cost is of."""
        model = self.catalog.models.get(selected)
        if model is None:
            name = answered or selected
        else:
            served = self.catalog.answered(model, answered)
            name = (answered or selected) if served is None else served.provider_model
        self.known.add(name)
        return name

    def theirs(self, name: str | None) -> str | None:
        """The same name for a model as a bill writes it. A model that is not known keeps its own."""
        if name is None:
            return None
        if name not in self._cache:
            self._cache[name] = self._found(name)
        return self._cache[name]

    def _found(self, name: str) -> str:
        for model in self.catalog.models.values():
            if model.is_named(name):
                return model.provider_model
        candidates = sorted({*self.known, *(model.provider_model for model in self.catalog.models.values())})
        plain = _plain(name)
        for candidate in candidates:
            if is_same_model(candidate, name) or _same(_plain(candidate), plain):
                return candidate
        return name


def _same(one: str, other: str) -> bool:
    return one == other or _DATE.sub("", one) == _DATE.sub("", other)


def _plain(name: str) -> str:
    """`Claude Haiku 4.5` and `anthropic/claude-haiku-4.5` are `claude-haiku-4-5`."""
    tail = name.strip().lower().rpartition("/")[2]
    return re.sub(r"[\s._]+", "-", tail)
