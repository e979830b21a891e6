"""The StateSource that the settings ask for: the data folder, or PostgreSQL where DATABASE_URL is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.configuration.folder import StateFolder

if TYPE_CHECKING:
    from router.config import Settings
    from router.configuration.database import StateDatabase
    from router.configuration.polled import PolledState
    from router.configuration.source import StateSource

POLL_S = 0.5
"""Longest time between two looks at the server, so that a change is in force within two seconds."""


def open_source(settings: Settings) -> StateSource:
    """For commands and jobs: every read asks the server. Close it."""
    return StateFolder(settings.home) if settings.database_url is None else open_source_database(settings)


def open_router_state(settings: Settings) -> StateSource | PolledState:
    """For routers: reads come from memory. ConfigError if the server is away and there is no copy."""
    if settings.database_url is None:
        return StateFolder(settings.home)
    from router.configuration.polled import PolledState

    return PolledState(
        open_source_database(settings, is_pooled=True),
        settings.documents,
        interval_s=min(settings.scores_refresh_interval_s, POLL_S),
    )


def open_source_database(settings: Settings, *, is_pooled: bool = False) -> StateDatabase:
    """PostgreSQL. ConfigError if DATABASE_URL is not set, or a package is missing."""
    from router.configuration.database import StateDatabase
    from router.stores.database import open_database

    return StateDatabase(
        open_database(
            None if settings.database_url is None else settings.database_url.get_secret_value(),
            pool=(settings.db_pool_size, settings.db_max_overflow) if is_pooled else None,
            echo=settings.db_echo,
        )
    )
