"""Builds pages: runs reports on the published warehouse, and puts their sections into one file."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.errors import QueryError
from pipelines.reports import reports
from pipelines.reports.pages import charts
from pipelines.reports.pages.figures import figures_of
from pipelines.reports.pages.nothing import nothing
from pipelines.reports.pages.page import PAGE_BYTES, Coverage, Page, Section, Source, render, section_html
from pipelines.reports.pages.questions import question_of
from pipelines.reports.pages.window import Window
from pipelines.reports.periods import GRAIN, Period, on_grid
from pipelines.warehouse import sqlfiles
from router.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from pipelines.reports.reports import Answer
    from router.config import Settings

MONTH = "month"
"""The name of the page that holds every report."""
RAW_ROWS = "request_analytics"
AT_REFRESH = "as of the last refresh"
"""The period of reports whose SQL reads none."""
COUNT_OF_KNOWN = "requests_with_cost"
"""The column of a report whose money leaves unknown costs out."""
CURRENCY = "amounts in US dollars"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The sections of a page, before they are put together."""

    source: Source
    coverage: Coverage
    """For the period of the page."""
    sections: dict[str, str]
    """HTML of each report, by name."""
    coverages: dict[str, Coverage]
    """For the period of each report, by name."""


def names_for(organization: str | None, environment: str | None = None) -> list[str]:
    """The reports that a page about this organisation and environment may hold."""
    names = sorted(reports.report_names(), key=lambda name: question_of(name).place)
    return [
        name
        for name in names
        if (organization is None or question_of(name).is_by_organization)
        and (environment is None or question_of(name).is_by_environment)
    ]


def write_page(settings: Settings, name: str, window: Window, file: Path, *, timeout_s: float) -> int:
    """Write one report, or all of them (`month`), as one file of HTML. Returns its bytes.

    QueryError for a report that does not exist or is not kept by organisation. ConfigError without the
    packages that draw charts.
    """
    names = names_for(window.organization, window.environment) if name == MONTH else [name]
    built = build(settings, names, window, timeout_s=timeout_s)
    whose = whose_of(window)
    is_month = name == MONTH
    text = render(
        Page(
            title=(window.title() if is_month else title_of(name, window)) + whose,
            subtitle=f"{window if is_month else period_of(name, window)}; {CURRENCY}",
            coverage=built.coverage if is_month else built.coverages[name],
            source=built.source,
            sections=list(built.sections.values()),
            links=[(f"#{item}", question_of(item).question) for item in names] if len(names) > 1 else [],
        )
    ).encode()
    if len(text) > PAGE_BYTES:
        raise QueryError(
            f"the page would have {len(text):,} bytes, and {PAGE_BYTES:,} are the most: ask for a shorter"
            " period, or for one report"
        )
    write_atomically(file, text)
    return len(text)


def write_charts(
    settings: Settings, name: str, window: Window, file: Path, *, timeout_s: float
) -> list[Path]:
    """Draw a report's charts: the first to `file`, the second to `<its stem>-2`. SVG or PNG by the suffix.

    QueryError if no figure of the period is known. ConfigError without the packages that draw charts.
    """
    question = question_of(name)
    with opened(settings, window) as connection:
        answer = reports.run(connection, name, variables(window.of(name)), timeout_s=timeout_s)
    written = []
    for at, chart in enumerate(question.charts, 1):
        figures = figures_of(answer, chart)
        if not figures.drawn:
            raise QueryError(
                f"`{name}` has no figure to draw for this period: no {chart.measures[0]} is known."
                " Ask for another period"
            )
        path = file if at == 1 else file.with_stem(f"{file.stem}-{at}")
        is_svg = file.suffix.lower() == ".svg"
        write_atomically(path, charts.svg(figures, chart).encode() if is_svg else charts.png(figures, chart))
        written.append(path)
    return written


def drawings(
    settings: Settings, names: Sequence[str], window: Window, *, timeout_s: float = reports.QUERY_TIMEOUT_S
) -> Iterator[tuple[str, bytes]]:
    """The first chart of each report as PNG, with the report's name. Reports without figures are left out."""
    with opened(settings, window) as connection:
        for name in names:
            answer = reports.run(connection, name, variables(window.of(name)), timeout_s=timeout_s)
            chart = question_of(name).charts[0]
            figures = figures_of(answer, chart)
            if figures.drawn:
                yield name, charts.png(figures, chart, scale=1.0)


def build(settings: Settings, names: Sequence[str], window: Window, *, timeout_s: float) -> Built:
    """Run the reports and draw their sections."""
    with opened(settings, window) as connection:
        source, expired_before = _source(settings, connection)
        known: dict[datetime | None, Coverage] = {}
        sections, coverages = {}, {}
        for name in names:
            own = window.of(name)
            if own.since not in known:
                known[own.since] = _coverage(connection, own)
            answer = reports.run(connection, name, variables(own), timeout_s=timeout_s)
            section = Section(
                name=name,
                question=question_of(name),
                period=f"{period_of(name, window)}; {CURRENCY}",
                answer=answer,
                sql=reports.file_of(name).text,
                notes=tuple(_notes(connection, name, own, expired_before)),
                nothing="" if answer.table.num_rows else nothing(connection, name, own),
            )
            coverages[name] = known[own.since]
            sections[name] = section_html(section, source, coverages[name])
        whole = window if window.since is not None else window.of(names[0])
        return Built(
            source=source,
            coverage=_coverage(connection, whole),
            sections=sections,
            coverages=coverages,
        )


def opened(
    settings: Settings, window: Window
) -> contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]:
    """The published warehouse with the rows that a window is about in sight. See `reports.opened`."""
    return reports.opened(settings, organization=window.organization, environment=window.environment)


def variables(window: Window) -> dict[str, object]:
    """The variables of a report's SQL. A period that ends now holds the running quarter of an hour."""
    return {
        "since": window.since,
        "until": on_grid(window.until + GRAIN - timedelta(microseconds=1)),
        "organization": window.organization,
        "environment": window.environment,
        "timezone": window.zone.key,
    }


def notes_of(
    settings: Settings, connection: duckdb.DuckDBPyConnection, name: str, window: Window
) -> list[str]:
    """Sentences on what the figures of a report leave out or cut."""
    _, expired_before = _source(settings, connection)
    return list(_notes(connection, name, window, expired_before))


def note_on_costs(name: str, answer: Answer) -> str | None:
    """A sentence on the requests of a report that its sums of money lack, if there are any."""
    counted = [column for column in ("requests", "request_count", "failures") if column in answer.columns]
    if not question_of(name).has_totals or not counted or COUNT_OF_KNOWN not in answer.columns:
        return None
    requests, known = (
        sum(int(value or 0) for value in answer.table.column(column).to_pylist())
        for column in (counted[0], COUNT_OF_KNOWN)
    )
    return None if known >= requests else _of_known(requests, known).sentence


def note_on_grain(connection: duckdb.DuckDBPyConnection, name: str, window: Window) -> str | None:
    """A sentence on the hours of an earlier release that the window cuts, if there are any."""
    if window.since is None:
        return None
    period = Period(since=window.since, until=window.until, zone=window.zone)
    return reports.note_on_grain(connection, name, period)


def period_of(name: str, window: Window) -> str:
    """The period whose figures a report shows, with its zone. Some show those of the last refresh."""
    return str(window.of(name)) if _has_period(name) else AT_REFRESH


def title_of(name: str, window: Window) -> str:
    """The name of a report with its period, as a title."""
    return f"{name}, {window.of(name).title() if _has_period(name) else AT_REFRESH}"


def _has_period(name: str) -> bool:
    """Whether a report's SQL reads the period."""
    return "getvariable('since')" in reports.file_of(name).text


def whose_of(window: Window) -> str:
    """The end of a title that says whose requests the page is about."""
    where = "" if window.environment is None else f", environment {window.environment}"
    if window.organization is None:
        return where
    if not window.organization:
        return f", requests without an organisation{where}"
    return f", organisation {window.organization}{where}"


def _source(settings: Settings, connection: duckdb.DuckDBPyConnection) -> tuple[Source, datetime | None]:
    snapshot_id, expired_before = _row(connection, "marts/report_facts")
    try:
        facts = json.loads(settings.warehouse_facts_file.read_bytes())
        published = datetime.fromisoformat(str(facts["published_at"]))
    except (OSError, ValueError, KeyError, TypeError):  # the facts of an earlier release, or damaged
        published = datetime.fromtimestamp(settings.warehouse_file.stat().st_mtime, UTC)
    return Source(snapshot_id=snapshot_id, published_at=published), expired_before


def _coverage(connection: duckdb.DuckDBPyConnection, window: Window) -> Coverage:
    reports.set_variables(connection, variables(window))
    requests, known = _row(connection, "marts/known_cost")
    if not requests:
        return Coverage(sentence="There are no requests in this period.", is_complete=True)
    return _of_known(requests, known)


def _of_known(requests: int, known: int) -> Coverage:
    if known == requests:
        return Coverage(sentence=f"The cost of all {requests:,} requests is known.", is_complete=True)
    unknown = f"Cost unknown: {requests - known:,} of {requests:,} requests. They are in no sum of money."
    return Coverage(sentence=unknown, is_complete=False)


def _row(connection: duckdb.DuckDBPyConnection, key: str) -> tuple[Any, ...]:
    row = connection.execute(sqlfiles.load(key).text).fetchone()
    return row if row is not None else ()


def _notes(
    connection: duckdb.DuckDBPyConnection, name: str, window: Window, expired_before: datetime | None
) -> Iterator[str]:
    yield from _expired(name, window, expired_before)
    if "month" in reports.file_of(name).header["grain"].split(", ") and window.is_cut():
        yield "The last month is not over: its change compares a part of it with the whole month before."
    if (note := note_on_grain(connection, name, window)) is not None:
        yield f"{note}."


def _expired(name: str, window: Window, expired_before: datetime | None) -> Iterator[str]:
    """A sentence if retention removed raw rows that the report would read."""
    if expired_before is None or window.since is None or window.since >= expired_before:
        return
    if RAW_ROWS not in reports.file_of(name).reads:
        return
    moment = f"{expired_before.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    rollups = [item for item in reports.report_names() if RAW_ROWS not in reports.file_of(item).reads]
    yield (
        f"Retention removed the raw rows from before {moment}, and this report counts raw rows: it shows none"
        f" of them. Reports that reach further back: {', '.join(rollups)}."
    )
