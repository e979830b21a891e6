"""The command `sync`."""

from __future__ import annotations

import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.settings.printing import RowOutput, row_options

if TYPE_CHECKING:
    from pipelines.store.rounds import Round


@click.command("sync")
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
@click.option("--every", type=click.FloatRange(min=1), metavar="SECONDS", help="Go on, a round so often.")
@click.option("--derive", is_flag=True, help="This host runs the jobs: publish their results. One host may.")
@row_options
def sync_command(home: Path | None, every: float | None, to: RowOutput, *, derive: bool) -> None:
    """Bring this host's lake and the object store of LAKE_URL in line.

    Sends sealed segments, fetches those of other hosts with the scores and usage that the jobs publish, and
    removes what was erased, compacted or expired elsewhere. Exits with 1 if a segment could not be moved.
    """
    from pipelines.errors import StoreError
    from pipelines.store.rounds import Rounds
    from router.config import Settings
    from router.settings.folder import existing

    settings = existing(Settings.load(home=home))
    rounds = Rounds.open(settings, derives=derive)
    if every is not None:
        signal.signal(signal.SIGTERM, _end)
        click.echo(f"sharing the lake through {settings.lake_url}", err=to.format != "table")
    try:
        while True:
            started = time.monotonic()
            try:
                result = rounds.run(datetime.now(UTC))
            except StoreError as error:
                if every is None:
                    raise
                click.echo(f"intellirouter: {error}", err=True)
            else:
                _print(result, to, is_quiet=every is not None)
                if every is None:
                    sys.exit(1 if result.segments.problems else 0)
            time.sleep(max(0.0, every - (time.monotonic() - started)))
    finally:
        rounds.close()


def _end(*_: object) -> None:
    """End at once: a round may stop anywhere, and the lease is given back on the way out."""
    raise SystemExit(0)


def _print(result: Round, to: RowOutput, *, is_quiet: bool) -> None:
    moved = result.segments
    for problem in moved.problems:
        click.echo(f"intellirouter: {problem}", err=True)
    if is_quiet and not (moved.fetched or moved.sent or moved.removed_here or moved.removed_there):
        return
    line = (
        f"sent {moved.sent} segments (merged from {moved.merged} small ones), fetched {moved.fetched},"
        f" removed {moved.removed_here} here and {moved.removed_there} there, {result.files} files changed"
    )
    to.write([result.facts() | {"problems": len(moved.problems)}], [line])


COMMANDS: list[click.Command] = [sync_command]
