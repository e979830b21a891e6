"""`intellirouter`: the command line.

The commands of the serving half are here. Those of the analytics half are in `pipelines.cli` and in the
`*_commands` modules of its rooms. They work when the `pipelines` extra is installed.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import ConfigError, IntelliRouterError, masked
from router.settings.command_errors import as_line, hidden_by

if TYPE_CHECKING:
    from router.config import Settings

try:
    import click
except ImportError:  # the base install has no command line
    click = None  # type: ignore[assignment]

COMMAND_MODULES = {
    "router.keys.commands": ("keys",),
    "router.configuration.commands": ("config", "backup", "restore", "schema"),
    "pipelines.cli": (
        "bill",
        "refresh",
        "rebuild",
        "compact",
        "retention",
        "erase",
        "doctor",
        "explain",
    ),
    "pipelines.orchestration.dagster_command": ("dagster",),
    "pipelines.reports.sql_command": ("sql",),
    "pipelines.reports.report_command": ("report", "publish-reports"),
    "pipelines.store.sync_command": ("sync",),
    "pipelines.copies.copy_commands": ("mirror", "export"),
    "pipelines.importing.import_commands": ("import",),
    "pipelines.experiments.experiment_commands": ("experiments",),
    "pipelines.anomalies.anomaly_commands": ("budgets", "anomalies", "alerts"),
    "pipelines.evaluation.evaluation_commands": ("evaluate",),
    "pipelines.prices.price_commands": ("prices",),
    "pipelines.reconciliation.reconcile_commands": ("reconcile",),
    "pipelines.replay.replay_commands": ("demo", "replay"),
}

SUBCOMMANDS = {
    "config": "router.readiness.commands",
    "prices": "pipelines.reconciliation.restate_commands",
}
"""Modules whose commands belong into a group of another room, by its name."""


def main() -> None:
    """Entry point: an IntelliRouterError prints one line and exits with 1."""
    if click is None:
        sys.exit(
            "intellirouter: the command line needs an extra: pip install 'intellirouter[server]' to serve, or"
            " 'intellirouter[all]' for every command"
        )
    from router.settings.command_list import usage_fault

    try:
        _group().main(prog_name="intellirouter", standalone_mode=False)
    except IntelliRouterError as error:
        sys.exit(f"intellirouter: {error}")
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.UsageError as error:
        usage = error.ctx.get_usage() + "\n" if error.ctx else ""
        click.echo(f"{usage}Error: {masked(usage_fault(error))}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"Error: {masked(error.format_message())}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except Exception as error:
        line = as_line(error)
        if line is None:
            raise
        sys.exit(f"intellirouter: {masked(line)}")


def _group() -> click.Group:
    from router.settings.command_list import CommandList

    @click.group(
        cls=CommandList,
        help="An analytics-first LLM router. `intellirouter COMMAND --help` says more about a command.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    @click.version_option(package_name="intellirouter")
    def group() -> None:
        pass

    for command in (_init(), _serve()):
        group.add_command(command)
    for module, names in COMMAND_MODULES.items():
        for command in _commands(module, names):
            group.add_command(command)
    for name, module in SUBCOMMANDS.items():
        parent = group.commands.get(name)
        if not isinstance(parent, click.Group):
            parent = click.Group(name, help="The configuration.")
            group.add_command(parent)
        for command in _commands(module, ()):
            parent.add_command(command)
    return group


def _commands(module: str, names: tuple[str, ...]) -> list[click.Command]:
    """The commands of a module, or placeholders that fail when its packages are not installed."""
    try:
        if module.startswith("pipelines.") and hidden_by("pipelines"):
            raise ModuleNotFoundError(name=module)
        commands: list[click.Command] = import_module(module).COMMANDS
    except ModuleNotFoundError as error:
        missing = error

        def explain() -> None:
            raise missing

        return [click.Command(name, callback=explain, help="Needs an extra.") for name in names]
    return commands


def _init() -> click.Command:
    @click.command(help="Write an example catalog.yaml into the data folder.")
    @click.option("--home", type=click.Path(path_type=Path), help="Data folder (INTELLIROUTER_HOME).")
    def init(home: Path | None) -> None:
        from router.catalog.catalog import EXAMPLE_FILE
        from router.config import Settings

        settings = Settings.load(home=home)
        catalog = settings.home / "catalog.yaml"
        if catalog.exists():
            raise ConfigError(f"`{catalog}` exists and is left as it is: edit it, or remove it first")
        settings.home.mkdir(parents=True, exist_ok=True)
        catalog.write_bytes(EXAMPLE_FILE.read_bytes())
        click.echo(f"wrote {catalog}: set the keys it names, check its prices, then")
        if settings.database_url is not None:
            click.echo(f"  intellirouter config push --home {settings.home}")
        click.echo(f"  intellirouter serve --home {settings.home}")

    return init


def _serve() -> click.Command:
    @click.command(help="Serve the OpenAI-compatible HTTP shim.")
    @click.option("--home", type=click.Path(path_type=Path), help="Data folder (INTELLIROUTER_HOME).")
    @click.option("--host", help="Address to listen on (INTELLIROUTER_HOST).")
    @click.option("--port", type=int, help="Port, 0 for a free one (INTELLIROUTER_PORT).")
    @click.option("--workers", type=int, help="Processes that serve (WORKERS).")
    def serve(home: Path | None, host: str | None, port: int | None, workers: int | None) -> None:
        from router.config import Settings
        from router.server.process.serve import serve as run

        settings = Settings.load(home=home, host=host, port=port, workers=workers)
        if settings.database_url is None:
            _begin(settings)
        run(settings)

    return serve


def _begin(settings: Settings) -> None:
    """Write a catalog into a data folder that is empty, if the key of a known provider is set.

    ConfigError if the folder is missing and was named, since the name may be misspelt.
    """
    from router.catalog.starter import key_variables, write_starter
    from router.config import Settings
    from router.settings.environment import Variables
    from router.settings.folder import existing

    home = settings.home
    if home != Settings.model_fields["home"].default:
        existing(settings)
    if (home / "catalog.yaml").exists() or (home.is_dir() and any(home.iterdir())):
        return
    keys = write_starter(home, Variables.read().merged)
    if not keys:
        raise ConfigError(
            f"no catalog at `{home / 'catalog.yaml'}`: run `intellirouter init` to write an example, or set"
            f" the key of a provider ({', '.join(key_variables())}) and serve again, or set"
            " INTELLIROUTER_HOME to the folder that holds one"
        )
    click.echo(f"wrote {home / 'catalog.yaml'} for the keys {', '.join(keys)}: edit it, and check its prices")


if __name__ == "__main__":
    main()
