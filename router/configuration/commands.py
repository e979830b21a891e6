"""`intellirouter config`: the history of the configuration, and changes to it, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from router.config import Settings
from router.configuration.backups import backup, restore
from router.configuration.changing import apply, checked_change, rollback
from router.configuration.documents import EDITED
from router.configuration.moving_commands import MOVING
from router.configuration.opening import open_source
from router.configuration.resolving import (
    alike,
    changed_documents,
    differences,
    documents_of,
    resolve,
    text_of,
)
from router.configuration.schemas import DOCUMENTS, schema_of
from router.configuration.watching import look
from router.errors import ConfigError, nearest
from router.files import make_folder, write_atomically
from router.settings.printing import RowOutput, row_options

if TYPE_CHECKING:
    from router.configuration.documents import Documents
    from router.configuration.source import StateSource, Version

home_option = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder (INTELLIROUTER_HOME)."
)
_expected = click.option(
    "--expected",
    type=click.IntRange(min=0),
    metavar="VERSION",
    help="The version that you made the change from. If another one is the newest, nothing is changed.",
)


@click.group("config", help="The configuration: its history, differences, changes.")
def config() -> None:
    """The group."""


@config.command("history", help="List the versions of the configuration, newest first.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Lines at most.")
@home_option
@row_options
def history_command(home: Path | None, to: RowOutput, limit: int) -> None:
    """One line a version."""
    source, _ = _opened(home)
    versions = list(source.versions())
    befores = dict(zip((version.number for version in versions), [None, *versions], strict=False))
    shown = versions[: -limit - 1 : -1]
    changed = [", ".join(changed_documents(befores[version.number], version)) for version in shown]
    facts = [{**_as_json(version), "changed": names} for version, names in zip(shown, changed, strict=True)]
    lines = [f"{_line(version)}  {names}" for version, names in zip(shown, changed, strict=True)]
    to.write(facts, lines or ["there is no history yet: it begins with a usable catalog.yaml"])


@config.command("show", help="Show the documents of a version: HASH is a record's config_hash, or a number.")
@click.argument("name", metavar="HASH")
@click.option("--document", metavar="NAME", help="Print only this document, as it was.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="`json` is what `config apply` reads.",
)
@home_option
def show_command(name: str, document: str | None, output_format: str, home: Path | None) -> None:
    """Print the documents. With --format json, `config apply` reads the output."""
    source, _ = _opened(home)
    version = resolve(source, name)
    documents = documents_of(source, version)
    if document is not None:
        if document not in documents:
            raise ConfigError(
                f"version `{version.number}` has no `{document:.80}`: {nearest(document, documents)}"
            )
        click.echo(documents[document], nl=False)
        return
    if output_format == "json":
        texts = {key: content.decode("utf-8", errors="replace") for key, content in documents.items()}
        shown = {**_as_json(version), "digests": dict(version.documents), "documents": texts}
        click.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
        return
    numbers = alike(source, version)
    click.echo(f"# {_line(version)}")
    if len(numbers) > 1:
        click.echo(f"# versions that decide alike: {', '.join(map(str, numbers))}")
    for key, content in documents.items():
        click.echo(f"\n# {key}, digest {version.documents[key]}\n{text_of(content).rstrip()}")


@config.command("diff", help="Compare two versions. Each is a number, a config_hash, or `newest`.")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B", default="newest")
@home_option
def diff_command(before: str, after: str, home: Path | None) -> None:
    """Print a unified diff of each document that differs."""
    source, _ = _opened(home)
    old, new = resolve(source, before), resolve(source, after)
    labels = (f"version {old.number}", f"version {new.number}")
    for line in differences(documents_of(source, old), documents_of(source, new), labels):
        click.echo(line)


@config.command("apply", help="Put documents into force: a document, a folder, or the JSON of `config show`.")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--document",
    metavar="NAME",
    type=click.Choice(EDITED),
    help="The document that FILE is, if its name does not say it.",
)
@_expected
@click.option("--dry-run", is_flag=True, help="Check the change and show it, and change nothing.")
@home_option
def apply_command(
    file: Path, document: str | None, expected: int | None, home: Path | None, *, dry_run: bool
) -> None:
    """A document that FILE lacks stays as it is."""
    source, settings = _opened(home)
    changes = read_changes(file, document)
    if dry_run:
        change = checked_change(source, settings, changes, expected=expected)
        old = {} if change.before is None else documents_of(source, change.before)
        for line in differences(old, change.checked.documents, ("in force", "after the change")):
            click.echo(line)
        return
    _report(apply(source, settings, changes, expected=expected), source)


@config.command("rollback", help="Put the documents of an earlier version into force, as a new version.")
@click.argument("version", type=click.IntRange(min=1))
@_expected
@home_option
def rollback_command(version: int, expected: int | None, home: Path | None) -> None:
    """The price book stays: its rows are never taken back."""
    source, settings = _opened(home)
    _report(rollback(source, settings, version, expected=expected), source)


def read_changes(file: Path, document: str | None) -> dict[str, bytes | None]:
    """The documents of a file or a folder, by name. ConfigError if it holds none."""
    if file.is_dir():
        if document is not None:
            raise ConfigError("`--document` names one file, and a folder was given: leave it out")
        found: Documents = {name: (file / name).read_bytes() for name in EDITED if (file / name).is_file()}
        if not found:
            raise ConfigError(f"`{file}` holds no document: name them {', '.join(EDITED)}")
        return dict(found)
    content = file.read_bytes()
    name = document or file.name
    if name in EDITED:
        return {name: content}
    try:
        texts = orjson.loads(content)["documents"]
        return {name: texts[name].encode() for name in EDITED if name in texts}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"`{file}` is neither a document by its name ({', '.join(EDITED)}) nor the output of"
            " `intellirouter config show HASH --format json`: rename it, or add `--document NAME`"
        ) from None


def _opened(home: Path | None) -> tuple[StateSource, Settings]:
    """The source, with the documents in force noted."""
    settings = Settings.load(home=home)
    source = open_source(settings)
    click.get_current_context().call_on_close(source.close)
    if settings.home.is_dir():
        source.settle()
        look(source, settings)
    return source, settings


def _report(version: Version, source: StateSource) -> None:
    newest = source.newest()
    is_newest = newest is None or newest.number == version.number
    click.echo(f"version {version.number} is in force{'' if is_newest else ' no longer'}: {_line(version)}")
    click.echo("running routers follow within seconds")


def _line(version: Version) -> str:
    return (
        f"{version.number:>5}  {version.config_hash}  {version.created_at:%Y-%m-%d %H:%M:%S}"
        f"  {version.environment}  {version.origin} by {version.author}"
    )


def _as_json(version: Version) -> dict[str, object]:
    return {
        "version": version.number,
        "parent": version.parent,
        "config_hash": version.config_hash,
        "environment": version.environment,
        "author": version.author,
        "origin": version.origin,
        "created_at": version.created_at.isoformat(),
    }


@click.command("backup", help="Write the data folder, without the lake, to a new file.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@home_option
def backup_command(file: Path, home: Path | None) -> None:
    """Say what is in it, and what is not."""
    made = backup(Settings.load(home=home), file)
    click.echo(f"wrote {made.files} files, {made.bytes} bytes, to {file}")
    click.echo("  copy the lake as it is; `intellirouter rebuild` makes the warehouse from it")


@click.command("restore", help="Put a backup into an empty data folder.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@home_option
def restore_command(file: Path, home: Path | None) -> None:
    """Whole or not at all."""
    settings = Settings.load(home=home)
    made = restore(file, settings.home)
    click.echo(f"restored {made.files} files of {made.created_at:%Y-%m-%d %H:%M} UTC to {settings.home}")
    click.echo(f"  copy the lake to {settings.lake}, then run `intellirouter rebuild`")
    if settings.database_url is not None:
        click.echo("  `intellirouter config push` puts the documents and keys into DATABASE_URL")


@click.command(
    "schema", help="Write JSON Schemas of the documents, for editors. Without --output, print one."
)
@click.argument("document", required=False)
@click.option(
    "--output", type=click.Path(path_type=Path), help="File of the schema; without DOCUMENT a folder for all."
)
def schema_command(document: str | None, output: Path | None) -> None:
    """An editor that knows YAML schemas completes and checks the documents."""
    if document is None and output is None:
        raise ConfigError(
            f"name a document ({', '.join(DOCUMENTS)}), or a folder for all of them with --output"
        )
    if document is not None:
        text = _schema_text(document)
        if output is None:
            click.echo(text.decode(), nl=False)
        else:
            write_atomically(output, text)
        return
    assert output is not None  # noqa: S101 - checked above
    make_folder(output)
    for name in DOCUMENTS:
        path = output / f"{name.removesuffix('.yaml')}.schema.json"
        write_atomically(path, _schema_text(name))
        click.echo(f"wrote {path}: begin {name} with `# yaml-language-server: $schema={path.absolute()}`")


def _schema_text(document: str) -> bytes:
    return orjson.dumps(schema_of(document), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


for command in MOVING:
    config.add_command(command)
COMMANDS: list[click.Command] = [config, backup_command, restore_command, schema_command]
