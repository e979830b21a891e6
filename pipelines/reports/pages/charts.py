"""Draws figures as SVG or PNG, by Altair and vl-convert: no browser, and nothing is loaded from elsewhere."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pipelines.reports.table import is_additive
from router.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.reports.pages.figures import Figures
    from pipelines.reports.pages.questions import Chart

WIDE = 860
NARROW = 366
"""Widths of a chart in pixels: for a page, and for a phone."""
ROW_HEIGHT = 24
TIME_HEIGHT = 240
TEXT = "#333333"
GRID = "#dddddd"
SERIES = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d")
OTHERS = "#9a9a9a"
PNG_SCALE = 2.0
MOST_NAMES = 12
"""Points of a scatter that are named: the names of more cover one another."""
FONT = "Liberation Sans"
"""The font that text is measured in. It has the widths of Arial, which pages ask for."""
PADDING = {"left": 16, "top": 4, "right": 12, "bottom": 4}
"""Room for texts in a font that is wider than the measured one."""
_LABELS = {WIDE: 230, NARROW: 115}
"""Longest label of a category in pixels."""
COUNTS = ("_with_cost", "_without_cost")
"""The ends of names of counts that speak of cost."""
WHOLE_DOLLARS = 10
"""An axis that reaches so far names no cents."""
FEW = 4
"""Counts up to it have a tick for each."""


def svg(figures: Figures, chart: Chart, *, width: int = WIDE) -> str:
    """The chart as one SVG element. ConfigError without the packages that draw it."""
    _, converter = _packages()
    drawn: str = converter.vegalite_to_svg(specification(figures, chart, width=width))
    return drawn


def png(figures: Figures, chart: Chart, *, scale: float = PNG_SCALE) -> bytes:
    """The chart as a PNG image on white. ConfigError without the packages that draw it."""
    _, converter = _packages()
    spec = specification(figures, chart, width=WIDE)
    spec["config"]["background"] = "#ffffff"
    drawn: bytes = converter.vegalite_to_png(spec, scale=scale)
    return drawn


def specification(figures: Figures, chart: Chart, *, width: int) -> dict[str, Any]:
    """The chart in the language of Vega-Lite. Its data are in it."""
    altair, _ = _packages()
    values = [
        {
            "c": item.category,
            "s": item.series,
            "v": item.value,
            "d": _description(item.category, item.series, item.exact),
            **({"lo": item.low, "hi": item.high} if item.low is not None and item.high is not None else {}),
            **({"p": item.position} if item.position is not None else {}),
        }
        for item in figures.drawn
    ]
    data = altair.InlineData(values=values)
    build = {
        "bar": _bar,
        "column": _column,
        "line": _line,
        "points": _points,
        "interval": _interval,
        "scatter": _scatter,
    }[chart.mark]
    drawn = build(altair, altair.Chart(data), figures, chart, width)
    spec: dict[str, Any] = drawn.configure(**_theme()).to_dict()
    return spec


def _bar(altair: Any, base: Any, figures: Figures, chart: Chart, width: int) -> Any:
    return (
        base.mark_bar()
        .encode(
            x=_values(altair.X, altair, chart.x[0], figures),
            y=_categories(altair, figures, width),
            **_color(altair, figures, width),
        )
        .properties(width=width, height=ROW_HEIGHT * len(figures.categories))
    )


def _column(altair: Any, base: Any, figures: Figures, chart: Chart, width: int) -> Any:
    return (
        base.mark_bar()
        .encode(
            x=_time(altair, figures, width),
            y=_values(altair.Y, altair, chart.y[0], figures),
            **_color(altair, figures, width),
        )
        .properties(width=width, height=TIME_HEIGHT)
    )


def _line(altair: Any, base: Any, figures: Figures, chart: Chart, width: int) -> Any:
    y = _values(altair.Y, altair, chart.y[0], figures)
    x = _time(altair, figures, width)
    color = _color(altair, figures, width)
    lines = base.mark_line(aria=False).encode(x=x, y=y, **{**color, "description": altair.Undefined})
    points = base.mark_point(filled=True, size=36, opacity=1).encode(x=x, y=y, **color)
    return (lines + points).properties(width=width, height=TIME_HEIGHT * 3 // 4)


def _points(altair: Any, base: Any, figures: Figures, chart: Chart, width: int) -> Any:
    return (
        base.mark_point(filled=True, size=70, opacity=1)
        .encode(
            x=_values(altair.X, altair, chart.x[0], figures),
            y=_categories(altair, figures, width),
            **_color(altair, figures, width),
        )
        .properties(width=width, height=ROW_HEIGHT * len(figures.categories))
    )


def _interval(altair: Any, base: Any, figures: Figures, chart: Chart, width: int) -> Any:
    y = _categories(altair, figures, width)
    zero = altair.Chart(altair.InlineData(values=[{"z": 0}])).mark_rule(
        strokeDash=[4, 3], color=OTHERS, aria=False
    )
    ends = base.mark_rule(strokeWidth=2, color=SERIES[0], aria=False).encode(x="lo:Q", x2="hi:Q", y=y)
    points = base.mark_point(filled=True, size=70, opacity=1, color=SERIES[0]).encode(
        x=_values(altair.X, altair, chart.x[0], figures), y=y, description="d:N"
    )
    layers = zero.encode(x="z:Q") + ends + points
    return layers.properties(width=width, height=ROW_HEIGHT * len(figures.categories))


def _scatter(altair: Any, base: Any, figures: Figures, chart: Chart, width: int) -> Any:
    most = max((abs(item.position or 0.0) for item in figures.drawn), default=0.0)
    x = _axis(altair, altair.X("p:Q", title=_title(chart.x[0])), chart.x[0], most)
    y = _values(altair.Y, altair, chart.y[0], figures)
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=x, y=y, **_color(altair, figures, width)
    )
    if len(figures.drawn) > MOST_NAMES:
        return points.properties(width=width, height=TIME_HEIGHT)
    names = base.mark_text(align="left", dx=7, color=TEXT, aria=False).encode(x=x, y=y, text="c:N")
    return (points + names).properties(width=width, height=TIME_HEIGHT)


def _values(channel: Any, altair: Any, column: str, figures: Figures) -> Any:
    """The axis of a measure. It starts at zero."""
    sums = dict.fromkeys(figures.categories, 0.0)
    for item in figures.drawn:
        sums[item.category] += abs(item.value)
    largest = max(sums.values(), default=0.0)
    return _axis(altair, channel("v:Q", title=_title(column)), column, largest)


def _axis(altair: Any, channel: Any, column: str, largest: float) -> Any:
    ticks: dict[str, Any] = {"tickCount": 4}
    if is_additive(column) and not _is_money(column) and largest <= FEW:
        ticks = {"values": list(range(math.ceil(largest) + 1))}  # Vega's tickMinStep still draws halves
    return channel.axis(altair.Axis(format=_format(column, largest), **ticks))


def _categories(altair: Any, figures: Figures, width: int) -> Any:
    return altair.Y("c:N", title=None, sort=figures.categories, axis=altair.Axis(labelLimit=_LABELS[width]))


def _time(altair: Any, figures: Figures, width: int) -> Any:
    """One place for each day or month that has figures; labels as far as there is room."""
    places = figures.categories
    step = math.ceil(len(places) / (10 if width == WIDE else 4))
    shown = places[::step]
    return altair.X("c:O", title=None, sort=places, axis=altair.Axis(values=shown, labelAngle=0))


def _color(altair: Any, figures: Figures, width: int) -> dict[str, Any]:
    """The colours of the series, and the sentence of each mark, which holds its exact figure."""
    described = {"description": altair.Description("d:N")}
    names = figures.series
    if names == [""] or not names:
        return {"color": altair.value(SERIES[0]), **described}
    known = [name for name in names if name != "others"]
    domain = [*known, *(["others"] if "others" in names else [])]
    colors = [*SERIES[: len(known)], *([OTHERS] if "others" in names else [])]
    legend = altair.Legend(
        title=None,
        orient="top",
        columns=4 if width == WIDE else 2,
        symbolLimit=0,
        labelLimit=_LABELS[width],
        columnPadding=16,
    )
    return {
        "color": altair.Color("s:N", scale=altair.Scale(domain=domain, range=colors), legend=legend),
        **described,
    }


def _theme() -> dict[str, Any]:
    axis = {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    return {
        "background": "transparent",
        "font": FONT,
        "padding": PADDING,
        "view": {"stroke": None},
        "axis": axis,
        "legend": {"labelColor": TEXT, "labelFontSize": 12},
        "autosize": {"type": "fit-x", "contains": "padding"},
    }


def _description(category: str, series: str, exact: str) -> str:
    return ", ".join(part for part in (category, series) if part) + f": {exact}"


def _title(column: str) -> str:
    """A column as a person reads it."""
    words = column.replace("_p50", "").replace("_usd", "").replace("_ms", "").replace("_", " ")
    unit = " (US dollars)" if _is_money(column) else " (ms)" if "_ms" in column else ""
    return f"{words}{unit}"


def _is_money(column: str) -> bool:
    return "usd" in column or (column.endswith("cost") and not column.endswith(COUNTS))


def _format(column: str, largest: float) -> str:
    """The d3 format of an axis."""
    if _is_money(column):
        decimals = 2 if largest >= 1 or largest == 0 else 1 - math.floor(math.log10(largest))
        return f"$,.{decimals}{'~' if largest >= WHOLE_DOLLARS else ''}f"
    if column.endswith("_share"):
        return ".0~%" if largest >= 0.1 else ".2~%"
    return "~s" if largest >= 10_000 else ",.2~f"


def _packages() -> tuple[Any, Any]:
    try:
        import altair
        import vl_convert
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"charts need `{error.name}`, which is not installed: pip install 'intellirouter[reports]'"
        ) from None
    return altair, vl_convert


def compact(drawn: str, prefix: str, *, is_described: bool) -> str:
    """An SVG for the inside of a page: it scales, its ids are its own, and its roles cost few bytes."""
    drawn = re.sub(
        r'<svg [^>]*?width="(\d+)" height="\d+" viewBox="([^"]*)"[^>]*>',
        r'<svg viewBox="\2" style="max-width:\1px">',
        drawn,
        count=1,
    )
    drawn = re.sub(
        r' (?:aria-roledescription|aria-hidden|pointer-events|stroke-miterlimit|font-family)="[^"]*"',
        "",
        drawn,
    )
    drawn = re.sub(r' role="graphics-object"| class="(?:background|foreground)"', "", drawn)
    drawn = re.sub(r'<path [^>]*\bd="(?:M0,0h0v0h0Z)?"[^>]*/>', "", drawn)
    drawn = re.sub(r'\bid="(\w+)"', rf'id="{prefix}\1"', drawn)
    drawn = re.sub(r"url\(#(\w+)\)", rf"url(#{prefix}\1)", drawn)
    if not is_described:
        drawn = re.sub(r' (?:aria-label|role)="[^"]*"', "", drawn)
    return drawn
