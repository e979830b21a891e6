"""The changes of keys, for the trail of every machine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

SCHEMA = "intellirouter_state"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "key_events",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("event", JSONB, nullable=False),
        schema=SCHEMA,
    )
