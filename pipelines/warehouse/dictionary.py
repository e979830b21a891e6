"""The dictionary of the warehouse: `python -m pipelines.warehouse.dictionary` writes `sql/README.md`."""

from __future__ import annotations

from functools import cache

from pipelines.warehouse import descriptions, sqlfiles
from pipelines.warehouse.warehouse import in_memory
from router.config import Settings
from router.files import write_atomically

_INTRODUCTION = """\
# The warehouse

This page is generated from `sql/columns.toml`: change that file, then run
`python -m pipelines.warehouse.dictionary`.

A SQL file is a header and one statement. The header gives the name, the grain, the unique key, the
tables that the statement reads, and its purpose; a test compares the tables with what DuckDB parses.
Values are bound as `$name`. A template names its tables as `{table}`.

| Folder | Statements |
| --- | --- |
| `migrations` | tables, in the order of their numbers; each runs once in a database |
| `tables` | templates that serve several tables, and the list of columns |
| `load` | from Parquet segments to tables |
| `rollups`, `marts` | from records to hourly rollups, from rollups to marts |
| `checks` | each returns the rows that break a promise |
| `retention`, `erasure` | rows past their period, rows of a person |
| `reports`, `evaluation` | questions to the published warehouse |

NULL is "not known", 0 is "measured zero". Moments are UTC, money is in US dollars.
The comments on tables and columns of the warehouse, and the Dagster assets, show the same lines.
"""


@cache
def tables() -> dict[str, descriptions.Table]:
    """Every table that the migrations create, by name."""
    with in_memory(Settings.load({})) as connection:
        return {table.name: table for table in descriptions.tables(connection)}


def markdown() -> str:
    """The text of `sql/README.md`."""
    parts = [_INTRODUCTION]
    for table in tables().values():
        if table.name.startswith("pipeline.removed_") or descriptions.is_part(table.name):
            continue
        parts.append(
            f"\n## {table.name}\n\n{table.description}\n\n| Column | Type | Meaning |\n| --- | --- | --- |\n"
        )
        parts += [
            f"| {column.name} | {column.kind.split('(')[0].lower()} | {column.description} |\n"
            for column in table.columns
        ]
    return "".join(parts)


if __name__ == "__main__":
    descriptions.check(list(tables().values()))
    write_atomically(sqlfiles.folder() / "README.md", markdown().encode())
