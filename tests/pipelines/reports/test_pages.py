"""Pages of HTML: small, closed, honest on the unknown, and safe to open."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from pipelines.errors import QueryError
from pipelines.reports.columns import UNKNOWN
from pipelines.reports.pages import charts
from pipelines.reports.pages.building import MONTH, names_for, write_page
from pipelines.reports.pages.figures import figures_of
from pipelines.reports.pages.page import PAGE_BYTES
from pipelines.reports.pages.questions import Chart, question_of
from pipelines.reports.pages.window import Window
from pipelines.reports.report_command import COMMANDS
from pipelines.reports.reports import Answer, report, report_names
from router.config import Settings
from router.errors import ConfigError, IntelliRouterError
from tests.pipelines.helpers import make_record
from tests.pipelines.reports import fixed

if TYPE_CHECKING:
    from pathlib import Path

    from router.records import Record

JUNE = Window(since=fixed.SINCE, until=fixed.UNTIL)
MARKUP = "<script>alert('&\"')</script>"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The published warehouse of `fixed`."""
    settings = fixed.fill(Settings.load({}, home=tmp_path_factory.mktemp("fixed") / "data"))
    fixed.fill_marts(settings)
    return settings


def page(settings: Settings, folder: Path, name: str = MONTH, window: Window = JUNE) -> str:
    """A page as text."""
    write_page(settings, name, window, folder / "page.html", timeout_s=60)
    return (folder / "page.html").read_text(encoding="utf-8")


def of(settings: Settings, found: list[Record]) -> Settings:
    """The published warehouse of these records."""
    return fixed.fill(settings, found)


def test_a_page_loads_and_runs_nothing(filled: Settings, tmp_path: Path) -> None:
    """One file holds everything: no address of another file, no script, and a policy that forbids both."""
    text = page(filled, tmp_path)
    assert re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"|url\((?!#)|@import|<script|<link|<iframe", text) == []
    assert set(re.findall(r"https?://[^\"'\s<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "Content-Security-Policy\" content=\"default-src 'none'" in text
    assert len(text.encode()) < PAGE_BYTES


def test_every_question_is_a_header_with_its_source(filled: Settings, tmp_path: Path) -> None:
    """Under each figure are its SQL, the snapshot, the moment and the requests of unknown cost."""
    text = page(filled, tmp_path)
    sections = text.split("<section ")[1:]
    assert len(sections) == len(report_names())
    assert len(names_for(None)) >= 15
    for name, section in zip(names_for(None), sections, strict=True):
        assert f"<h2>{question_of(name).question.replace(chr(39), '&#x27;')}</h2>" in section
        published = r"From the warehouse of 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        assert re.search(rf"{published}, (snapshot [0-9a-f]+|no score snapshot yet)", section)
        assert f"-- name: {name.replace('-', '_')}" in section
        assert '<p class="unknown">Cost unknown: 1 of' in section


def test_a_page_fits_light_dark_paper_and_a_phone(filled: Settings, tmp_path: Path) -> None:
    """Each chart is drawn for a page and for a phone, and the style knows dark screens and paper."""
    text = page(filled, tmp_path, "cost-per-task")
    assert text.count('<figure class="wide">') == text.count('<figure class="narrow">') == 1
    assert all(
        rule in text for rule in ("screen and (prefers-color-scheme:dark)", "max-width:640px", "@media print")
    )


def test_an_organisations_page_names_no_other(filled: Settings, tmp_path: Path) -> None:
    """Names and amounts of other organisations are in no section, and reports of all are left out."""
    text = page(filled, tmp_path, window=Window(since=fixed.SINCE, until=fixed.UNTIL, organization="acme"))
    assert "acme" in text
    assert [word for word in ("globex", "u9", "k9", "experiment-7") if word in text] == []


def test_markup_in_names_is_text(settings: Settings, tmp_path: Path) -> None:
    """Names that clients choose are escaped in tables, titles and drawings."""
    of(
        settings,
        [
            make_record(
                fixed.SINCE,
                organization_id=MARKUP,
                user_id=MARKUP,
                task_type=MARKUP,
                model_selected=MARKUP,
                provider=MARKUP,
                api_key_id=MARKUP,
            )
        ],
    )
    text = page(settings, tmp_path, window=Window(since=fixed.SINCE, until=fixed.UNTIL, organization=MARKUP))
    assert "<script" not in text
    assert "alert(" in text
    for drawn in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        ET.fromstring(drawn.replace("<svg ", '<svg xmlns:xlink="x" ', 1))  # noqa: S314


def test_a_period_without_requests_says_so(filled: Settings, tmp_path: Path) -> None:
    """Nothing is drawn, and no zero is shown."""
    window = Window(since=fixed.UNTIL, until=fixed.UNTIL + timedelta(days=1))
    text = page(filled, tmp_path, "cost-per-task", window)
    assert "There are no requests in this period." in text
    assert "No requests between 2026-07-01 00:00 and 2026-07-02 00:00 UTC." in text
    assert "The warehouse holds requests from 2026-05-20 10:00 to 2026-06-30 19:45" in text
    assert "<svg" not in text


def test_unknown_costs_alone_draw_nothing(settings: Settings, tmp_path: Path) -> None:
    """A cost that is not known is no bar of zero, and the table shows a dash."""
    of(settings, [make_record(fixed.SINCE, cost_usd=None)])
    text = page(settings, tmp_path, "cost-per-task")
    assert "Nothing is drawn: no cost_usd of this period is known." in text
    assert "Cost unknown: 1 of 1 requests." in text
    assert f'<td class="n">{UNKNOWN}</td>' in text


def test_one_row_is_drawn(settings: Settings, tmp_path: Path) -> None:
    """A single request is a bar with its exact amount."""
    of(settings, [make_record(fixed.SINCE, cost_usd=Decimal("0.000000000123"))])
    assert 'aria-label="math, large: 0.000000000123"' in page(settings, tmp_path, "cost-per-task")


@pytest.mark.slow
def test_ten_thousand_organisations_fit_on_a_page(settings: Settings, tmp_path: Path) -> None:
    """The largest are drawn, and the others are one bar with their exact sum."""
    names = [f"organisation-{number:05}" for number in range(10_000)]
    of(
        settings,
        [
            make_record(
                fixed.SINCE,
                organization_id=name,
                user_id=f"user of {name}",
                api_key_id=f"key of {name}",
                cost_usd=Decimal(2) if number < 12 else Decimal("0.0000001"),
            )
            for number, name in enumerate(names)
        ],
    )
    text = page(settings, tmp_path)
    assert len(text.encode()) < PAGE_BYTES
    assert 'aria-label="9,988 others: 0.0009988"' in text


def test_a_window_before_the_raw_rows_is_named(filled: Settings, tmp_path: Path) -> None:
    """A report of raw rows says where they begin, and which reports reach further back."""
    from datetime import UTC, datetime

    from pipelines import flow
    from pipelines.warehouse.warehouse import Warehouse

    home = tmp_path / "expired"
    settings = fixed.fill(Settings.load({"ANALYTICS_RETENTION_DAYS": "30"}, home=home))
    with Warehouse(settings) as warehouse:
        flow.retain(warehouse, now=datetime(2026, 7, 20, tzinfo=UTC), force=True)
        flow.run_refresh(warehouse)
    text = page(settings, tmp_path, "cost-per-user")
    assert "Retention removed the raw rows from before 2026-06-20" in text
    assert "cost-per-organization" in text
    assert "Retention removed" not in page(settings, tmp_path, "cost-per-organization")


def test_months_are_compared_from_the_first_of_one(filled: Settings, tmp_path: Path) -> None:
    """The first month of a comparison is a whole one, and a month that is not over is named."""
    until = fixed.UNTIL - timedelta(days=10)
    text = page(filled, tmp_path, "month-by-month", Window(since=None, until=until))
    assert "month-by-month, 2025-05-01 00:00 to 2026-06-21 00:00 UTC" in text
    assert "The last month is not over" in text
    assert "The last month is not over" not in page(filled, tmp_path, "month-by-month")
    bills = page(filled, tmp_path, "reconciliation", Window(since=None, until=until))
    assert "The last month is not over" not in bills


@pytest.mark.parametrize(
    ("window", "title"),
    [
        (JUNE, "June 2026"),
        (Window(since=fixed.SINCE - timedelta(days=60), until=fixed.UNTIL), "2 April to 30 June 2026"),
        (Window(since=fixed.SINCE, until=fixed.UNTIL - timedelta(days=10)), "1 to 20 June 2026"),
    ],
)
def test_the_title_is_the_period_of_the_page(
    filled: Settings, tmp_path: Path, window: Window, title: str
) -> None:
    """A page of 90 days is not named after one month, with one report or with all of them."""
    assert f"<title>{title}</title>" in page(filled, tmp_path, window=window)
    assert f"<h1>cost-per-task, {title}</h1>" in page(filled, tmp_path, "cost-per-task", window)


def test_each_heading_has_the_period_of_its_own_figures(filled: Settings, tmp_path: Path) -> None:
    """A report that compares months, or shows the last refresh, does not have the period of the page."""
    text = page(filled, tmp_path)
    assert "cost-per-task, 2026-06-01 00:00 to 2026-07-01 00:00 UTC; amounts in US dollars<" in text
    assert "month-by-month, 2025-05-01 00:00 to 2026-07-01 00:00 UTC; amounts in US dollars<" in text
    for name in ("budgets", "experiments", "savings"):
        assert f">{name}, as of the last refresh; amounts in US dollars<" in text
    single = page(filled, tmp_path, "month-by-month", Window(since=fixed.UNTIL, until=fixed.UNTIL))
    header = single.split("</header>")[0]
    assert "<h1>month-by-month, May 2025 to June 2026</h1>" in header
    assert "There are no requests in this period." not in header


def test_months_and_units_are_named(filled: Settings, tmp_path: Path) -> None:
    """A month is not called by its first day, times have a unit, and a command is code."""
    text = page(filled, tmp_path, "month-by-month")
    assert "<td>2026-06</td>" in text
    assert "2026-06-01<" not in text
    assert "avg latency (ms)</th>" in page(filled, tmp_path, "daily-usage")
    early = fixed.SINCE - timedelta(days=3000)
    bills = page(filled, tmp_path, "reconciliation", Window(since=early, until=early + timedelta(days=1)))
    assert "<code>intellirouter reconcile FILE</code>" in bills


def axis(settings: Settings, name: str) -> dict[str, Any]:
    """The first chart's axis of amounts, for June."""
    chart = question_of(name).charts[0]
    figures = figures_of(report(settings, name, since=fixed.SINCE, until=fixed.UNTIL), chart)
    encoding = charts.specification(figures, chart, width=charts.WIDE)["encoding"]
    found: dict[str, Any] = encoding["y" if chart.mark == "column" else "x"]
    return {"title": found["title"], **found["axis"]}


def test_counts_are_whole_and_no_dollars(filled: Settings) -> None:
    """A count of requests without a cost is no amount, and no axis has a fifth of a request."""
    found = axis(filled, "unknown-cost")
    assert (found["title"], found["values"]) == ("requests without cost", [0, 1])
    assert "$" not in found["format"]
    assert axis(filled, "exploration-share")["values"] == [0, 1]
    money = axis(filled, "cost-per-task")
    assert (money["title"], money["format"]) == ("cost (US dollars)", "$,.2f")
    assert "values" not in money


def test_a_terminal_says_how_many_costs_are_unknown(filled: Settings) -> None:
    """The count of known costs may leave a narrow table, so a line above it tells what the sums lack."""
    june = ("--since", "2026-06", "--until", "2026-06")
    assert run(filled, "cost-per-task", *june).splitlines()[1] == (
        "Cost unknown: 1 of 7 requests. They are in no sum of money."
    )
    assert "Cost unknown" not in run(filled, "latency", *june)
    assert "Cost unknown" not in run(filled, "failures", *june)  # the cost of the one failure is known
    assert "Cost unknown" not in run(
        filled, "cost-per-task", "--since", "2026-06-30", "--until", "2026-06-30"
    )


def test_the_others_keep_every_digit() -> None:
    """The sum of the bars equals the sum of the rows."""
    import pyarrow as pa

    values = [Decimal(number) / 10**12 for number in range(1, 1001)]
    table = pa.table({"user_id": [f"u{number}" for number in range(1000)], "cost_usd": values})
    found = figures_of(Answer(table=table), Chart(mark="bar", y=("user_id",), x=("cost_usd",)))
    assert len(found.drawn) == 13
    assert sum(Decimal(item.exact) for item in found.drawn) == sum(values)


def run(settings: Settings, *arguments: str) -> str:
    """The output of `intellirouter report`."""
    group = click.Group(commands=COMMANDS)
    result = CliRunner().invoke(group, ["report", *arguments, "--home", str(settings.home)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.smoke
def test_a_chart_is_written_by_its_suffix(filled: Settings, tmp_path: Path) -> None:
    """The suffix of the file makes it a page, an SVG or a PNG. A second chart has a file of its own."""
    window = ("--since", "2026-06-01", "--until", "2026-07-01")
    run(filled, "quality-trend", *window, "--output", str(tmp_path / "a.svg"))
    run(filled, "quality-trend", *window, "--output", str(tmp_path / "a.png"))
    assert "wrote" in run(filled, "month", *window, "--html", str(tmp_path / "a.html"))
    assert (tmp_path / "a.svg").read_text().startswith("<svg ")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a-2.png",
        "a-2.svg",
        "a.html",
        "a.png",
        "a.svg",
    ]


def test_month_prints_every_report(filled: Settings) -> None:
    """Without a file, the reports follow one another."""
    text = run(filled, "month", "--since", "2026-06-01", "--until", "2026-07-01", "--organization", "acme")
    assert text.count("amounts in US dollars") == len(names_for("acme"))


EMPTY = ("--since", "2026-07-02", "--until", "2026-07-03")


@pytest.mark.parametrize("name", report_names())
@pytest.mark.parametrize("width", ["60", "200"])
def test_a_report_without_rows_is_a_sentence(
    filled: Settings, name: str, width: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person reads why there is nothing, and a program gets the columns."""
    monkeypatch.setenv("COLUMNS", width)
    lines = run(filled, name, *EMPTY).splitlines()
    if answered(filled, name, *EMPTY):
        assert len(lines) > 3
        return
    sentence = lines[-1]
    assert sentence.endswith((".", "--until."))
    assert "│" not in "".join(lines)
    header, *rows = run(filled, name, *EMPTY, "--format", "csv").splitlines()
    assert "," in header
    assert rows == []
    assert run(filled, name, *EMPTY, "--format", "json") == "[]\n"


def answered(settings: Settings, *arguments: str) -> list[str]:
    """The rows of a report, as a program gets them."""
    return run(settings, *arguments, "--format", "csv").splitlines()[1:]


def test_no_requests_are_told_from_none_that_count(filled: Settings, settings: Settings) -> None:
    """The sentence has the days that the warehouse holds, or the meaning of no rows for this question."""
    expected = (
        "No requests of organisation acme between 2026-07-02 00:00 and 2026-07-04 00:00 UTC. The warehouse"
        " holds requests from 2026-05-20 10:00 to 2026-06-11 23:30: choose days with --since and --until."
    )
    assert run(filled, "failures", *EMPTY, "--organization", "acme").splitlines()[1] == expected
    day = ("--since", "2026-06-10", "--until", "2026-06-10")
    assert "No request of this period failed." in run(filled, "failures", *day)
    assert "The cost of every request of this period is known." in run(filled, "unknown-cost", *day)
    fixed.fill(settings, [])
    assert "`intellirouter refresh` loads those that were served" in run(settings, "cost-per-task")
    assert "Set BASELINE_MODEL" in run(settings, "savings")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("month", "--format", "csv"), "`month` is many reports: write it with --html"),
        (("cost-per-task", "--format", "svg"), "`svg` is not printed: name a file with --output"),
        (("cost-per-tasks", "--html", "x.html"), "unknown report `cost-per-tasks`: nearest known"),
        (("cost-per-task", "--html", "x.html", "--output", "x.csv"), "give one of --html and --output"),
        (("cost-per-task", "--output", "x.gif"), "the format of `x.gif` is not clear"),
        (("cost-per-task", "--html", "x.html", "--organization", "acmee"), "unknown organisation `acmee`"),
        (("experiments", "--html", "x.html", "--organization", "acme"), "is not kept by organisation"),
        (("cost-per-task", "--output", "x.svg", "--since", "1d"), "has no figure to draw for this period"),
    ],
)
def test_an_impossible_request_is_named(filled: Settings, arguments: tuple[str, ...], message: str) -> None:
    """The error has the value and the remedy, and no file is written."""
    with pytest.raises(IntelliRouterError, match=re.escape(message)):
        run(filled, *arguments)


def test_a_page_over_the_limit_is_refused(
    filled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that grows beyond a megabyte is not written, and the error says how to make it smaller."""
    monkeypatch.setattr("pipelines.reports.pages.building.PAGE_BYTES", 1000)
    with pytest.raises(QueryError, match="1,000 are the most: ask for a shorter"):
        page(filled, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_its_name_is_given(
    filled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the package that lacks, and the extra that brings it."""
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(ConfigError, match=r"charts need `altair`.*pip install 'intellirouter\[reports\]'"):
        page(filled, tmp_path, "cost-per-task")


def test_a_table_loads_no_drawing_package() -> None:
    """Reports in the terminal start without the second that Altair takes."""
    code = "import sys, pipelines.reports.report_command, pipelines.reports.pages.building;"
    code += "assert not {'altair', 'vl_convert'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
