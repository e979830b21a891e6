"""The cost of usage at the public list price, dated at the request.

A request whose price is a row of the price book cost its list price. Where the catalog has a price of its
own, its tokens are counted at the book's rates, provided that tokens explain the cost that was paid:
charges for searches, sound or images are not in its tokens. Everything else is unknown, and counted.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from router.catalog.catalog import Catalog
from router.catalog.price_book import PriceBook
from router.catalog.prices import Price, Usage, cost, price_at
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from router.catalog.catalog import Model
    from router.config import Settings

ROUNDING_USD = Decimal("2.5e-12")
"""The most that rounding the charges of one request, each at 12 decimals, can add up to."""


class ListPrices:
    """The prices of the catalog, and those of the price book."""

    def __init__(self, catalog: Catalog | None, book: PriceBook | None) -> None:
        self._models = [] if catalog is None else list(catalog.models.values())
        self._own = {price.price_id: price for model in self._models for price in model.prices}
        self._book: dict[str, tuple[Price, ...]] = {}
        if book is not None:
            self._book = {model.price_ref: book.prices(model.price_ref) for model in self._models}
        self._listed = {price.price_id for rows in self._book.values() for price in rows}

    @classmethod
    def load(cls, settings: Settings) -> ListPrices:
        """The prices in force. None is known without a readable catalog and price book."""
        try:
            return cls(Catalog.load(settings.catalog_file), PriceBook.read(settings.price_book_file))
        except (ConfigError, FileNotFoundError):  # `doctor` and the load of the registry name the fault
            return cls(None, None)

    def changes(self) -> Sequence[datetime]:
        """The moments at which a public price starts, in order."""
        return sorted({price.start for rows in self._book.values() for price in rows})

    def cost(
        self,
        usage: Usage,
        *,
        paid: Decimal | None,
        requests: int,
        price_id: str | None,
        model: str | None,
        provider: str | None,
        at: datetime | None,
    ) -> Decimal | None:
        """List cost of the usage of so many requests with one price, in US dollars. None if unknown.

        `at` is a moment at which the book's price is in force. None: before the first of its prices.
        """
        if paid is None or price_id is None:
            return None
        if price_id in self._listed:
            return paid
        own = self._own.get(price_id)
        listed = None if at is None else price_at(self._book.get(self._ref(model, provider), ()), at)
        if own is None or listed is None or at is None or _varies(own) or _varies(listed):
            return None
        explained = cost(usage, own, at)
        if explained is None or abs(explained - paid) > ROUNDING_USD * requests:
            return None
        return cost(usage, listed, at)

    def _ref(self, name: str | None, provider: str | None) -> str:
        return next((model.price_ref for model in self._models if _is(model, name, provider)), "")


def _is(model: Model, name: str | None, provider: str | None) -> bool:
    return name is not None and model.provider == provider and model.is_named(name)


def _varies(price: Price) -> bool:
    """Whether the rates depend on the size of a request, the time of day, or on being one request."""
    return bool(price.tiers or price.windows or price.service_tiers or price.request_usd)
