"""Settings: the environment variable, default and bounds of each.

`Settings.load` reads them once, from the environment and a `.env` file (the environment wins). A value
that looks like a secret is refused, except in the URLs of servers. A test compares the table in the
documentation with `Settings.describe`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from router.documents import REFUSAL, problems
from router.errors import ConfigError, has_secret, nearest
from router.records import BodyMode
from router.settings.database_url import postgresql_url
from router.settings.environment import Variables
from router.settings.names import current_names, misspelt
from router.settings.time_zones import known_zone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger("router")

COMPLIANCE_FILE = "compliance_logs.jsonl"
DATABASE_COPIES = "database"
"""The folder, in the data folder, of the copies that serve while DATABASE_URL's server is away."""
_named: set[str] = set()
"""Misspelt variables that this process has named already."""


class Settings(BaseModel):
    """All settings. Field names are Python's; the alias is the environment variable."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    home: Annotated[
        Path,
        Field(
            alias="INTELLIROUTER_HOME", description="Data folder: catalog, journal, lake, scores, warehouse."
        ),
    ] = Path("intellirouter-data")
    environment: Annotated[
        str,
        Field(alias="INTELLIROUTER_ENVIRONMENT", description="Written to every record.", max_length=64),
    ] = "production"
    host: Annotated[
        str, Field(alias="INTELLIROUTER_HOST", description="Address the HTTP shim listens on.")
    ] = "127.0.0.1"
    port: Annotated[
        int, Field(alias="INTELLIROUTER_PORT", description="Port of the HTTP shim.", ge=0, le=65535)
    ] = 8080
    workers: Annotated[
        int, Field(alias="WORKERS", description="Processes that serve the HTTP shim.", ge=1, le=256)
    ] = 1
    default_policy: Annotated[
        str, Field(alias="DEFAULT_POLICY", description="Routing policy for a request that names none.")
    ] = "balanced"
    baseline_model: Annotated[
        str | None,
        Field(
            alias="BASELINE_MODEL",
            description="Model that `intellirouter savings` and each record compare with.",
        ),
    ] = None
    seed: Annotated[
        int | None,
        Field(
            alias="INTELLIROUTER_SEED", description="Seeds the router's random choices, for repeatable runs."
        ),
    ] = None
    request_timeout_s: Annotated[
        float,
        Field(
            alias="REQUEST_TIMEOUT_S",
            description="Total time for one request, retries and fallback included.",
            gt=0,
            le=3600,
        ),
    ] = 120.0
    attempt_timeout_s: Annotated[
        float | None,
        Field(
            alias="ATTEMPT_TIMEOUT_S",
            description="Time for one model's answer, or a stream's first content;"
            " unset: half of what is left while another can be asked.",
            gt=0,
            le=3600,
        ),
    ] = None
    max_attempts: Annotated[
        int,
        Field(alias="MAX_ATTEMPTS", description="Models tried for one request.", ge=1, le=10),
    ] = 3
    max_retries: Annotated[
        int,
        Field(
            alias="MAX_RETRIES",
            description="Retries of a failed model before the next model is tried.",
            ge=0,
            le=10,
        ),
    ] = 1
    max_connections: Annotated[
        int,
        Field(alias="MAX_CONNECTIONS", description="Open connections to each provider.", ge=1, le=10_000),
    ] = 256
    ssl_cert_file: Annotated[
        Path | None,
        Field(
            alias="SSL_CERT_FILE",
            description="PEM file of the authorities that providers' certificates are checked against;"
            " unset: certifi's.",
        ),
    ] = None
    ssl_cert_dir: Annotated[
        Path | None,
        Field(alias="SSL_CERT_DIR", description="The same as a folder, prepared with `openssl rehash`."),
    ] = None
    max_body_bytes: Annotated[
        int,
        Field(alias="MAX_BODY_BYTES", description="Largest request body the HTTP shim reads.", ge=1024),
    ] = 20 << 20
    max_response_bytes: Annotated[
        int,
        Field(
            alias="MAX_RESPONSE_BYTES", description="Largest decoded answer read from a provider.", ge=1024
        ),
    ] = 20 << 20
    allow_unauthenticated_loopback: Annotated[
        Literal["auto", "always", "never"],
        Field(
            alias="ALLOW_UNAUTHENTICATED_LOOPBACK",
            description="Whether callers on this machine need no key; `auto`: while there are no keys.",
        ),
    ] = "auto"
    max_in_flight: Annotated[
        int,
        Field(
            alias="MAX_IN_FLIGHT",
            description="Requests served at once; any more get status 503 and should retry.",
            ge=1,
            le=1_000_000,
        ),
    ] = 2048
    cors_origins: Annotated[
        str,
        Field(
            alias="CORS_ORIGINS",
            description="Origins whose web pages may read answers, separated by commas; `*`: any. A page"
            " still needs a key.",
            max_length=4000,
        ),
    ] = ""
    body_timeout_s: Annotated[
        float,
        Field(alias="BODY_TIMEOUT_S", description="Longest wait for a request's body.", gt=0, le=3600),
    ] = 30.0
    drain_timeout_s: Annotated[
        int,
        Field(
            alias="DRAIN_TIMEOUT_S",
            description="How long a stopping shim lets running requests finish.",
            ge=0,
            le=3600,
        ),
    ] = 30
    recent_decisions: Annotated[
        int,
        Field(
            alias="RECENT_DECISIONS",
            description="Requests that `GET /v1/decisions/{id}` remembers; the oldest is dropped first.",
            ge=0,
            le=1_000_000,
        ),
    ] = 1000
    session_ttl_s: Annotated[
        float,
        Field(alias="SESSION_TTL_S", description="How long an idle session stays with its model.", ge=0),
    ] = 3600.0
    max_sessions: Annotated[
        int,
        Field(
            alias="MAX_SESSIONS",
            description="Sessions remembered; the longest idle goes first.",
            ge=0,
        ),
    ] = 100_000
    session_usage_hours: Annotated[
        int,
        Field(
            alias="SESSION_USAGE_HOURS",
            description="Hours back that `GET /v1/sessions/{session}/usage` counts.",
            ge=1,
            le=744,
        ),
    ] = 48
    health_consecutive_failures: Annotated[
        int,
        Field(
            alias="HEALTH_CONSECUTIVE_FAILURES",
            description="Consecutive failures after which a model is excluded for a while.",
            ge=1,
            le=1000,
        ),
    ] = 5
    health_failure_share: Annotated[
        float,
        Field(
            alias="HEALTH_FAILURE_SHARE",
            description="Share of failed requests in a minute (of 20 or more) that excludes a model too.",
            gt=0,
            le=1,
        ),
    ] = 0.25
    health_ejection_s: Annotated[
        float,
        Field(
            alias="HEALTH_EJECTION_S",
            description="How long a model is excluded, times its exclusions so far (ten at most).",
            gt=0,
            le=3600,
        ),
    ] = 30.0
    health_max_ejected_share: Annotated[
        float,
        Field(
            alias="HEALTH_MAX_EJECTED_SHARE",
            description="Largest share of the models that may be excluded at once; 0: none.",
            ge=0,
            le=1,
        ),
    ] = 0.5
    journal_sync: Annotated[
        Literal["os", "group"],
        Field(
            alias="JOURNAL_SYNC",
            description="A recorded reply survives: with `os` kill -9, with `group` a power cut too.",
        ),
    ] = "os"
    journal_on_error: Annotated[
        Literal["refuse", "serve"],
        Field(
            alias="JOURNAL_ON_ERROR",
            description="If the journal cannot be written: `refuse` requests, or `serve` and count them.",
        ),
    ] = "refuse"
    journal_seal_interval_s: Annotated[
        float,
        Field(
            alias="JOURNAL_SEAL_INTERVAL_S",
            description="Longest time before a record is in a Parquet segment.",
            gt=0,
            le=3600,
        ),
    ] = 5.0
    journal_max_bytes: Annotated[
        int,
        Field(alias="JOURNAL_MAX_BYTES", description="A journal of this size is sealed at once.", ge=4096),
    ] = 64 << 20
    redis_url: Annotated[
        SecretStr | None,
        Field(
            alias="REDIS_URL",
            description="Redis server that counts limits and budgets, and holds sessions, for routers on"
            " several machines.",
        ),
    ] = None
    database_url: Annotated[
        SecretStr | None,
        Field(
            alias="DATABASE_URL",
            description="PostgreSQL database of configuration and keys that routers share; unset: the data"
            " folder holds them.",
        ),
    ] = None
    db_pool_size: Annotated[
        int,
        Field(alias="DB_POOL_SIZE", description="Connections to DATABASE_URL kept open.", ge=1, le=1000),
    ] = 20
    db_max_overflow: Annotated[
        int,
        Field(
            alias="DB_MAX_OVERFLOW",
            description="Connections to DATABASE_URL that may be opened in addition, while all are in use.",
            ge=0,
            le=1000,
        ),
    ] = 30
    db_echo: Annotated[
        bool,
        Field(alias="DB_ECHO", description="Whether statements for DATABASE_URL are logged, without values."),
    ] = False
    limits_store: Annotated[
        Literal["memory", "file", "redis"] | None,
        Field(
            alias="LIMITS_STORE",
            description="Where limits and budgets are counted: `memory` (each process), `file` (this machine)"
            " or `redis` (all machines); unset: `redis` with REDIS_URL, `file` with WORKERS above 1, else"
            " `memory`.",
        ),
    ] = None
    limits_on_error: Annotated[
        Literal["refuse", "serve"],
        Field(
            alias="LIMITS_ON_ERROR",
            description="If limits cannot be checked: `refuse` requests, or `serve` and count them.",
        ),
    ] = "refuse"
    limits_recovery_s: Annotated[
        float,
        Field(
            ge=0,
            alias="LIMITS_RECOVERY_S",
            description="After Redis lost its data, hard budgets wait so long, and for every known host,"
            " while hosts report their spend. At least 4, except in tests.",
        ),
    ] = 5.0
    request_logging: Annotated[
        bool,
        Field(
            alias="REQUEST_LOGGING",
            description="Whether the audit trail (`request_logs`) records each request;"
            " ENABLE_REQUEST_LOGGING is the same.",
        ),
    ] = True
    request_log_body_mode: Annotated[
        BodyMode,
        Field(
            alias="REQUEST_LOG_BODY_MODE",
            description="What is kept of bodies and errors' messages: `none`, `hash`, `redacted` or `full`.",
        ),
    ] = "redacted"
    task_sample_share: Annotated[
        float,
        Field(
            alias="TASK_SAMPLE_SHARE",
            description="Share of labelled requests whose keyed prompt features train the task classifier;"
            " 0: none.",
            ge=0,
            le=1,
        ),
    ] = 0.05
    scores_refresh_interval_s: Annotated[
        float,
        Field(
            alias="SCORES_REFRESH_INTERVAL_S",
            description="How often the router looks for a new score snapshot.",
            gt=0,
            le=3600,
        ),
    ] = 2.0
    scores_max_age_s: Annotated[
        float,
        Field(
            alias="SCORES_MAX_AGE_S",
            description="Health is degraded if the pipelines have not run for longer than this.",
            gt=0,
        ),
    ] = 86_400.0
    scores_lookback_days: Annotated[
        int,
        Field(
            alias="SCORES_LOOKBACK_DAYS",
            description="Days of traffic the scores are computed from.",
            ge=1,
            le=3650,
        ),
    ] = 30
    retention_days: Annotated[
        int,
        Field(
            alias="ANALYTICS_RETENTION_DAYS",
            description="Days raw records are kept; rollups and history are kept longer.",
            ge=1,
            le=36500,
        ),
    ] = 90
    request_log_retention_days: Annotated[
        int,
        Field(
            alias="REQUEST_LOG_RETENTION_DAYS",
            description="Days the audit trail (`request_logs`) is kept.",
            ge=1,
            le=36500,
        ),
    ] = 30
    security_event_retention_days: Annotated[
        int,
        Field(
            alias="SECURITY_EVENT_RETENTION_DAYS",
            description="Days refusals of keys, models, bodies and limits (`security_events`) are kept.",
            ge=1,
            le=36500,
        ),
    ] = 90
    rollup_retention_days: Annotated[
        int | None,
        Field(
            alias="ROLLUP_RETENTION_DAYS",
            description="Days rollups, daily marts and history are kept, no fewer than raw records;"
            " unset: for ever.",
            ge=1,
            le=36500,
        ),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(alias="LOG_LEVEL", description="Least level of the lines that `serve` logs."),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        Field(alias="LOG_FORMAT", description="Form of the log: lines for people, or JSON objects."),
    ] = "text"
    access_log: Annotated[
        bool, Field(alias="ACCESS_LOG", description="Whether `serve` logs a line for each HTTP request.")
    ] = False
    report_timezone: Annotated[
        str,
        Field(
            alias="REPORT_TIMEZONE",
            description="Time zone of the days and months of reports; organizations.yaml names an"
            " organisation's own.",
        ),
    ] = "UTC"
    prices_url: Annotated[
        str,
        Field(
            alias="PRICES_URL",
            description="URL of the list prices for the daily job; empty: the installed genai-prices.",
            pattern=r"^(https?://[^\s@]+)?$",
        ),
    ] = "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main/prices/new_data/v2/data.json"
    prices_max_factor: Annotated[
        float,
        Field(
            alias="PRICES_MAX_FACTOR",
            description="A list price that changes by more than this factor needs a person's approval.",
            gt=1,
            le=1000,
        ),
    ] = 3.0
    lake_url: Annotated[
        str | None,
        Field(
            alias="LAKE_URL",
            description="Object store that `intellirouter sync` shares the lake through, such as"
            " `s3://bucket/folder`; unset: one machine.",
            pattern=r"^(s3|s3a|gs|az|abfs|abfss|adl|azure)://[^/@]+",
        ),
    ] = None
    mirror_url: Annotated[
        SecretStr | None,
        Field(
            alias="MIRROR_URL",
            description="PostgreSQL server that gets a copy of the published warehouse; unset: no copy.",
        ),
    ] = None
    mirror_schema: Annotated[
        str,
        Field(
            alias="MIRROR_SCHEMA",
            description="Schema that holds this copy and nothing else.",
            pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        ),
    ] = "analytics"
    mirror_reader: Annotated[
        str,
        Field(
            alias="MIRROR_READER",
            description="Role that may read this copy; the mirror creates it; empty: none.",
            pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,62})?$",
        ),
    ] = "intellirouter_reader"
    anomaly_alarms_per_week: Annotated[
        float,
        Field(
            alias="ANOMALY_ALARMS_PER_WEEK",
            description="False alarms of all watched series together that are accepted in a week.",
            ge=0.001,
            le=1000,
        ),
    ] = 1.0
    alert_webhook_url: Annotated[
        SecretStr | None,
        Field(
            alias="ALERT_WEBHOOK_URL",
            description="Webhook that gets each alert, such as Slack's; unset: alerts go to a file only.",
        ),
    ] = None
    alert_webhook_secret: Annotated[
        SecretStr | None,
        Field(
            alias="ALERT_WEBHOOK_SECRET",
            description="Key of the signature in `webhook-signature`; unset: alerts are not signed.",
        ),
    ] = None
    alert_webhook_allow_private: Annotated[
        bool,
        Field(
            alias="ALERT_WEBHOOK_ALLOW_PRIVATE",
            description="Whether the webhook may be on this machine or in a private network, and plain HTTP.",
        ),
    ] = False
    engine: Annotated[
        Literal["duckdb", "spark"],
        Field(
            alias="ENGINE",
            description="Engine that folds records into the hourly rollups. `spark` needs SPARK_REMOTE and"
            " the extra `spark`.",
        ),
    ] = "duckdb"
    spark_remote: Annotated[
        SecretStr | None,
        Field(
            alias="SPARK_REMOTE",
            description="Address of a Spark Connect server (Sail, Apache Spark), such as `sc://host:15002`.",
        ),
    ] = None
    spark_lake_url: Annotated[
        str | None,
        Field(
            alias="SPARK_LAKE_URL",
            description="LAKE_URL as that server names it (Apache Spark: `s3a://bucket/folder`): it reads"
            " segments there; unset: in the data folder.",
            pattern=r"^(s3|s3a|gs|az|abfs|abfss|adl|azure)://[^/:?*{}\[\]]+(/[^:?*{}\[\]]*)?$",
        ),
    ] = None
    duckdb_memory_limit: Annotated[
        str,
        Field(
            alias="DUCKDB_MEMORY_LIMIT",
            description="Memory a DuckDB connection may use.",
            pattern=r"^\d+(\.\d+)?\s?(KB|MB|GB|KiB|MiB|GiB)$",
        ),
    ] = "2GB"
    duckdb_threads: Annotated[
        int, Field(alias="DUCKDB_THREADS", description="Threads of a DuckDB connection.", ge=1, le=512)
    ] = 2

    reports: Annotated[
        bool,
        Field(
            alias="REPORTS",
            description="Whether the job `reports` publishes each organisation's pages for `GET /reports`."
            " Needs the extra `reports`.",
        ),
    ] = False

    performance_tracking: Annotated[
        bool,
        Field(
            alias="ENABLE_PERFORMANCE_TRACKING",
            description="Whether latency, cost and success are recorded. They are the router's scores, so"
            " `false` is refused.",
        ),
    ] = True

    @field_validator(
        "ssl_cert_file",
        "ssl_cert_dir",
        "database_url",
        "lake_url",
        "mirror_url",
        "spark_remote",
        "spark_lake_url",
        "alert_webhook_url",
        "alert_webhook_secret",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(postgresql_url(value.get_secret_value()))

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        level = value.lower() if isinstance(value, str) else value
        return "warning" if level == "warn" else level

    @field_validator("report_timezone")
    @classmethod
    def _is_known_zone(cls, value: str) -> str:
        return known_zone(value)

    @field_validator("performance_tracking")
    @classmethod
    def _always_tracks(cls, value: bool) -> bool:
        if not value:
            raise ValueError(
                "cannot be off, because the router chooses models by the latency, cost and success it"
                " records. Remove the variable. To keep less, lower ANALYTICS_RETENTION_DAYS, or set"
                " REQUEST_LOGGING=false and TASK_SAMPLE_SHARE=0"
            )
        return value

    @field_validator("home")
    @classmethod
    def _databases_can_lie_there(cls, value: Path) -> Path:
        if found := [character for character in "?\\" if character in str(value)]:
            raise ValueError(
                f"a folder with `{found[0]}` in its path cannot hold a DuckDB database: rename it"
            )
        # Dagster reads the path of its settings as a pattern, and ignores what it misses.
        if "[" in str(value):
            raise ValueError("Dagster does not find its settings in a folder with `[` in its path: rename it")
        return value

    @field_validator("rollup_retention_days")
    @classmethod
    def _no_shorter_than_raw(cls, value: int | None, info: ValidationInfo) -> int | None:
        raw = info.data.get("retention_days")
        if value is not None and raw is not None and value < raw:
            raise ValueError(f"is below ANALYTICS_RETENTION_DAYS=`{raw}`: rollups must outlive raw records")
        return value

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, /, **overrides: Any) -> Settings:
        """Settings from `environment` (default: the process's and `.env`'s).

        `overrides` are field names. ConfigError names the variable, the value and the bound, or the field
        that is nearest to an unknown one.
        """
        values = current_names(read_environment() if environment is None else environment)
        names = {field.alias: name for name, field in cls.model_fields.items()}
        given: dict[str, object] = {names[key]: value for key, value in values.items() if key in names}
        given.update({key: value for key, value in overrides.items() if value is not None})
        unknown = [name for name in given if name not in cls.model_fields]
        if unknown:
            raise ConfigError(f"unknown setting `{unknown[0]:.80}`: {nearest(unknown[0], cls.model_fields)}")
        fault = "; ".join(
            f"{cls._alias((name,))} {REFUSAL}"
            for name, value in given.items()
            if cls.model_fields[name].annotation != SecretStr | None and has_secret(str(value))
        )
        if not fault:
            try:
                return cls.model_validate(given, by_name=True)
            except ValidationError as error:
                fault = "; ".join(
                    cls._alias(place) + (f": {problem}" if value is None else f"=`{value}`: {problem}")
                    for place, problem, value in problems(error)
                )
        raise ConfigError(f"settings are not usable: {fault}")

    @classmethod
    def _alias(cls, location: tuple[int | str, ...]) -> str:
        field = cls.model_fields.get(str(location[0])) if location else None
        return (field.alias if field else None) or ".".join(map(str, location))

    @classmethod
    def describe(cls) -> Iterator[tuple[str, str, str]]:
        """(environment variable, default, meaning) of every setting, in order."""
        for field in cls.model_fields.values():
            default = "" if field.default is None else str(field.default)
            yield str(field.alias), default, str(field.description)

    @property
    def limits_store_in_use(self) -> Literal["memory", "file", "redis"]:
        """Where limits and budgets are counted."""
        if self.limits_store is not None:
            return self.limits_store
        if self.redis_url is not None:
            return "redis"
        return "file" if self.workers > 1 else "memory"

    @property
    def documents(self) -> Path:
        """The folder of the documents in force: the data folder, or the copies of those in DATABASE_URL."""
        return self.home if self.database_url is None else self.home / DATABASE_COPIES

    @property
    def catalog_file(self) -> Path:
        """Models, providers, prices and task types."""
        return self.documents / "catalog.yaml"

    @property
    def price_book_file(self) -> Path:
        """List prices as last refreshed. `pending.json` in the same folder holds those that need approval."""
        return self.documents / "prices" / "book.json"

    @property
    def policies_file(self) -> Path:
        """Custom routing policies (optional)."""
        return self.documents / "policies.yaml"

    @property
    def experiments_file(self) -> Path:
        """Running and finished experiments (optional)."""
        return self.documents / "experiments.yaml"

    @property
    def limits_file(self) -> Path:
        """Rate limits and budgets (optional)."""
        return self.documents / "limits.yaml"

    @property
    def keys_file(self) -> Path:
        """Virtual keys of the HTTP shim, hashed (optional)."""
        return self.home / "keys.json"

    @property
    def compliance_file(self) -> Path:
        """The append-only trail of key changes, with person and time."""
        return self.home / COMPLIANCE_FILE

    @property
    def retention_file(self) -> Path:
        """Other periods for single organisations, and legal holds (optional)."""
        return self.documents / "retention.yaml"

    @property
    def erasures(self) -> Path:
        """Certificates of erased persons, and the data that late segments are compared with."""
        return self.home / "erasures"

    @property
    def lake(self) -> Path:
        """Sealed segments: the record of truth."""
        return self.home / "lake"

    @property
    def scores_file(self) -> Path:
        """The current score snapshot."""
        return self.home / "scores" / "current.json"

    @property
    def versions_file(self) -> Path:
        """Versions of models that the pipelines saw in the catalog."""
        return self.home / "scores" / "versions.jsonl"

    @property
    def classifier_file(self) -> Path:
        """The task classifier, if the pipelines trained one."""
        return self.home / "scores" / "classifier.bin"

    @property
    def features_key_file(self) -> Path:
        """The secret that keys the numbers of prompt features. Routers of one lake share it."""
        return self.home / "features.key"

    @property
    def warehouse_file(self) -> Path:
        """The published DuckDB database. You can open it with any tool, since it is never locked."""
        return self.home / "warehouse" / "intellirouter.duckdb"

    @property
    def warehouse_facts_file(self) -> Path:
        """When the warehouse was published, and how fast it answered. `/health` shows it."""
        return self.home / "warehouse" / "published.json"

    @property
    def mirror_facts_file(self) -> Path:
        """Which published warehouse the mirror in PostgreSQL equals."""
        return self.home / "warehouse" / "mirrored.json"

    @property
    def exports_file(self) -> Path:
        """Places that documents were exported to, so that an erasure can name them."""
        return self.home / "exports.json"

    @property
    def build_file(self) -> Path:
        """The working database of the pipelines. Only they open it."""
        return self.home / "warehouse" / "build" / "build.duckdb"

    @property
    def dagster_home(self) -> Path:
        """Dagster's runs and events, unless `DAGSTER_HOME` is set."""
        return self.home / "dagster"


def read_environment(env_file: Path = Path(".env")) -> dict[str, str]:
    """The process's environment over the `.env` file's. The log names variables that look misspelt."""
    variables = Variables.read(env_file)
    for item in misspelt(variables, [name for name, _, _ in Settings.describe()]):
        if item.name not in _named:
            _named.add(item.name)
            logger.warning("%s", item)
    return variables.merged
