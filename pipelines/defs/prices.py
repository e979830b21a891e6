"""List prices, once a day."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipelines.prices.refresh import refresh_prices
from router.config import Settings

MAX_SHOWN = 100


@dg.asset(
    group_name="registry",
    kinds={"json"},
    check_specs=[
        dg.AssetCheckSpec(
            "no_price_waits",
            asset="price_book",
            description="Prices that moved too far or look wrong, which a person has to accept.",
        )
    ],
)
def price_book() -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """`prices/book.json`: dated list prices, to which plausible changes are added."""
    result = refresh_prices(Settings.load())
    facts: dict[str, str | int] = {
        "source": result.source,
        "models": result.models,
        "new_prices": result.applied,
        "pending": len(result.pending),
        "no_longer_listed": result.unlisted,
    }
    if result.problem is not None:
        facts["problem"] = result.problem
    yield dg.MaterializeResult(metadata=facts)
    lines = [f"- `{item.id}`: {item.reason}" for item in result.pending[:MAX_SHOWN]]
    yield dg.AssetCheckResult(
        check_name="no_price_waits",
        passed=not result.pending,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(result.pending)} wait for `intellirouter prices accept`",
        metadata={"pending": dg.MetadataValue.md("\n".join(lines) or "none")},
    )
