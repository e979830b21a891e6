"""How far the long parts of a refresh are, for a person who watches.

A part says what it does, how much of it is done, and how much there is. Without a listener nothing happens.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Listener = Callable[[str, int, int], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def watched(listener: Listener) -> Iterator[None]:
    """Have `listener` called with the part, the number done and the number of all, in this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(part: str, done: int, total: int) -> None:
    """Say how far a part is, such as 200 of 2,400 segments."""
    listener = _listener.get()
    if listener is not None:
        listener(part, done, total)


@contextlib.contextmanager
def on_terminal() -> Iterator[None]:
    """Show the parts as bars on the standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    shown = {}

    def show(part: str, done: int, total: int) -> None:
        if part not in shown:
            shown[part] = bars.add_task(part, total=total)
        bars.update(shown[part], completed=done, total=total)

    with bars, watched(show):
        yield
