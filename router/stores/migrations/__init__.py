"""How the tables of configuration and keys came about: one file of `versions` for each change to them.

In: a connection that holds the advisory lock, and the database's revision. Out: the tables of this
release, in the same transaction. `env` is what Alembic runs. Never change a released file of `versions`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import ConfigError

if TYPE_CHECKING:
    import sqlalchemy as sa
    from alembic.config import Config


def configuration() -> Config:
    """Alembic's configuration, which needs no file. ConfigError if the package is missing."""
    try:
        from alembic.config import Config
    except ImportError:
        raise ConfigError(
            "DATABASE_URL is set and the package `alembic` is missing:"
            " `pip install 'intellirouter[postgres]'`"
        ) from None
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: sa.Connection, found: str | None) -> None:
    """Migrate to the newest revision. ConfigError for a database of a newer release."""
    config = configuration()
    from alembic import command
    from alembic.script import ScriptDirectory

    if found is not None and found not in {
        item.revision for item in ScriptDirectory.from_config(config).walk_revisions()
    }:
        raise ConfigError(
            f"the database is at revision `{found}`, which this release does not know: a newer release"
            " migrated it. Install that release here too"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
