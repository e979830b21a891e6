"""OpenTelemetry traces and metrics of requests, by the GenAI semantic conventions.

Telemetry is off, and costs nothing, unless the environment names a collector
(OTEL_EXPORTER_OTLP_ENDPOINT). Each request has one span below the caller's `traceparent`, and below it
one CLIENT span for each attempt. Spans come from the finished record, and never hold prompts, answers,
keys or users. The catalog bounds the exported series, so that a client cannot add its own.

The conventions are in development. The names are those of opentelemetry.io/docs/specs/semconv/gen-ai
in 2026. They have no attribute for money, so `intellirouter.*` holds it.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.telemetry.exporting import Telemetry

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SIGNALS = ("TRACES", "METRICS")
PROTOCOL = "http/protobuf"


def open_telemetry(
    variables: Mapping[str, str], *, environment: str, is_server: bool = False
) -> Telemetry | None:
    """The telemetry that the OTEL_* variables ask for, or None if they ask for none.

    `environment` is the deployment's name, and `is_server` says whether requests come over HTTP.
    ConfigError if a needed package is not installed, or if the variables cannot be used. Variables of
    `.env` are put into the process's environment, where the SDK reads them.
    """
    signals = [signal for signal in SIGNALS if _is_wanted(signal, variables)]
    if not signals:
        return None
    for name in (
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        *(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL" for signal in signals),
    ):
        if variables.get(name, PROTOCOL) != PROTOCOL:
            raise ConfigError(f"{name} names another protocol: set `{PROTOCOL}`, the only one here")
    try:
        from router.telemetry.exporting import Telemetry
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{ENDPOINT} asks for telemetry and `{error.name}` is not installed:"
            " install `intellirouter[otel]`, or unset the variable"
        ) from error
    for name, value in variables.items():
        if name.startswith("OTEL_"):
            os.environ.setdefault(name, value)
    # The SDK's warning about a bad header quotes the header.
    logging.getLogger("opentelemetry.util.re").disabled = True
    try:
        return Telemetry(signals, environment=environment, is_server=is_server)
    except (OSError, ValueError) as error:
        fault = type(error).__name__  # its text may quote a header
    raise ConfigError(f"the OTEL_* variables cannot be used ({fault}); correct or unset them")


def _is_wanted(signal: str, variables: Mapping[str, str]) -> bool:
    """Whether a collector of traces or metrics is named, and OpenTelemetry's switches allow it."""
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if variables.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower() == "none":
        return False
    return bool(variables.get(ENDPOINT) or variables.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
