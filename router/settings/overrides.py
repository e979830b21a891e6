"""The settings that `Router.open` takes by name, for editors and type checkers.

A test compares them with the fields of `Settings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from pathlib import Path


class Overrides(TypedDict, total=False):
    """Each replaces what the environment and `.env` say. The meanings are those of `Settings`."""

    home: Path | str
    environment: str
    host: str
    port: int
    workers: int
    default_policy: str
    baseline_model: str
    seed: int
    request_timeout_s: float
    attempt_timeout_s: float
    max_attempts: int
    max_retries: int
    max_connections: int
    ssl_cert_file: Path | str
    ssl_cert_dir: Path | str
    max_body_bytes: int
    max_response_bytes: int
    allow_unauthenticated_loopback: Literal["auto", "always", "never"]
    max_in_flight: int
    cors_origins: str
    body_timeout_s: float
    drain_timeout_s: int
    recent_decisions: int
    session_ttl_s: float
    max_sessions: int
    session_usage_hours: int
    health_consecutive_failures: int
    health_failure_share: float
    health_ejection_s: float
    health_max_ejected_share: float
    journal_sync: Literal["os", "group"]
    journal_on_error: Literal["refuse", "serve"]
    journal_seal_interval_s: float
    journal_max_bytes: int
    redis_url: str
    database_url: str
    db_pool_size: int
    db_max_overflow: int
    db_echo: bool
    limits_store: Literal["memory", "file", "redis"]
    limits_on_error: Literal["refuse", "serve"]
    limits_recovery_s: float
    request_logging: bool
    request_log_body_mode: Literal["none", "hash", "redacted", "full"]
    task_sample_share: float
    scores_refresh_interval_s: float
    scores_max_age_s: float
    scores_lookback_days: int
    retention_days: int
    request_log_retention_days: int
    security_event_retention_days: int
    rollup_retention_days: int
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["text", "json"]
    access_log: bool
    report_timezone: str
    prices_url: str
    prices_max_factor: float
    lake_url: str
    mirror_url: str
    mirror_schema: str
    mirror_reader: str
    anomaly_alarms_per_week: float
    alert_webhook_url: str
    alert_webhook_secret: str
    alert_webhook_allow_private: bool
    engine: Literal["duckdb", "spark"]
    spark_remote: str
    spark_lake_url: str
    duckdb_memory_limit: str
    duckdb_threads: int
    reports: bool
    performance_tracking: bool
