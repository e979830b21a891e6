"""Shows a replay on the terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from pipelines.replay.books import Books
    from pipelines.replay.plan import Plan
    from pipelines.replay.reference import Line
    from pipelines.replay.report import Report, Round

ROUNDS_SHOWN = 12
"""About this many lines about rounds stay on the screen. The bar shows every round."""


class Live:
    """An Observer with a progress bar and a line about every few rounds."""

    def __init__(self, console: Console, plan: Plan) -> None:
        requests = len(plan.arrivals_s)
        self._console = console
        self._rounds = -(-requests // plan.refresh_every)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[latest]}"),
            console=console,
        )
        self._requests = self._progress.add_task("starting", total=requests, latest="")
        self._warnings: set[str] = set()

    def __enter__(self) -> Self:
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the bar where it is."""
        self._progress.stop()

    def on_phase(self, name: str) -> None:
        """See Observer."""
        self._progress.update(self._requests, description=name)

    def on_request(self) -> None:
        """See Observer."""
        self._progress.advance(self._requests)

    def on_round(self, done: Round) -> None:
        """See Observer."""
        self._progress.update(
            self._requests, latest=f"refresh {done.number}/{self._rounds} in {done.refresh_s:.1f} s"
        )
        every = max(1, self._rounds // ROUNDS_SHOWN)
        if done.number == 1 or done.number % every == 0:
            self._progress.console.print(_round_line(done, self._rounds))

    def on_warning(self, text: str) -> None:
        """See Observer. A check repeats its finding for a day: it is shown once."""
        if text not in self._warnings:
            self._warnings.add(text)
            self._progress.console.print(text, style="yellow", markup=False)


def _round_line(done: Round, rounds: int) -> str:
    router, best = done.router, done.best_single
    return (
        f"batch {done.number:>3}/{rounds}"
        f"  quality [bold]{router.quality:.3f}[/bold] (best single {best.quality:.3f})"
        f"  $/1k [bold]{router.cost_usd_per_1k:.4g}[/bold] ({best.cost_usd_per_1k:.4g})"
    )


def results_table(report: Report) -> Table:
    """The router and its references."""
    # The models' names go below the table, because they would wrap on a terminal of 80 columns.
    named = (line.name.removesuffix(")").partition(" (") for line in report.lines)
    names = "; ".join(f"{kind}: {model}" for kind, _, model in named if model)
    table = Table(title=f"{report.books.sent:,} requests", caption=names)
    table.add_column("")
    for heading in ("quality", "$/1k requests", "regret", "% of random's"):
        table.add_column(heading, justify="right")
    for index, line in enumerate(report.lines):
        table.add_row(*_cells(line), style="bold" if index == 0 else None)
    for name, halves in zip(("first", "second"), report.halves, strict=False):
        table.add_section()
        for line in halves:
            cells = _cells(line)
            table.add_row(f"{line.name}, {name} half", *cells[1:])
    return table


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.name.partition(" (")[0],
        f"{line.quality:.4f}",
        f"{line.cost_usd_per_1k:.4f}",
        f"{line.regret:.1f}",
        "" if line.share_of_random is None else f"{line.share_of_random:.1%}",
    )


def books_lines(books: Books) -> list[str]:
    """The books as lines of text."""
    cost = "not known in full" if books.cost_in_warehouse is None else f"${books.cost_in_warehouse:f}"
    lines = [
        f"requests sent {books.sent:,} · rows {books.rows:,} · distinct ids {books.distinct_ids:,}",
        f"feedback sent {books.feedback_sent:,} · rows {books.feedback_rows:,}",
        f"cost of what was chosen ${books.cost_of_picks:f} · cost in the warehouse {cost}",
        *books.differences,
    ]
    verdict = "[green]books equal[/green]" if books.is_equal else "[bold red]BOOKS DIFFER[/bold red]"
    return [*lines, verdict]


def speed_line(report: Report) -> str:
    """The rates and times of the replay in one line."""
    rate = report.books.sent / report.sending_s if report.sending_s else 0.0
    rounds = len(report.rounds) or 1
    return (
        f"{rate:,.0f} requests/s over HTTP with feedback; {len(report.rounds)} refreshes,"
        f" {report.refreshing_s / rounds:.2f} s each from the last answer to the new scores in use;"
        f" a request waited at most {report.late_s:.2f} s for a free connection"
    )


def summary(report: Report) -> dict[str, Any]:
    """The report as JSON."""
    books = asdict(report.books)
    for name in ("cost_of_picks", "cost_in_warehouse"):
        books[name] = None if books[name] is None else f"{books[name]:f}"
    return {
        "requests": report.books.sent,
        "lines": [asdict(line) for line in report.lines],
        "halves": [{"router": asdict(router), "best_single": asdict(best)} for router, best in report.halves],
        "rounds": [asdict(done) for done in report.rounds],
        "books": {**books, "is_equal": report.books.is_equal},
        "models_used": report.models_used,
        "sending_s": report.sending_s,
        "refreshing_s": report.refreshing_s,
        "late_s": report.late_s,
    }
