"""`intellirouter dagster`: the UI and the daemon."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import click

LEVEL = "warning"
"""Dagster logs two lines for every tick of a sensor at `info`."""


@click.command("dagster")
@click.option("--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address. Dagster asks for no password.")
@click.option("--port", type=int, default=3000, show_default=True, help="Port of the UI.")
@click.option(
    "--log-level",
    type=click.Choice(["critical", "error", "warning", "info", "debug"]),
    default=LEVEL,
    show_default=True,
    help="Least severe lines of Dagster's own log.",
)
def dagster_command(home: Path | None, host: str, port: int, log_level: str) -> None:
    """Start Dagster's UI and daemon, which run the jobs on the data folder.

    Runs of the other commands are on the same timeline. Stop it with Ctrl-C.
    """
    from pipelines.errors import WarehouseError
    from pipelines.refresh import dagster_home, write_configuration
    from router.config import Settings
    from router.settings.command_errors import hidden_by, hiding_line
    from router.settings.folder import existing

    settings = existing(Settings.load(home=home))
    if (hiding := hidden_by("pipelines", also=Path.cwd())) is not None:  # Dagster imports from here first
        raise WarehouseError(hiding_line(hiding))
    folder = dagster_home(settings)
    write_configuration(folder)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise WarehouseError(
                f"Dagster cannot listen on {host}:{port}: {error.strerror}. Name another with --port"
            ) from error
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(folder),
        "INTELLIROUTER_HOME": str(settings.home.absolute()),
        # `dagster dev` greets with a warning that `dg dev` supersedes it; `dg` needs a project.
        "PYTHONWARNINGS": "ignore::FutureWarning",
    }
    click.echo(f"Dagster on http://{host}:{port} for {settings.home}; stop it with Ctrl-C")
    sys.stdout.flush()
    # A shell starts a background command with SIGINT ignored, and Dagster does with SIGTERM as with SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(folder / "workspace.yaml")]
    command += ["-h", host, "-p", str(port), "--log-level", log_level]
    os.execve(sys.executable, command, environment)  # noqa: S606 (a list of arguments, no shell)


COMMANDS: list[click.Command] = [dagster_command]
