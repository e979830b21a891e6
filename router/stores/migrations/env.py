"""Alembic runs this file for each migration, on the connection that `upgrade` gives it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from router.stores.tables import SCHEMA, metadata


def run() -> None:
    """Run the migrations in the transaction of the connection."""
    connection: sa.Connection = context.config.attributes["connection"]
    connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
    context.configure(connection=connection, target_metadata=metadata, version_table_schema=SCHEMA)
    context.run_migrations()


run()
