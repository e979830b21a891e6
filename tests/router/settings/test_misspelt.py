"""Misspelt variables are named with the one that was meant; other programs' variables are left in peace."""

from __future__ import annotations

import pytest

from router.config import Settings
from router.settings.environment import Variables
from router.settings.names import misspelt

NAMES = [name for name, _, _ in Settings.describe()]
OF_OTHERS = [
    "PATH", "HOME", "HOST", "PORT", "USER", "SHELL", "LANG", "WORKER", "DEBUG", "LOG_LEVEL", "SECRET_KEY",
    "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "UVICORN_WORKERS", "MAX_WORKERS", "POSTGRES_DB", "POSTGRES_USER",
    "POSTGRES_PASSWORD", "PGHOST", "PGPASSWORD", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD",
    "DATABASE_URI", "DATABASE_HOST", "DATABASE_PASSWORD", "REDIS_HOST", "REDIS_PORT", "REDIS_URI",
    "REDIS_PASSWORD", "CELERY_BROKER_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AWS_REGION",
    "OTEL_EXPORTER_OTLP_ENDPOINT", "DAGSTER_HOME", "SSL_CERTS", "REQUESTS_CA_BUNDLE", "DEFAULT_MODEL",
    "BASE_URL", "PYTHONPATH", "VIRTUAL_ENV", "KUBERNETES_SERVICE_HOST", "INTELLIROUTER_SERVICE_HOST",
    "INTELLIROUTER_PORT_8080_TCP_ADDR", "HTTP_PROXY", "NO_PROXY", "XDG_SESSION_ID", "SESSION_MANAGER",
]  # fmt: skip


def found(from_file: dict[str, str], from_process: dict[str, str]) -> list[str]:
    """The suspects, as people read them."""
    return [str(item) for item in misspelt(Variables(from_file=from_file, from_process=from_process), NAMES)]


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ANALYTICS_RETENTION_DAY", "ANALYTICS_RETENTION_DAYS"),
        ("ENABLE_REQUEST_LOGING", "ENABLE_REQUEST_LOGGING"),
        ("ENABLE_PERFORMANCE_TRACKNG", "ENABLE_PERFORMANCE_TRACKING"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("DB_POOL_SZIE", "DB_POOL_SIZE"),
        ("redis_url", "REDIS_URL"),
        ("workers", "WORKERS"),
        ("INTELLIROUTER_HOEM", "INTELLIROUTER_HOME"),
    ],
)
def test_a_misspelling_is_named_with_the_nearest(name: str, meant: str) -> None:
    """In the environment and in .env alike."""
    line = f"`{name}` is not a setting and is ignored: nearest known: `{meant}`"
    assert found({}, {name: "1"}) == [line]
    assert found({name: "1"}, {}) == [line]


def test_variables_of_other_programs_are_left_in_peace() -> None:
    """A warning that is wrong is one that people learn to ignore."""
    assert found({}, dict.fromkeys(OF_OTHERS, "1")) == []


def test_our_prefix_is_ours_alone() -> None:
    """A name that is like none of ours is flagged without advice."""
    assert found({}, {"INTELLIROUTER_COLOUR": "1"}) == [
        "`INTELLIROUTER_COLOUR` is not a setting and is ignored: remove it"
    ]


def test_nothing_is_misspelt_where_the_meant_one_is_set() -> None:
    """Then the other is likely another program's."""
    assert found({}, {"DATABASE_URL": "1", "DATABSE_URL": "1"}) == []
