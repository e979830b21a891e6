"""The report `moving-in` as text for people, and as one table for programs."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from pipelines.errors import QueryError
from pipelines.importing.moving_in import ENOUGH_JUDGED, MIN_REQUESTS, TELLING, moving_in
from pipelines.reports.output import DRAWN, write
from router.errors import masked
from router.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.importing.moving_in import Compared, MovingIn
    from pipelines.reports.output import Output
    from pipelines.reports.pages.window import Window
    from pipelines.reports.reports import Answer
    from router.config import Settings

DEFAULT_PERIOD = timedelta(days=365)
LINES = 20
"""Groups and models that the text names. The table holds all."""
EQUAL = 0.01
"""A relative difference to the price book below which a spend agrees with it."""


def text(report: MovingIn) -> str:
    """The report in sentences."""
    return masked("\n".join(_lines(report)))


def _lines(report: MovingIn) -> Iterator[str]:
    unknown = report.requests - report.with_cost
    yield (
        f"{report.requests:,} requests from {report.since:%Y-%m-%d} to {report.until:%Y-%m-%d} cost"
        f" {_money(report.cost_usd)}; the cost of {unknown:,} of them is unknown"
    )
    yield ""
    yield "1. What you spent, by group"
    for group in report.groups[:LINES]:
        share = _share(group.cost_usd, report.cost_usd)
        quality = "" if group.quality_mean is None else f", mean quality {group.quality_mean:.2f}"
        yield (
            f"   {group.name}: {_money(group.cost_usd)}{share}, {group.requests:,} requests,"
            f" {group.models} models{quality}"
        )
    if len(report.groups) > LINES:
        yield f"   and {len(report.groups) - LINES} more groups"
    yield ""
    yield "2. Your spend against the price book"
    for price in report.prices[:LINES]:
        yield f"   {price.model}: {_comparison(price)}"
    if len(report.prices) > LINES:
        yield f"   and {len(report.prices) - LINES} more models"
    yield ""
    yield "3. What routing would have cost"
    yield (
        f"   For {_money(report.comparable_usd)} of the spend, the log shows a cheaper model in the same"
        f" group and size, at least {MIN_REQUESTS} times."
    )
    for routed in report.routed:
        yield (
            f"   If the cheapest of them answers {routed.share:.0%} of those requests as well:"
            f" {_money(routed.cost_usd)}"
            f" (95%: {_money(routed.low_usd)} to {_money(routed.high_usd)})"
        )
    yield (
        "   The share is an assumption, since the log does not judge answers. The interval is the spread of"
        " the costs, and takes requests of one group and size for alike."
    )
    yield ""
    yield "4. Questions that only exploration answers"
    if not report.questions:
        yield "   None: no cheaper model was seen, or the judgements in the log suffice."
    for item in report.questions:
        days = ENOUGH_JUDGED / 2 / (0.05 * item.requests_a_day)
        yield (
            f"   Does `{item.cheap}` answer {item.name} as well as `{item.dear}`?"
            f" {_money(item.at_stake_usd)} depend on it. With `exploration_floor: 0.05`, some"
            f" {days:,.0f} days of judged requests show a difference of {TELLING:.2f} in quality."
        )


def _comparison(price: Compared) -> str:
    if price.ref is None:
        return f"{_money(price.cost_usd)}; the price book does not know it. Give it `prices` in catalog.yaml"
    if price.book_usd is None or price.compared_usd is None:
        return f"{_money(price.cost_usd)}; nothing to compare with `{price.ref}`: spend or tokens are unknown"
    note = (
        ""
        if price.with_book == price.requests
        else f" (over {price.with_book:,} of {price.requests:,} requests)"
    )
    book, spend = price.book_usd, price.compared_usd
    if abs(float(book) - float(spend)) <= EQUAL * max(float(book), float(spend)):
        return f"{_money(spend)} agrees with `{price.ref}`{note}"
    word = "less" if float(book) < float(spend) else "more"
    difference = _money(abs(float(book) - float(spend)))
    return f"{_money(spend)} spent, {_money(book)} by `{price.ref}`: {difference} {word}{note}"


def answer(report: MovingIn) -> Answer:
    """One row for each figure: its part, its name, and its values. NULL means not known."""
    import pyarrow as pa

    from pipelines.reports.reports import Answer

    rows: list[dict[str, Any]] = [
        _row("group", group.name, requests=group.requests, spend_usd=group.cost_usd)
        for group in report.groups
    ]
    rows += [
        _row(
            "price", price.model, other=price.ref, requests=price.requests, spend_usd=price.compared_usd,
            other_usd=None if price.book_usd is None else float(price.book_usd),
        )
        for price in report.prices
    ]  # fmt: skip
    rows += [
        _row(
            "routing", f"{routed.share:.0%} as good on the cheapest", requests=report.requests,
            spend_usd=report.cost_usd, other_usd=routed.cost_usd, low_usd=routed.low_usd,
            high_usd=routed.high_usd,
        )
        for routed in report.routed
    ]  # fmt: skip
    rows += [
        _row("question", f"{item.name}: {item.dear}", other=item.cheap, other_usd=item.at_stake_usd)
        for item in report.questions
    ]
    kinds = {
        "part": pa.string(),
        "name": pa.string(),
        "other": pa.string(),
        "requests": pa.int64(),
        "spend_usd": pa.decimal128(38, 12),
        "other_usd": pa.float64(),
        "low_usd": pa.float64(),
        "high_usd": pa.float64(),
    }
    return Answer(table=pa.Table.from_pylist(rows, schema=pa.schema(kinds.items())))


def _row(part: str, name: str, **values: Any) -> dict[str, Any]:
    return {"part": part, "name": name, **values}


def _money(amount: Decimal | float | None) -> str:
    if amount is None:
        return "an unknown amount"
    return f"${float(amount):,.2f}" if abs(float(amount)) >= 1 else f"${float(amount):.4f}"


def _share(part: Decimal | None, whole: Decimal | None) -> str:
    return "" if part is None or not whole else f" ({float(part) / float(whole):.0%})"


def print_report(settings: Settings, window: Window, to: Output) -> None:
    """Print the report for a person, or write its table for a program. By default of the last 365 days."""
    if to.format in DRAWN:
        raise QueryError(f"`moving-in` has no charts: ask for a table, CSV, JSON or Parquet, not {to.format}")
    since = window.since or window.until - DEFAULT_PERIOD
    report = moving_in(settings, since=since, until=window.until, organization=window.organization)
    if not to.for_people():
        write(answer(report), to)
    elif to.file is not None:
        write_atomically(to.file, text(report).encode() + b"\n")
    else:
        click.echo(text(report))
