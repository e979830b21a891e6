"""The commands `mirror`, `export documents` and `export iceberg`."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.billing.bill_commands import focus_command
from pipelines.importing.import_commands import export_config_command
from router.settings.printing import RowOutput, row_options

_home = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder. Default: $INTELLIROUTER_HOME."
)


@click.command("mirror")
@_home
@click.option("--full", is_flag=True, help="Copy every row again, also where the ledgers agree.")
@row_options
def mirror_command(home: Path | None, to: RowOutput, *, full: bool) -> None:
    """Bring the copy in PostgreSQL (MIRROR_URL) up to the published warehouse."""
    from pipelines.copies.mirror import checked, mirror
    from router.config import Settings
    from router.settings.folder import existing

    result = mirror(existing(Settings.load(home=home)), full=full)
    rows = sum(result.rows.values())
    line = (
        f"{result.target}: {result.tables} tables, {rows} rows written in {result.parts_copied} parts,"
        f" {result.parts_removed} parts removed"
    )
    facts = {
        "target": result.target,
        "tables": result.tables,
        "rows": rows,
        "parts_copied": result.parts_copied,
        "parts_removed": result.parts_removed,
    }
    to.write([facts], [line])
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
@row_options
def documents_command(home: Path | None, target: str, collection: str, to: RowOutput) -> None:
    """Export each request as a document, and remove documents of requests that are gone."""
    from pipelines.copies.documents import export_documents
    from router.config import Settings
    from router.settings.folder import existing

    result = export_documents(existing(Settings.load(home=home)), target, collection=collection)
    line = (
        f"{result.target}: {result.documents} documents, {result.written} written, {result.removed} removed"
    )
    facts = {
        "target": result.target,
        "documents": result.documents,
        "written": result.written,
        "removed": result.removed,
    }
    to.write([facts], [line])
    result.raise_if_refused()


@export_group.command("iceberg")
@_home
@row_options
def iceberg_command(home: Path | None, to: RowOutput) -> None:
    """Register the lake's segments as Iceberg tables, without a copy of their rows."""
    from pipelines.copies.iceberg import export_iceberg
    from router.config import Settings
    from router.settings.folder import existing

    found = export_iceberg(existing(Settings.load(home=home)))
    lines = [
        f"{item.table}: {item.rows} rows in {item.files} files, {item.added} added, in {item.location}"
        for item in found
    ]
    to.write(
        [
            {
                "table": item.table,
                "rows": item.rows,
                "files": item.files,
                "added": item.added,
                "left_out": len(item.left_out),
                "location": item.location,
            }
            for item in found
        ],
        lines,
    )
    for path in (path for item in found for path in item.left_out):
        click.echo(
            f"left out: `{path}` is missing, or holds rows that another segment has too: run `intellirouter"
            " refresh` and `intellirouter compact`, then export again",
            err=True,
        )


export_group.add_command(focus_command)
export_group.add_command(export_config_command)

COMMANDS: list[click.Command] = [mirror_command, export_group]
