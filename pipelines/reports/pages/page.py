"""Writes sections with their figures as one page of HTML, which loads nothing and runs nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from pipelines.reports import table
from pipelines.reports.pages import charts
from pipelines.reports.pages.figures import figures_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.reports.columns import Column
    from pipelines.reports.pages.questions import Question
    from pipelines.reports.reports import Answer

PAGE_BYTES = 1_000_000
"""A page stays below."""
TABLE_ROWS = 25
CELL_LENGTH = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The published warehouse that the figures are from."""

    snapshot_id: str | None
    """The score snapshot of the same refresh. None before the first one."""
    published_at: datetime
    """Moment of the publication."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question with its answer."""

    name: str
    question: Question
    period: str
    answer: Answer
    sql: str
    notes: tuple[str, ...] = ()
    nothing: str = ""
    """The sentence in the place of figures, if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Whether the cost of every request is known. Every page says so."""

    sentence: str
    is_complete: bool

    def html(self) -> str:
        """A paragraph, which only asks for attention if a cost is not known."""
        return f'<p class="{"known" if self.is_complete else "unknown"}">{escape(self.sentence)}</p>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The content of one file."""

    title: str
    subtitle: str
    """Period, zone and currency."""
    coverage: Coverage
    source: Source
    sections: Sequence[str]
    """HTML of each section."""
    links: Sequence[tuple[str, str]] = ()
    """Address and text of the pages next to it."""


def render(page: Page) -> str:
    """The page as HTML."""
    links = "".join(f'<li><a href="{escape(to)}">{escape(text)}</a></li>' for to, text in page.links)
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta http-equiv="Content-Security-Policy" content="',
            "default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(page.title)}</title><style>{STYLE}</style></head><body>",
            f"<header><h1>{escape(page.title)}</h1><p>{escape(page.subtitle)}</p>",
            f"{page.coverage.html()}</header>",
            f"<nav><ul>{links}</ul></nav>" if links else "",
            "<main>",
            *page.sections,
            "</main>",
            f"<footer><p>{escape(_source(page.source))}</p></footer></body></html>\n",
        ]
    )


def section_html(section: Section, source: Source, coverage: Coverage) -> str:
    """One section as HTML. Texts from outside are escaped, in drawings too."""
    drawn = list(_drawings(section))
    parts = [
        f'<section id="{escape(section.name)}"><h2>{escape(section.question.question)}</h2>',
        f'<p class="period">{escape(section.name)}, {escape(section.period)}</p>',
        *drawn,
    ]
    parts += [f'<p class="note">{escape(note)}</p>' for note in section.notes]
    if section.answer.table.num_rows:
        parts.append(_table(section.answer, has_totals=section.question.has_totals))
    parts += [
        coverage.html(),
        f'<p class="source">{escape(_source(source))}</p>',
        f"<details><summary>SQL</summary><pre>{escape(section.sql)}</pre></details></section>",
    ]
    return "".join(parts)


def _drawings(section: Section) -> Iterator[str]:
    if not section.answer.table.num_rows:
        yield f'<p class="empty">{_with_code(section.nothing)}</p>'
        return
    for at, chart in enumerate(section.question.charts):
        figures = figures_of(section.answer, chart)
        if not figures.drawn:
            missing = f"Nothing is drawn: no {chart.measures[0]} of this period is known."
            yield f'<p class="empty">{escape(missing)}</p>'
        else:
            for kind, width in (("wide", charts.WIDE), ("narrow", charts.NARROW)):
                drawn = charts.compact(
                    charts.svg(figures, chart, width=width),
                    f"{section.name}-{at}-{kind}-",
                    is_described=kind == "wide",
                )
                yield f'<figure class="{kind}">{drawn}</figure>'
        for note in figures.notes:
            yield f'<p class="note">{escape(note)}</p>'


def _table(answer: Answer, *, has_totals: bool) -> str:
    """The first rows, the sum of the others, and the total, in rounded figures."""
    columns = table.columns_of(answer, shown=TABLE_ROWS, totals=has_totals, rounded=True)
    left = answer.table.num_rows - TABLE_ROWS
    rows = [[column.cells[at] for column in columns] for at in range(min(answer.table.num_rows, TABLE_ROWS))]
    head = "".join(f"<th{_class(column)}>{escape(_heading(column.name))}</th>" for column in columns)
    body = "".join(_row(columns, row) for row in rows)
    if left > 0:
        others = [column.others or "" for column in columns]
        body += _row(columns, [f"{left:,} others", *others[1:]], "others")
    if any(column.total is not None for column in columns):
        body += _row(columns, [column.total or "" for column in columns], "total")
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(columns: Sequence[Column], cells: Sequence[str], kind: str = "") -> str:
    shown = "".join(
        f"<td{_class(column)}>{escape(_cut(text))}</td>" for column, text in zip(columns, cells, strict=True)
    )
    return f'<tr class="{kind}">{shown}</tr>' if kind else f"<tr>{shown}</tr>"


def _class(column: Column) -> str:
    return ' class="n"' if column.is_number else ""


def _heading(column: str) -> str:
    """The name of a column with its unit."""
    unit = " (ms)" if "latency" in column and "_ms" not in column else ""
    return f"{column.replace('_', ' ')}{unit}"


def _with_code(text: str) -> str:
    """A sentence as HTML, with its commands as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _cut(text: str) -> str:
    return text if len(text) <= CELL_LENGTH else f"{text[: CELL_LENGTH - 1]}…"


def _source(source: Source) -> str:
    scores = f"snapshot {source.snapshot_id}" if source.snapshot_id else "no score snapshot yet"
    return f"From the warehouse of {source.published_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {scores}."


_DARK_SERIES = "".join(
    f'svg [fill="{light}"]{{fill:{dark}}}svg [stroke="{light}"]{{stroke:{dark}}}'
    for light, dark in ((charts.TEXT, "#d8dade"), (charts.GRID, "#3c4047"))
)
STYLE = (
    ":root{color-scheme:light dark;--page:#fff;--text:#1d2024;--soft:#5c636c;--line:#d9dce1;--warn:#8a5a00}"
    "@media screen and (prefers-color-scheme:dark){"
    ":root{--page:#16181c;--text:#e4e6ea;--soft:#a2a9b3;--line:#3c4047;--warn:#e0b050}" + _DARK_SERIES + "}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;padding:16px;max-width:892px;background:var(--page);color:var(--text);"
    "font:15px/1.45 system-ui,sans-serif}"
    "h1{font-size:1.5em;margin:0}h2{font-size:1.2em;margin:0}header p{margin:4px 0}"
    "section{margin:32px 0;padding-top:16px;border-top:1px solid var(--line)}"
    ".period,.source,.note,.known,footer{color:var(--soft);font-size:13px;margin:4px 0}"
    ".unknown{color:var(--warn);font-size:13px;margin:4px 0}.empty{font-style:italic}"
    "figure{margin:12px 0}figure svg{display:block;width:100%;height:auto;overflow:visible;"
    "font-family:Arial,'Liberation Sans',Helvetica,sans-serif}"
    ".narrow{display:none}"
    ".table{overflow-x:auto;margin:12px 0}table{border-collapse:collapse;font-size:13px;width:100%}"
    "th,td{padding:3px 8px;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}"
    "th,td{vertical-align:top}"
    "th{font-weight:600;white-space:normal}.n{text-align:right;font-variant-numeric:tabular-nums}"
    ".others td{color:var(--soft)}.total td{font-weight:600}"
    "pre{overflow-x:auto;font-size:12px;border:1px solid var(--line);padding:8px}"
    "a{color:inherit}nav ul{padding-left:20px}"
    "@media screen and (max-width:640px){body{padding:12px}.wide{display:none}.narrow{display:block}}"
    "@media print{body{max-width:none;padding:0;font-size:11px}section{break-inside:auto;margin:16px 0}"
    "figure,tr{break-inside:avoid}h2{break-after:avoid}table{font-size:9px}th,td{padding:2px 4px}"
    "td{white-space:normal;overflow-wrap:anywhere}.table{overflow:visible}"
    ".period,.source,.note,.unknown,.known,footer{font-size:9px}pre{white-space:pre-wrap;font-size:8px}"
    "details::details-content{display:block;content-visibility:visible}}"
)
