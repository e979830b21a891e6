"""The commands `mirror` and `export documents`."""

from __future__ import annotations

from pathlib import Path

import click

_home = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME."
)


@click.command("mirror")
@_home
@click.option("--full", is_flag=True, help="Copy every row again, also where the ledgers agree.")
def mirror_command(home: Path | None, *, full: bool) -> None:
    """Bring the copy in PostgreSQL (MIRROR_URL) up to the published warehouse."""
    from pipelines.copies.mirror import checked, mirror
    from router.config import Settings
    from router.settings.folder import existing

    result = mirror(existing(Settings.load(home=home)), full=full)
    rows = sum(result.rows.values())
    click.echo(
        f"{result.target}: {result.tables} tables, {rows} rows written in {result.parts_copied} parts,"
        f" {result.parts_removed} parts removed"
    )
    for note in result.notes:
        click.echo(note, err=True)
    checked(result)


@click.group("export")
def export_group() -> None:
    """Write records for other programs."""


@export_group.command("documents")
@_home
@click.option(
    "--to", "target", required=True, metavar="FILE.jsonl|mongodb://…", help="A file, or a MongoDB database."
)
@click.option(
    "--collection", default="request_documents", show_default=True, help="Collection of the MongoDB database."
)
def documents_command(home: Path | None, target: str, collection: str) -> None:
    """Export each request as a document, and remove documents of requests that are gone."""
    from pipelines.copies.documents import export_documents
    from router.config import Settings
    from router.settings.folder import existing

    result = export_documents(existing(Settings.load(home=home)), target, collection=collection)
    click.echo(
        f"{result.target}: {result.documents} documents, {result.written} written, {result.removed} removed"
    )
    result.raise_if_refused()


COMMANDS: list[click.Command] = [mirror_command, export_group]
