"""Pass descriptions to OpenTelemetry's SDK without delaying requests.

`observe` appends to a bounded queue. A separate thread makes spans and measurements from it, and the
SDK's own threads export them. Nothing here is global, so that an application that embeds the router
keeps its own providers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from router.telemetry.description import Said, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram, Meter
    from opentelemetry.trace import Tracer

    from router.catalog.catalog import Catalog
    from router.providers.base import Answer
    from router.records import RequestRecord
    from router.request.request import Request
    from router.telemetry.description import Call, Description, Span

logger = logging.getLogger("router.telemetry")

NAME = "intellirouter"
MAX_WAITING = 20_000
"""The most requests that wait for their spans. Further ones are dropped."""
INTERVAL_S = 0.2
"""How often the thread drains the queue. Waking it for each request would slow the request down."""
COMPLAINT_INTERVAL_S = 60.0
CLOSE_TIMEOUT_S = 5.0
"""How long a stopping router waits for a collector to take the rest."""
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(4**power for power in range(14))
"""Bounds of the histograms, from the conventions."""
_PROPAGATOR = TraceContextTextMapPropagator()


class Telemetry:
    """Spans and metrics of one router. You can call `observe` from any thread. It never raises."""

    def __init__(self, signals: Sequence[str], *, environment: str, is_server: bool = False) -> None:
        """`signals` is `TRACES`, `METRICS` or both. ValueError if an OTEL_* variable cannot be read."""
        resource = _resource(environment)
        self._is_server = is_server
        """Whether requests come over HTTP. Then the kind of their spans is SERVER instead of INTERNAL."""
        self._tracers = _tracers(resource) if "TRACES" in signals else None
        self._meters = _meters(resource) if "METRICS" in signals else None
        self._tracer = self._tracers.get_tracer(NAME, _version()) if self._tracers else None
        self._instruments = _Instruments(self._meters.get_meter(NAME, _version())) if self._meters else None
        self._waiting: deque[tuple[RequestRecord, Said, Catalog, Sequence[float], _Parent]] = deque()
        self.dropped = 0
        """Requests that were dropped because too many waited."""
        self._complained_at, self._complained_of = float("-inf"), 0
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="router-telemetry", daemon=True)
        self._thread.start()

    def observe(
        self,
        request: Request,
        record: RequestRecord,
        answer: Answer | None,
        catalog: Catalog,
        starts_ms: Sequence[float] = (),
    ) -> None:
        """Queue a finished request. `starts_ms` holds each attempt's start after the request's arrival."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        parent = request.traceparent or _current()
        self._waiting.append((record, Said.of(answer), catalog, starts_ms, parent))

    def close(self) -> None:
        """Export the waiting requests, for CLOSE_TIMEOUT_S at most. The rest is lost."""
        if self._is_closing.is_set():
            return
        closer = threading.Thread(target=self._close, name="router-telemetry-close", daemon=True)
        closer.start()
        closer.join(CLOSE_TIMEOUT_S)
        if closer.is_alive():
            logger.warning("the collector did not take the last spans and metrics in %g s", CLOSE_TIMEOUT_S)

    def _close(self) -> None:
        self._is_closing.set()
        self._thread.join()
        if self._tracers is not None:
            self._tracers.shutdown()
        if self._meters is not None:
            self._meters.shutdown()

    def _work(self) -> None:
        while not self._is_closing.wait(INTERVAL_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while self._waiting:
            record, said, catalog, starts_ms, parent = self._waiting.popleft()
            try:
                self._export(describe(record, said, catalog, starts_ms), _context(parent))
            except Exception:
                logger.exception("request `%s` is not in the telemetry", record.id)
        if (
            self.dropped > self._complained_of
            and time.monotonic() - self._complained_at > COMPLAINT_INTERVAL_S
        ):
            logger.warning("%d requests are not in the telemetry: too many came at once", self.dropped)
            self._complained_at, self._complained_of = time.monotonic(), self.dropped

    def _export(self, description: Description, parent: Context) -> None:
        if self._tracer is not None:
            kind = SpanKind.SERVER if self._is_server else SpanKind.INTERNAL
            below = _emit(self._tracer, description.span, kind, parent)
            for call in description.calls:
                _emit(self._tracer, call.span, SpanKind.CLIENT, below)
        if self._instruments is not None:
            self._instruments.measure(description)


class _Instruments:
    """The instruments: the conventions' histograms and ours."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, text: str) -> Histogram:
            return meter.create_histogram(
                name, unit="s", description=text, explicit_bucket_boundaries_advisory=SECONDS
            )

        self._calls = seconds("gen_ai.client.operation.duration", "GenAI operation duration.")
        self._first_chunks = seconds(
            "gen_ai.client.operation.time_to_first_chunk", "From a streaming call to its first content."
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )
        self._requests = seconds(
            "intellirouter.request.duration", "From arrival to reply, all tries included."
        )
        self._cost = meter.create_counter(
            "intellirouter.cost", unit="{USD}", description="What is known to be spent."
        )

    def measure(self, description: Description) -> None:
        """Count a request and its calls."""
        self._requests.record(description.duration_s, description.labels)
        if description.cost_usd is not None:
            self._cost.add(description.cost_usd, description.labels)
        for call in description.calls:
            self._measure_call(call)

    def _measure_call(self, call: Call) -> None:
        error = call.span.error_type
        self._calls.record(
            call.duration_s, call.labels if error is None else {**call.labels, "error.type": error}
        )
        if call.first_chunk_s is not None:
            self._first_chunks.record(call.first_chunk_s, call.labels)
        for kind, count in call.tokens.items():
            self._tokens.record(count, {**call.labels, "gen_ai.token.type": kind})


_Parent = str | SpanContext | None
"""A `traceparent`, or the span that the calling application is in."""


def _current() -> SpanContext | None:
    context = get_current_span().get_span_context()
    return context if context.is_valid else None


def _context(parent: _Parent) -> Context:
    if isinstance(parent, SpanContext):
        return set_span_in_context(NonRecordingSpan(parent))
    return _PROPAGATOR.extract({} if parent is None else {"traceparent": parent})


def _emit(tracer: Tracer, told: Span, kind: SpanKind, parent: Context) -> Context:
    """Make the span, and return the context below it."""
    span = tracer.start_span(
        told.name, context=parent, kind=kind, attributes=told.attributes, start_time=told.start_ns
    )
    if told.error_type is not None:
        span.set_status(StatusCode.ERROR)  # without a text: a provider's message may quote the prompt
    span.end(told.end_ns)
    return set_span_in_context(span, parent)


def _resource(environment: str) -> Resource:
    """Attributes of this process. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence."""
    own = {
        "service.name": NAME,
        "service.version": _version(),
        "service.instance.id": str(uuid4()),  # counters of two processes must not share a series
        "deployment.environment.name": environment,
    }
    named = OTELResourceDetector().detect().attributes
    return Resource.create({name: value for name, value in own.items() if name not in named})


def _version() -> str:
    try:
        return version(NAME)
    except PackageNotFoundError:  # a checkout that runs without an installation
        return ""


def _tracers(resource: Resource) -> TracerProvider:
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return tracers


def _meters(resource: Resource) -> MeterProvider:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    return MeterProvider([reader], resource=resource, shutdown_on_exit=False)
