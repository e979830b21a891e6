"""LiteLLM's names of models and providers as those of the price book, with the rates that they lead to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.catalog.price_book import PriceBook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from router.catalog.prices import Price, Rates
    from router.config import Settings

PROVIDERS = {
    "azure": "azure",
    "azure_ai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "together_ai": "together",
    "vertex_ai": "google",
    "voyage": "voyageai",
    "xai": "x-ai",
}
"""LiteLLM's names of providers that the price book knows under another one."""
ENDLESS = datetime(9999, 1, 1, tzinfo=UTC)
MOST_TOKENS = 1 << 60


def priced_models(
    settings: Settings, models: Iterable[tuple[str, str | None]]
) -> Iterator[tuple[tuple[str, str | None], str, list[tuple[Any, ...]]]]:
    """For each model (name, provider) that has a price: itself, its name in the book, and its rates.

    The prices are those of the data folder's book, or of the installed genai-prices. A model whose price
    depends on the time of day is left out: the log's total then has no single rate.
    """
    from pipelines.prices.source import bundled

    listed = bundled().rows
    book = PriceBook.read(settings.price_book_file) if settings.price_book_file.exists() else None
    for model, provider in sorted(models, key=str):
        ref = book_name(model, provider)
        if ref is None:
            continue
        prices = (book.prices(ref) if book is not None else ()) or listed.get(ref, ())
        if prices and not any(price.windows for price in prices):
            yield (model, provider), ref, list(_periods(prices))


def book_name(model: str, provider: str | None) -> str | None:
    """The name of LiteLLM's model in the price book, such as `openai/gpt-4o`. None if it knows none."""
    from genai_prices.data_snapshot import get_snapshot

    prefix, _, bare = model.rpartition("/")
    owner = provider or prefix.partition("/")[0]
    names = [model, bare, f"{owner}/{bare}"]
    for name in names:
        try:
            found = get_snapshot().find_provider_model(name, None, PROVIDERS.get(owner, owner) or None, None)
        except LookupError:
            continue
        return f"{found[0].id}/{found[1].id}"
    return None


def _periods(prices: tuple[Price, ...]) -> Iterator[tuple[Any, ...]]:
    """(start, end, above, up to, rates…) of each row and tier. A request falls into exactly one."""
    ends = [price.start for price in prices[1:]] + [ENDLESS]
    for price, end in zip(prices, ends, strict=True):
        bounds = [-1, *(tier.above_input_tokens for tier in price.tiers), MOST_TOKENS]
        for above, upto, rates in zip(bounds, bounds[1:], (price, *price.tiers), strict=False):
            yield (price.start, end, above, upto, *_amounts(rates))


def _amounts(rates: Rates) -> tuple[Any, ...]:
    output = rates.output_usd_per_mtok
    return (
        float(rates.input_usd_per_mtok),
        float(rates.cached_input),
        float(rates.cache_write),
        None if output is None else float(output),
        None if rates.reasoning is None else float(rates.reasoning),
        float(rates.request_usd or 0),
    )
