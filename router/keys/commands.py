"""`intellirouter keys`: virtual keys from the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from router.config import Settings
from router.errors import ConfigError, nearest
from router.keys import changes
from router.keys.keys import Scope, now
from router.keys.opening import open_key_database, open_key_store
from router.settings.folder import existing
from router.settings.printing import RowOutput, row_options

if TYPE_CHECKING:
    from router.keys.keys import KeyEntry

DEFAULT_SCOPES = ("route", "feedback")
_PERIOD = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
home_option = click.option(
    "--home", type=click.Path(path_type=Path), help="Data folder (INTELLIROUTER_HOME)."
)


@click.group(help="Virtual keys of the HTTP shim: create, list, rotate, revoke.")
def keys() -> None:
    """The group."""


@keys.command(help="Make a key and show it, once.")
@click.option("--name", required=True, help="The purpose or user of the key.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(get_args(Scope)),
    default=DEFAULT_SCOPES,
    show_default=True,
    help="A scope that it gets. You can repeat this option.",
)
@click.option("--models", help="Models it may use, separated by commas. Default: any.")
@click.option("--organization", help="Count its requests for this organization, whatever they say.")
@click.option("--user", help="The same for the user.")
@click.option("--expires", help="After how long (90d, 12h), or on which day (2027-01-31, UTC).")
@home_option
@row_options
def create(
    name: str,
    scopes: tuple[Scope, ...],
    models: str | None,
    organization: str | None,
    user: str | None,
    expires: str | None,
    home: Path | None,
    to: RowOutput,
) -> None:
    """Print only the token to standard output, and its description to standard error."""
    settings = _settings(home)
    names = None if models is None else tuple(part.strip() for part in models.split(",") if part.strip())
    if names is not None:
        _check_models(names, settings)
    for option, value in (("--name", name), ("--organization", organization), ("--user", user)):
        if value is not None and not (0 < len(value) <= 255 and value.isprintable()):
            raise ConfigError(f"`{option}` must be 1 to 255 printable characters, got `{value!r:.80}`")
    entry, token = changes.create(
        open_key_store(settings),
        name=name,
        scopes=scopes,
        models=names,
        organization_id=organization,
        user_id=user,
        expires_at=None if expires is None else _moment(expires),
    )
    click.echo(f"key {entry.id} ({entry.name}), shown only this once:", err=True)
    to.write([{**_facts(entry), "token": token}], [token])


@keys.command("list", help="The keys, without their secrets.")
@home_option
@row_options
def list_keys(home: Path | None, to: RowOutput) -> None:
    """One line a key."""
    entries = open_key_store(_settings(home)).read().keys
    none = ["there are no keys: intellirouter keys create --name NAME"]
    to.write([_facts(entry) for entry in entries], [_line(entry) for entry in entries] or none)


@keys.command(help="Make a new token for a key. The old one works for a while longer.")
@click.argument("key_id", metavar="ID")
@click.option("--grace", default="24h", show_default=True, help="For how long (30m, 24h, 7d, 0d).")
@home_option
@row_options
def rotate(key_id: str, grace: str, home: Path | None, to: RowOutput) -> None:
    """Print only the new token to standard output."""
    entry, token = changes.rotate(open_key_store(_settings(home)), key_id, grace=_period(grace))
    click.echo(f"key {entry.id} ({entry.name}), its new token, shown only this once:", err=True)
    to.write([{**_facts(entry), "token": token}], [token])


@keys.command(help="Make a key useless at once.")
@click.argument("key_id", metavar="ID")
@home_option
@row_options
def revoke(key_id: str, home: Path | None, to: RowOutput) -> None:
    """Say so."""
    entry = changes.revoke(open_key_store(_settings(home)), key_id)
    line = f"revoked {entry.id} ({entry.name}): running routers follow within seconds"
    to.write([_facts(entry)], [line])


def _settings(home: Path | None) -> Settings:
    settings = Settings.load(home=home)
    return settings if settings.database_url is not None else existing(settings)


def _check_models(names: tuple[str, ...], settings: Settings) -> None:
    from router.catalog.catalog import Catalog

    if settings.database_url is None:
        catalog = Catalog.load(settings.catalog_file)
    else:
        catalog = Catalog.parse(open_key_database(settings).catalog(), None, settings.catalog_file)
    known = catalog.models
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown model `{name:.80}` in `--models`: {nearest(name, known)}")
    if not names:
        raise ConfigError("`--models` names no model: leave it out to allow any")


def _moment(text: str) -> datetime:
    if _PERIOD.fullmatch(text):
        return now() + _period(text)
    try:
        day = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"`--expires` takes a period or a day, as 90d or 2027-01-31, got `{text:.40}`"
        ) from None
    moment = day.astimezone(UTC) if day.tzinfo else day.replace(tzinfo=UTC)
    if moment <= now():
        raise ConfigError(f"`--expires` is in the past: `{text:.40}`")
    return moment


def _period(text: str) -> timedelta:
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise ConfigError(f"a period is a number and one of m, h, d, w, as 90d, got `{text:.40}`")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _facts(entry: KeyEntry) -> dict[str, str | datetime | None]:
    return {
        "id": entry.id,
        "name": entry.name,
        "state": entry.state(now()),
        "scopes": ",".join(entry.scopes),
        "models": ",".join(entry.models) if entry.models else None,
        "organization_id": entry.organization_id,
        "user_id": entry.user_id,
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
    }


def _line(entry: KeyEntry) -> str:
    facts = [
        entry.id,
        entry.state(now()),
        ",".join(entry.scopes),
        f"models {','.join(entry.models) if entry.models else 'any'}",
    ]
    if entry.organization_id is not None:
        facts.append(f"organization {entry.organization_id}")
    if entry.user_id is not None:
        facts.append(f"user {entry.user_id}")
    facts.append(f"created {entry.created_at:%Y-%m-%d}")
    if entry.expires_at is not None:
        facts.append(f"expires {entry.expires_at:%Y-%m-%d %H:%M} UTC")
    return f"{'  '.join(facts)}  {entry.name}"


COMMANDS = [keys]
