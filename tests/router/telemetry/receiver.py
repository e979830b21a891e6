"""An OTLP/HTTP collector that keeps what it is sent."""

from __future__ import annotations

import gzip
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT"}


@dataclass(frozen=True)
class Received:
    """One span, decoded."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    is_error: bool
    message: str
    """Of its status."""


@dataclass
class Collector:
    """What came so far."""

    url: str
    delay_s: float = 0.0
    status: int = 200
    spans: list[Received] = field(default_factory=list)
    points: dict[str, list[tuple[dict[str, Any], Any]]] = field(default_factory=dict)
    """Latest data points by metric: (attributes, point)."""
    resources: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def take(self, path: str, content: bytes) -> None:
        """Keep one export."""
        self.bodies.append(content)
        if path == "/v1/traces":
            for group in ExportTraceServiceRequest.FromString(content).resource_spans:
                self.resources.append(attributes_of(group.resource.attributes))
                self.spans += [_span(span) for scope in group.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            for batch in ExportMetricsServiceRequest.FromString(content).resource_metrics:
                self.resources.append(attributes_of(batch.resource.attributes))
                for scope in batch.scope_metrics:
                    for metric in scope.metrics:
                        data = metric.histogram if metric.HasField("histogram") else metric.sum
                        points = [(attributes_of(point.attributes), point) for point in data.data_points]
                        self.points[metric.name] = points

    def below(self, span: Received) -> list[Received]:
        """Its children, in order."""
        children = [other for other in self.spans if other.parent_id == span.span_id]
        return sorted(children, key=lambda child: child.start_ns)


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Attributes as a mapping."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind or "string_value")


def _span(span: Any) -> Received:
    return Received(
        name=span.name,
        kind=KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=attributes_of(span.attributes),
        is_error=span.status.code == 2,
        message=span.status.message,
    )


@contextmanager
def collector() -> Iterator[Collector]:
    """A running collector; its URL is what OTEL_EXPORTER_OTLP_ENDPOINT wants."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                content = gzip.decompress(content)
            time.sleep(one.delay_s)
            if one.status == 200:
                one.headers.append({name.lower(): value for name, value in self.headers.items()})
                one.take(self.path, content)
            self.send_response(one.status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        one = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield one
        finally:
            server.shutdown()
            thread.join()
