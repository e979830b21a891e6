"""`/metrics` in Prometheus' text format, version 0.0.4.

Labels hold names of the catalog and of this code, never a client's. Otherwise a client could fill the
scraper's memory with series. Counters begin when the server starts. If it has several workers,
`router.server.process.group` adds their counters up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from router.errors import ERROR_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from router.records import RequestRecord

FILES = frozenset({"configuration", "keys", "limits", "scores", "task classifier"})
"""Parts of the health report that are files, of which an older version can be in use."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NONE = "none"
"""The model and provider of a request for which the router chose none."""
MAX_SERIES = 10_000
"""Bounds the series of models and outcomes, which every new catalog adds to. The rest count as `other`."""
DURATION_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
OVERHEAD_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
KINDS = {
    "input": "tokens_input",
    "output": "tokens_output",
    "cached_input": "tokens_cached_input",
    "cache_write": "tokens_cache_write",
    "reasoning": "tokens_reasoning",
}
Labels = tuple[str, ...]


class Histogram:
    """Counts values by upper bound. A value above every bound counts only in the total."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, counts: Iterable[int], total: float) -> None:
        """Add the counts of another histogram with the same bounds."""
        self.counts = [own + other for own, other in zip(self.counts, counts, strict=True)]
        self.total += total


_COUNTED = ("requests", "errors", "tokens", "without_cost")
_MEASURED = ("durations", "first_tokens")


class Metrics:
    """Counts the shim's answers. Use it only in the event loop's thread."""

    def __init__(self) -> None:
        self.requests: defaultdict[Labels, int] = defaultdict(int)
        """Requests by model, provider and outcome."""
        self.errors: defaultdict[Labels, int] = defaultdict(int)
        """Error bodies by code."""
        self.tokens: defaultdict[Labels, int] = defaultdict(int)
        self.cost_usd: defaultdict[Labels, Decimal] = defaultdict(Decimal)
        self.without_cost: defaultdict[Labels, int] = defaultdict(int)
        self.durations: dict[Labels, Histogram] = {}
        self.first_tokens: dict[Labels, Histogram] = {}
        self.overhead = Histogram(OVERHEAD_BUCKETS_S)

    def observe(self, record: RequestRecord) -> None:
        """Count a request."""
        model, provider = record.model_selected or NONE, record.provider or NONE
        outcome = "success" if record.success else record.error_type or "other"
        if outcome not in ERROR_TYPES and not record.success:
            outcome = "other"
        if len(self.requests) >= MAX_SERIES and (model, provider, outcome) not in self.requests:
            model = provider = "other"
        self.requests[model, provider, outcome] += 1
        served = (model, provider)
        _observe(self.durations, served, record.latency_ms)
        if record.ttft_ms is not None:
            _observe(self.first_tokens, served, record.ttft_ms)
        if record.overhead_ms is not None:
            self.overhead.observe(record.overhead_ms / 1000)
        for kind, name in KINDS.items():
            count = getattr(record, name)
            if count is not None:
                self.tokens[model, provider, kind] += count
        if record.cost_usd is not None:
            self.cost_usd[served] += record.cost_usd
        elif record.success:
            self.without_cost[served] += 1

    def count_error(self, code: str) -> None:
        """Count an error body. `code` must be a constant of this code."""
        self.errors[code,] += 1

    def dump(self) -> dict[str, Any]:
        """All counts, for JSON."""
        return {
            **{name: list(getattr(self, name).items()) for name in _COUNTED},
            "cost_usd": [(labels, f"{cost:f}") for labels, cost in self.cost_usd.items()],
            **{
                name: [(labels, item.counts, item.total) for labels, item in getattr(self, name).items()]
                for name in _MEASURED
            },
            "overhead": (self.overhead.counts, self.overhead.total),
        }

    def add(self, dump: Mapping[str, Any]) -> None:
        """Add the counts of another process: a `dump`, as JSON gives it back."""
        for name in _COUNTED:
            counted = getattr(self, name)
            for labels, count in dump[name]:
                counted[tuple(labels)] += count
        for labels, cost in dump["cost_usd"]:
            self.cost_usd[tuple(labels)] += Decimal(cost)
        for name in _MEASURED:
            histograms = getattr(self, name)
            for labels, counts, total in dump[name]:
                histograms.setdefault(tuple(labels), Histogram(DURATION_BUCKETS_S)).add(counts, total)
        self.overhead.add(*dump["overhead"])

    def text(self, health: Mapping[str, Any]) -> str:
        """All counts, and gauges from the health report."""
        return "".join(f"{line}\n" for line in (*self._counted(), *_gauges(health)))

    def _counted(self) -> Iterator[str]:
        served = ("model", "provider")
        for name, kind, text, labels, values in (
            ("requests_total", "counter", "Requests recorded.", (*served, "outcome"), self.requests),
            ("errors_total", "counter", "Error bodies sent, by their code.", ("code",), self.errors),
            ("tokens_total", "counter", "Tokens, as the provider counts.", (*served, "kind"), self.tokens),
            ("cost_usd_total", "counter", "What is known to be spent.", served, self.cost_usd),
            (
                "requests_without_cost_total",
                "counter",
                "Requests served whose cost is not known, and missing in the sum.",
                served,
                self.without_cost,
            ),
        ):
            yield from _series(name, kind, text, labels, values.items())
        for name, text, histograms in (
            ("request_duration_seconds", "From arrival to reply.", self.durations),
            ("time_to_first_token_seconds", "From arrival to the first content.", self.first_tokens),
        ):
            yield from _histogram(name, text, served, histograms)
        yield from _histogram("overhead_seconds", "Time not spent on providers.", (), {(): self.overhead})


def _observe(histograms: dict[Labels, Histogram], labels: Labels, value_ms: float) -> None:
    histogram = histograms.get(labels)
    if histogram is None:
        histogram = histograms[labels] = Histogram(DURATION_BUCKETS_S)
    histogram.observe(value_ms / 1000)


def _gauges(health: Mapping[str, Any]) -> Iterator[str]:
    journal, breakers = health["journal"], health["breakers"]["breakers"]
    ejected = health["breakers"]["ejected"]
    for name, kind, text, value in (
        ("workers", "gauge", "Processes that serve.", health["workers"]["running"]),
        ("in_flight", "gauge", "Requests being served.", health["in_flight"]),
        ("journal_backlog_bytes", "gauge", "Recorded and not yet sealed.", journal["backlog_bytes"]),
        (
            "journal_failed",
            "gauge",
            "1 while records cannot be written or sealed.",
            journal["error"] is not None,
        ),
        ("unrecorded_total", "counter", "Requests served without a record.", journal["unrecorded"]),
        ("unlogged_total", "counter", "Requests served without an audit log.", journal["unlogged"]),
        (
            "snapshot_age_seconds",
            "gauge",
            "Since the scores in use were published.",
            health["scores"]["age_s"],
        ),
        (
            "warehouse_age_seconds",
            "gauge",
            "Since the warehouse was published.",
            health["warehouse"]["age_s"],
        ),
        ("models_ejected", "gauge", "Models left out for failing.", len(ejected)),
        ("breakers_open", "gauge", "Models and providers that failed and are not restored.", len(breakers)),
        ("models_eligible", "gauge", "Models that a request can have.", health["models"]["eligible"]),
        ("keys_active", "gauge", "Keys that open anything.", health["keys"]["active"]),
        ("limits_unchecked_total", "counter", "Requests served unchecked.", health["limits"]["unchecked"]),
        ("ready", "gauge", "1 while a request can succeed.", health["ready"]),
        ("degraded", "gauge", "1 while `/health` lists a fault.", health["status"] != "ok"),
        ("configuration_failed", "gauge", "1 while newer files cannot be used.", _has_old_files(health)),
    ):
        yield from _series(name, kind, text, (), () if value is None else (((), value),))
    yield from _series(
        "exploration_usd_today",
        "gauge",
        "Expected dollars that exploration added since midnight (UTC), of policies with a budget.",
        ("policy",),
        (((policy,), usd) for policy, usd in health["exploration"]["usd_today"].items()),
    )
    budgets = health["limits"].get("charged_usd", {}).items()
    for name, text in (
        (
            "charged",
            "Dollars spent and reserved in the running period, of budgets of a named key or organisation.",
        ),
        ("limit", "Dollars that the budget allows in the period."),
    ):
        values = (((budget,), amounts[name]) for budget, amounts in budgets)
        yield from _series(f"budget_{name}_usd", "gauge", text, ("budget",), values)
    yield from _series(
        "model_ejected", "gauge", "1 while the model is left out.", ("model",), (((m,), 1) for m in ejected)
    )


def _has_old_files(health: Mapping[str, Any]) -> bool:
    return any(fault["part"] in FILES for fault in health["faults"])


def _series(
    name: str, kind: str, text: str, labels: Labels, values: Iterable[tuple[Labels, object]]
) -> Iterator[str]:
    yield from _head(name, kind, text)
    for held, value in values:
        yield f"intellirouter_{name}{_labels(labels, held)} {_number(value)}"


def _histogram(name: str, text: str, labels: Labels, histograms: Mapping[Labels, Histogram]) -> Iterator[str]:
    yield from _head(name, "histogram", text)
    for held, histogram in histograms.items():
        counts = list(accumulate(histogram.counts))
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), counts, strict=True):
            yield f"intellirouter_{name}_bucket{_labels((*labels, 'le'), (*held, bound))} {count}"
        yield f"intellirouter_{name}_sum{_labels(labels, held)} {_number(histogram.total)}"
        yield f"intellirouter_{name}_count{_labels(labels, held)} {counts[-1]}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP intellirouter_{name} {text}"
    yield f"# TYPE intellirouter_{name} {kind}"


def _labels(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    return (
        "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)) + "}"
    )


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: object) -> str:
    return (
        f"{value:f}" if isinstance(value, Decimal) else str(int(value) if isinstance(value, bool) else value)
    )
