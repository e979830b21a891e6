"""`intellirouter import`: the logs and the configuration of other gateways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.reports.report_command import OTHERS
from router.errors import masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipelines.importing.leaves import Finding
    from pipelines.importing.spend_logs import Imported
    from pipelines.reports.output import Output
    from pipelines.reports.pages.window import Window
    from router.config import Settings

_home = click.option(
    "--home", type=click.Path(path_type=Path), required=True, help="A data folder for imports only."
)


@click.group("import")
def import_group() -> None:
    """Look before you move: import the logs of another gateway, and its configuration."""


@import_group.command("litellm-logs")
@click.argument("target", metavar="FILE|postgresql://…")
@_home
@click.option(
    "--time-zone",
    default="UTC",
    show_default=True,
    help="The zone of moments without an offset. LiteLLM writes UTC.",
)
def litellm_logs_command(target: str, home: Path, time_zone: str) -> None:
    """Import LiteLLM's spend logs: Parquet, CSV, JSONL, or the table itself.

    A second import of the same rows adds nothing. Rows that cannot be read are named and left out.
    """
    from pipelines.importing.spend_logs import import_logs
    from router.config import Settings
    from router.settings.time_zones import known_zone

    try:
        known_zone(time_zone)
    except ValueError as error:
        raise click.BadParameter(f"`{time_zone}` {error}", param_hint="--time-zone") from error
    result = import_logs(Settings.load(home=home), target, time_zone=time_zone)
    _report(result)
    click.echo(f"next: intellirouter refresh --home {home}")


@import_group.command("tensorzero-logs")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@_home
@click.option("--quality", metavar="METRIC", help="The metric that says how good an answer is, from 0 to 1.")
def tensorzero_logs_command(folder: Path, home: Path, quality: str | None) -> None:
    """Import TensorZero's tables with their feedback, dumped from ClickHouse as Parquet.

    FOLDER holds ChatInference.parquet, ModelInference.parquet and so on, or a folder for each table. A
    second import of the same rows adds nothing. Rows that cannot be read are named and left out.
    """
    from pipelines.importing.tensorzero import import_tables
    from router.config import Settings

    found = import_tables(Settings.load(home=home), folder, quality=quality)
    click.echo(
        f"{found.source}: {found.rows} inferences, {found.added} new requests; {found.judgements} judgements,"
        f" {found.judgements_added} new; {found.segments} segments"
    )
    if found.without_cost:
        click.echo(f"  {found.without_cost} new requests have no known cost")
    for names, meaning in ((found.missing, "the dump lacks"), (found.unread, "not kept:")):
        if names:
            click.echo(f"  {meaning} {', '.join(names)}")
    _report_refused(
        found.refused, [f"{fault.table}, row {fault.row}: {fault.cause}" for fault in found.faults]
    )
    click.echo(f"next: intellirouter refresh --home {home}")


@import_group.command("litellm-config")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--keys", type=click.Path(dir_okay=False, path_type=Path), help="Rows of LiteLLM_VerificationToken."
)
@click.option(
    "--home", type=click.Path(path_type=Path), required=True, help="A data folder without documents."
)
def litellm_config_command(config: Path, keys: Path | None, home: Path) -> None:
    """Import LiteLLM's config.yaml, and the hashes of its keys, so that clients keep their keys.

    Each field without an equivalent is named with a reason. Existing documents are never replaced.
    """
    from pipelines.importing.litellm_config import convert, read_config, read_keys, write
    from router.config import Settings

    converted = convert(read_config(config), () if keys is None else read_keys(keys))
    write(Settings.load(home=home), converted)
    click.echo(
        f"{config}: {len(converted.mapped)} of {converted.leaves} fields are in"
        f" {', '.join(converted.documents)} now, {len(converted.findings)} have no equivalent,"
        f" {len(converted.keys)} keys"
    )
    _report_findings(converted.findings)


@click.command("litellm-config")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--keys",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file for the keys, as rows of LiteLLM_VerificationToken.",
)
@click.option("--home", type=click.Path(path_type=Path), help="Data folder.")
def export_config_command(config: Path, keys: Path | None, home: Path | None) -> None:
    """Export catalog, limits and the hashes of keys as LiteLLM's config.yaml.

    Each field without an equivalent is named with a reason. Existing files are never replaced.
    """
    from datetime import UTC, datetime

    from pipelines.importing.litellm_export import export, write_export
    from router.config import Settings
    from router.configuration.opening import open_source
    from router.keys.opening import open_key_store
    from router.settings.folder import existing

    settings = existing(Settings.load(home=home))
    source = open_source(settings)
    try:
        documents = source.read()
    finally:
        source.close()
    store = open_key_store(settings)
    try:
        entries = store.read().keys if keys is not None else ()
    finally:
        store.close()
    exported = export(documents, entries, now=datetime.now(UTC))
    write_export(exported, config, keys)
    click.echo(
        f"{config}: {len(exported.mapped)} of {exported.leaves} fields are at LiteLLM now,"
        f" {len(exported.findings)} have no equivalent, {len(exported.keys)} keys"
    )
    _report_findings(exported.findings)


def _report(result: Imported) -> None:
    click.echo(
        f"{masked(result.source)}: {result.rows} rows, {result.added} new requests in {result.segments}"
        " segments"
    )
    for count, meaning in (
        (result.known, "were imported before"),
        (result.duplicates, "repeat the id of another row, and count once"),
        (result.without_cost, "new requests have no known cost"),
        (result.zero_with_tokens, "of those have tokens and a spend of 0: the log had no price for them"),
    ):
        if count:
            click.echo(f"  {count} {meaning}")
    if result.unread:
        click.echo(f"  columns that are not kept: {', '.join(result.unread)}")
    _report_refused(result.refused, [f"row {fault.row}: {fault.cause}" for fault in result.faults])


def _report_refused(refused: int, faults: Sequence[str]) -> None:
    """Name the first rows that were left out, and count the others."""
    if refused:
        click.echo(f"  {refused} rows could not be read and were left out", err=True)
    for fault in faults:
        click.echo(f"    {masked(fault)}", err=True)
    if refused > len(faults):
        click.echo(f"    and {refused - len(faults)} more", err=True)


def _report_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        click.echo(f"  {finding.path} = {finding.value}: {finding.reason}; {finding.advice}")


def _moving_in(settings: Settings, window: Window, to: Output) -> None:
    from pipelines.importing.moving_in_text import print_report

    print_report(settings, window, to)


OTHERS["moving-in"] = (
    "A log of another gateway: what it says about a move, and what it cannot say",
    _moving_in,
)
COMMANDS: list[click.Command] = [import_group]
