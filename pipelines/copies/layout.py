"""The copies' tables in PostgreSQL: made, extended, compared with what is there, and opened to readers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.errors import CopyError
from pipelines.warehouse.sqlfiles import quoted_name

if TYPE_CHECKING:
    from pipelines.copies.postgres import Target
    from pipelines.copies.published import PublishedTable

LEDGER = ("copied_tables", "copied_parts")
INSUFFICIENT_PRIVILEGE = "42501"


@dataclass(slots=True)
class Standing:
    """The contents of the server when a run starts."""

    made: dict[str, dict[str, str]] = field(default_factory=dict)
    """Tables that the mirror made: their columns and types as it made them."""
    found: dict[str, dict[str, str]] = field(default_factory=dict)
    """Every relation of the schema: its columns and types now."""
    required: dict[str, set[str]] = field(default_factory=dict)
    """Columns that an insert must name."""


def prepare(target: Target) -> Standing:
    """Create schema and ledger if they are missing, and read what the schema holds."""
    standing = Standing()
    with target.transaction("read its tables"):
        columns = target.run("columns", target.schema)
    for table, column, kind, is_required in columns:
        standing.found.setdefault(table, {})[column] = kind
        if is_required:
            standing.required.setdefault(table, set()).add(column)
    if not standing.found.keys() >= set(LEDGER):
        with target.transaction("create the schema of the copies"):
            target.run("create_schema")
            target.run("create_copied_tables")
            target.run("create_copied_parts")
    with target.transaction("read its ledger"):
        known = target.run("known_tables")
    standing.made = {table: json.loads(columns) for table, columns in known}
    return standing


def fit(target: Target, table: PublishedTable, standing: Standing) -> None:
    """Make the server's table fit the warehouse's. CopyError if a hand has changed it."""
    wanted = {column.name: column.kind for column in table.columns}
    made, found = standing.made.get(table.name), standing.found.get(table.name)
    if made is None and found is not None:
        raise CopyError(
            f"`{target.shown}` has a table `{target.schema}.{table.name}` that the mirror did not make: set"
            " MIRROR_SCHEMA to a schema of its own, or drop the table"
        )
    if made is not None and found is not None:
        _refuse_if_altered(target, table.name, made, standing)
        if made == wanted:
            return
        if made.items() <= wanted.items():
            _extend(target, table, made)
            return
    _create(target, table)


def _refuse_if_altered(target: Target, name: str, made: dict[str, str], standing: Standing) -> None:
    found = standing.found[name]
    changes = [
        f"column `{column}` is {f'`{found[column]}`' if column in found else 'missing'}, not `{kind}`"
        for column, kind in made.items()
        if found.get(column) != kind
    ]
    changes += [
        f"column `{column}` was added and must not be NULL"
        for column in sorted(standing.required.get(name, set()) - made.keys())
    ]
    if changes:
        raise CopyError(
            f"`{target.schema}.{name}` in `{target.shown}` was changed by hand: {'; '.join(changes)}. Undo"
            " the change, or drop the table and run `intellirouter mirror`, which makes it again"
        )


def _create(target: Target, table: PublishedTable) -> None:
    name = target.table(table.name)
    lines = [column.definition for column in table.columns]
    if table.is_raw:
        lines.append(f"primary key ({table.key.quoted})")
    with target.transaction(f"create the table `{table.name}`"):
        target.run("drop_table", table=name)
        target.run("create_table", table=name, columns=",\n    ".join(lines))
        for index in _indexes(table):
            target.run("create_index", table=name, columns=index)
        target.run("forget_all_parts", table.name)
        _note(target, table)


def _indexes(table: PublishedTable) -> list[str]:
    if table.is_raw:
        kinds = {column.name: column for column in table.columns}
        moment = next((item for item in table.columns if item.kind.startswith("timestamp")), None)
        return [kinds["segment"].quoted, *([moment.quoted] if moment else [])]
    return [quoted_name(table.moment)] if table.moment else []


def _extend(target: Target, table: PublishedTable, made: dict[str, str]) -> None:
    """Add columns, and have every part copied again while its rows stay."""
    added = [column for column in table.columns if column.name not in made]
    # Rows that are there have no value yet, so the columns are not required.
    lines = [f"add column if not exists {column.quoted} {column.kind}" for column in added]
    with target.transaction(f"add columns to the table `{table.name}`"):
        target.run("add_columns", table=target.table(table.name), columns=",\n    ".join(lines))
        target.run("distrust_parts", table.name)
        _note(target, table)


def _note(target: Target, table: PublishedTable) -> None:
    columns = {column.name: column.kind for column in table.columns}
    target.run("note_table", table.name, json.dumps(columns))


def drop(target: Target, name: str) -> None:
    """Remove a table that the warehouse has no more."""
    with target.transaction(f"drop the table `{name}`"):
        target.run("drop_table", table=target.table(name))
        target.run("forget_all_parts", name)
        target.run("forget_table", name)


def open_to_readers(target: Target, role: str) -> str | None:
    """Let a role read the copies, and give them their division. Returns a task for a person, if any."""
    with target.transaction("create its division"):
        ((has_division,),) = target.run("has_operator", target.schema)
        if not has_division:
            target.run("create_division")
            target.run("create_operator")
    if not role:
        return None
    with target.transaction("look for the readers' role"):
        ((has_role,),) = target.run("has_role", role)
    if not has_role:
        try:
            with target.transaction("create the readers' role"):
                target.run("create_role", role=quoted_name(role))
        except CopyError as error:
            if error.sqlstate != INSUFFICIENT_PRIVILEGE:
                raise
            return (
                f"the readers' role `{role}` is missing and the user of MIRROR_URL may not create it: run"
                f" `create role {role} nologin`, then `intellirouter mirror`"
            )
    with target.transaction("grant the readers' role its rights"):
        target.run("grant_schema", role=quoted_name(role))
        target.run("grant_tables", role=quoted_name(role))
    return None
