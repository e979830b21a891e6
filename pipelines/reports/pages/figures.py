"""Reduces an answer to the figures that a chart can show: the largest, and the sum of the others.

A figure keeps its exact text. Sums are exact, so that a chart and its table agree to the last digit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from pipelines.reports.table import MONTH, cell, is_additive
from router.settings.printing import exact_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from decimal import Decimal

    from pipelines.reports.pages.questions import Chart
    from pipelines.reports.reports import Answer

TOP_CATEGORIES = 12
TOP_SERIES = 7
TOP_POINTS = 60
MOST_DAYS = 70
"""A longer period is drawn by month."""
LABEL_LENGTH = 60
NO_NAME = "(none)"
"""A name that is NULL: the requests have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One drawn value."""

    category: str
    """Its place: a name, or a date in ISO 8601."""
    series: str
    """The meaning of its colour. Empty if all have one."""
    value: float
    exact: str
    """The value with every digit."""
    low: float | None = None
    high: float | None = None
    position: float | None = None
    """Its place on the other axis of a scatter."""


@dataclass(slots=True, kw_only=True)
class Figures:
    """The drawn values of a chart, in order, and sentences on those that are not drawn."""

    drawn: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def categories(self) -> list[str]:
        """The places, in order."""
        return list(dict.fromkeys(item.category for item in self.drawn))

    @property
    def series(self) -> list[str]:
        """The colours, in order."""
        return list(dict.fromkeys(item.series for item in self.drawn))


def figures_of(answer: Answer, chart: Chart) -> Figures:
    """The figures of a chart. A value that is not known is not drawn, and a note counts it."""
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows()]
    found = {
        "bar": _bars,
        "column": _columns,
        "line": _line,
        "points": _points,
        "interval": _interval,
        "scatter": _scatter,
    }[chart.mark](rows, chart)
    unknown = sum(any(row[name] is None for name in chart.measures) for row in rows)
    if unknown:
        found.notes.append(
            f"{unknown} of {len(rows)} rows have no known {chart.measures[0]} and are not drawn."
        )
    return found


def _bars(rows: list[dict[str, Any]], chart: Chart) -> Figures:
    return _summed(rows, chart, lambda row: _name(row, chart.y), chart.x[0], by_size=True)


def _columns(rows: list[dict[str, Any]], chart: Chart) -> Figures:
    days = {row[chart.x[0]] for row in rows}
    is_long = len(days) > MOST_DAYS and is_additive(chart.y[0])
    found = _summed(
        rows,
        chart,
        lambda row: _moment(row[chart.x[0]], is_month=is_long or chart.x[0] == MONTH),
        chart.y[0],
        by_size=False,
    )
    if is_long:
        found.notes.append("The days are added up to months.")
    return found


def _summed(
    rows: list[dict[str, Any]],
    chart: Chart,
    place: Callable[[Mapping[str, Any]], str],
    measure: str,
    *,
    by_size: bool,
) -> Figures:
    """Sums by category and series. The smaller ones become `others`, if their sum has a meaning."""
    sums: dict[tuple[str, str], Decimal] = {}
    for row in rows:
        value = row[measure]
        if value is None:
            continue
        key = (place(row), "" if chart.color is None else _text(row[chart.color]))
        sums[key] = sums[key] + value if key in sums else value
    found = Figures()
    can_add = is_additive(measure)
    categories = _ranked(((category, value) for (category, _), value in sums.items()), by_size=by_size)
    series = _ranked((name, value) for (_, name), value in sums.items())
    shown = categories if not by_size else categories[:TOP_CATEGORIES]
    others = f"{len(categories) - len(shown):,} others"
    other_series = "others" if len(series) > TOP_SERIES else ""
    if len(shown) < len(categories) and not can_add:
        found.notes.append(f"The {len(shown)} largest of {len(categories)} are drawn.")
    drawn: dict[tuple[str, str], Decimal] = {}
    for (category, name), value in sums.items():
        place_shown = category if category in shown else others if can_add else None
        if place_shown is None:
            continue
        key = (place_shown, name if name in series[:TOP_SERIES] else other_series)
        drawn[key] = drawn[key] + value if key in drawn else value
    order = {name: at for at, name in enumerate([*shown, others])}
    colors = {name: at for at, name in enumerate([*series[:TOP_SERIES], other_series])}
    for (category, name), value in sorted(
        drawn.items(), key=lambda item: (order[item[0][0]], colors[item[0][1]])
    ):
        found.drawn.append(_figure(category, name, value))
    return found


def _ranked(values: Iterable[tuple[str, Any]], *, by_size: bool = True) -> list[str]:
    """Names by the size of their sums, the largest first; or in the order of their texts."""
    totals: Counter[str] = Counter()
    for name, value in values:
        totals[name] += abs(value)
    return sorted(totals, key=lambda name: (-totals[name], name)) if by_size else sorted(totals)


def _line(rows: list[dict[str, Any]], chart: Chart) -> Figures:
    known = [row for row in rows if row[chart.y[0]] is not None]
    return Figures(
        drawn=[
            _figure(
                _moment(row[chart.x[0]]),
                "" if chart.color is None else _text(row[chart.color]),
                row[chart.y[0]],
            )
            for row in known
        ]
    )


def _points(rows: list[dict[str, Any]], chart: Chart) -> Figures:
    found = _first(rows, TOP_CATEGORIES)
    for row in rows[:TOP_CATEGORIES]:
        found.drawn += [
            _figure(_name(row, chart.y), column.replace("_", " "), row[column])
            for column in chart.x
            if row[column] is not None
        ]
    return found


def _interval(rows: list[dict[str, Any]], chart: Chart) -> Figures:
    found = _first(rows, TOP_CATEGORIES)
    for row in rows[:TOP_CATEGORIES]:
        if row[chart.x[0]] is not None:
            ends = [row[name] if name is not None else None for name in (chart.low, chart.high)]
            found.drawn.append(_figure(_name(row, chart.y), "", row[chart.x[0]], low=ends[0], high=ends[1]))
    return found


def _scatter(rows: list[dict[str, Any]], chart: Chart) -> Figures:
    known = [row for row in rows if row[chart.x[0]] is not None and row[chart.y[0]] is not None]
    series = list(dict.fromkeys("" if chart.color is None else _text(row[chart.color]) for row in known))
    found = _first(known, TOP_POINTS)
    for row in known[:TOP_POINTS]:
        name = "" if chart.color is None else _text(row[chart.color])
        found.drawn.append(
            _figure(
                "" if chart.label is None else _text(row[chart.label]),
                name if name in series[:TOP_SERIES] else "others",
                row[chart.y[0]],
                position=float(row[chart.x[0]]),
            )
        )
    return found


def _first(rows: list[dict[str, Any]], most: int) -> Figures:
    notes = [f"The first {most} of {len(rows)} rows are drawn."] if len(rows) > most else []
    return Figures(notes=notes)


def _figure(category: str, series: str, value: Any, **places: Any) -> Figure:
    numbers = {name: None if item is None else float(item) for name, item in places.items()}
    return Figure(
        category=category, series=series, value=float(value), exact=str(exact_text(value)), **numbers
    )


def _name(row: Mapping[str, Any], columns: Iterable[str]) -> str:
    return " · ".join(_parts(row, tuple(columns)))


def _parts(row: Mapping[str, Any], columns: tuple[str, ...]) -> Iterator[str]:
    """The names of a row. Of several, those that are NULL are left out."""
    known = [column for column in columns if row[column] is not None]
    if not known:
        yield NO_NAME
    for column in known:
        yield _text(row[column])


def _text(value: Any) -> str:
    text = NO_NAME if value is None else cell(value)
    return text if len(text) <= LABEL_LENGTH else f"{text[: LABEL_LENGTH - 1]}…"


def _moment(value: date | datetime, *, is_month: bool = False) -> str:
    return f"{value:%Y-%m}" if is_month else value.isoformat()
