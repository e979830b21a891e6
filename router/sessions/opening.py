"""The session store that the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.sessions.sessions import Sessions

if TYPE_CHECKING:
    from router.config import Settings
    from router.sessions.sessions import SessionStore

SESSIONS_FILE = "sessions.db"


def open_sessions(settings: Settings) -> SessionStore:
    """The sessions of the data folder, and of Redis where REDIS_URL is set."""
    ttl_s, max_sessions = settings.session_ttl_s, settings.max_sessions
    if not ttl_s or not max_sessions:
        return Sessions(ttl_s=ttl_s, max_sessions=max_sessions)  # nothing is kept
    from router.sessions.restoring import recorded_sessions
    from router.sessions.shared import SharedSessions

    copy = SharedSessions(
        settings.home / SESSIONS_FILE,
        ttl_s=ttl_s,
        max_sessions=max_sessions,
        recorded=lambda: recorded_sessions(
            settings.home,
            ttl_s=ttl_s,
            max_sessions=max_sessions,
            default_policy=settings.default_policy,
        ),
    )
    if settings.redis_url is None:
        return copy
    from router.sessions.remote import RedisSessions

    try:
        return RedisSessions(
            settings.redis_url.get_secret_value(), copy, ttl_s=ttl_s, max_sessions=max_sessions
        )
    except BaseException:
        copy.close()
        raise
