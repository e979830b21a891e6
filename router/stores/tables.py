"""The tables of configuration and keys in PostgreSQL. They have a schema of their own.

`migrations` creates them. A test compares the two.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "intellirouter_state"
HEAD = "0002"
"""The newest migration."""

metadata = sa.MetaData(schema=SCHEMA)

in_force = sa.Table(
    "documents_in_force",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""The documents that routers use, by name."""

contents = sa.Table(
    "config_documents",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("is_erased", sa.Boolean, nullable=False, server_default=sa.false()),
)
"""The content of every document of every version. An erased one no longer matches its digest."""

versions = sa.Table(
    "config_versions",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("parent", sa.Integer),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("config_hash", sa.Text, nullable=False),
    sa.Column("documents", JSONB, nullable=False),
    sa.Column("policies", JSONB, nullable=False),
)
"""One row for each version of the configuration."""

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("entry", JSONB, nullable=False),
)
"""One row for each virtual key. It holds digests of its secrets, as `keys.json` does."""


key_events = sa.Table(
    "key_events",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("event", JSONB, nullable=False),
)
"""One row for each change of a key, so that the trail of every machine has those of all."""


def row_version(table: sa.Table) -> sa.ColumnElement[str]:
    """Changes whenever PostgreSQL writes the row, whoever changes it."""
    return sa.cast(sa.literal_column(f"{table.name}.xmin"), sa.Text).label("row_version")
