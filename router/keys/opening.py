"""Where the keys are, by the settings: `keys.json`, or PostgreSQL where DATABASE_URL is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.keys.keys import KeyFile

if TYPE_CHECKING:
    from router.config import Settings
    from router.keys.database import KeyDatabase
    from router.keys.keys import KeySource, KeyStore

POLL_S = 0.5
"""Longest time between two looks at the server, so that a revoked key is refused within two seconds."""


def open_key_store(settings: Settings) -> KeyStore:
    """For changes. Close it."""
    if settings.database_url is None:
        return KeyFile(settings.keys_file)
    return open_key_database(settings)


def open_key_source(settings: Settings) -> tuple[KeySource, float]:
    """For a server: the keys, and the time between two looks at them. ConfigError if there are none."""
    if settings.database_url is None:
        return KeyFile(settings.keys_file), settings.scores_refresh_interval_s
    from router.keys.database import PolledKeys

    interval_s = min(settings.scores_refresh_interval_s, POLL_S)
    # The keys are in memory, so that each look is cheap.
    return PolledKeys(
        open_key_database(settings, is_pooled=True), settings.documents, interval_s=interval_s
    ), 0.1


def open_key_database(settings: Settings, *, is_pooled: bool = False) -> KeyDatabase:
    """The table of keys. ConfigError if DATABASE_URL is not set, or a package is missing."""
    from router.keys.database import KeyDatabase
    from router.stores.database import open_database

    return KeyDatabase(
        open_database(
            None if settings.database_url is None else settings.database_url.get_secret_value(),
            pool=(settings.db_pool_size, settings.db_max_overflow) if is_pooled else None,
            echo=settings.db_echo,
        ),
        settings.compliance_file,
    )
