"""What a collector hears of requests: real OTLP over HTTP, decoded from protobuf."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from router import ProviderError, Request, Router
from router.errors import ConfigError, NoEligibleModelError
from router.records import RequestRecord
from router.request.preferences import Preferences
from router.telemetry import exporting, open_telemetry
from tests.factories import write_catalog
from tests.hostile.target import shim
from tests.places import ROOT
from tests.recording import Recorder
from tests.router.providers.scripted import ScriptedServer
from tests.router.telemetry.receiver import Collector, Received, collector
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.router.providers.scripted import Exchange

MESSAGES = [{"role": "user", "content": "canary-prompt"}]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the environment names."""
    with collector() as one:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", one.url)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")  # exported at the end alone
        yield one


@pytest.fixture
def open_router(tmp_path: Path, fake_url: str) -> Callable[..., Router]:
    """Opens a router over the fake provider; the test closes it, which exports."""

    def open_one(*models: Any, **settings: Any) -> Router:
        write_catalog(tmp_path, models or ("small",), base_url=fake_url)
        return Router.open(home=tmp_path, seed=1, **settings)

    return open_one


def ask(router: Router, **members: Any) -> None:
    """One request; its failure is the telemetry's to tell."""
    members.setdefault("messages", MESSAGES)
    with suppress(ProviderError, NoEligibleModelError):
        router.complete_sync(Request(**members))


def by(heard: Collector, metric: str, label: str) -> dict[str | None, tuple[dict[str, Any], Any]]:
    """The (labels, point)s of a metric by one of its labels."""
    return {labels.get(label): (labels, point) for labels, point in heard.points[metric]}


def only(spans: list[Received], kind: str) -> Received:
    """The one span of a kind."""
    (span,) = [span for span in spans if span.kind == kind]
    return span


@pytest.mark.smoke
def test_a_request_is_a_span_and_each_attempt_a_span_below_it(
    listening: Collector, open_router: Callable[..., Router], fake_url: str
) -> None:
    """Names, attributes and times are the record's; usage stands at the call that used it."""
    price = {"start": "2024-01-01", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    router = open_router({"id": "small", "prices": [price]})
    recorder = Recorder()
    router.observe(recorder)
    ask(router, task_type="math", user_id="ada", session_id="s1")
    router.close()
    (record,) = recorder.records
    assert isinstance(record, RequestRecord)
    request, call = only(listening.spans, "INTERNAL"), only(listening.spans, "CLIENT")
    assert (request.name, call.name, call.parent_id) == ("chat auto", "chat small", request.span_id)
    port = int(fake_url.split(":")[2].split("/")[0])
    assert call.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "small",
        "gen_ai.response.id": call.attributes["gen_ai.response.id"],
        "gen_ai.response.model": "small",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "http.response.status_code": 200,
        "intellirouter.model": "small",
        "server.address": "127.0.0.1",
        "server.port": port,
    }
    assert request.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "auto",
        "intellirouter.attempts": 1,
        "intellirouter.cost_usd": 0.0012,
        "intellirouter.is_exploration": record.is_exploration,
        "intellirouter.model": "small",
        "intellirouter.overhead_ms": record.overhead_ms,
        "intellirouter.policy": "balanced",
        "intellirouter.request_id": record.id,
        "intellirouter.strategy": record.strategy,
        "intellirouter.task": "math",
    }
    assert request.start_ns == round(record.timestamp.timestamp() * 1000) * 1_000_000
    assert request.end_ns - request.start_ns == round(record.latency_ms * 1_000_000)
    assert call.end_ns - call.start_ns == round((record.attempts[0].latency_ms or 0) * 1_000_000)
    assert request.start_ns <= call.start_ns < call.end_ns <= request.end_ns


def test_measurements_follow_the_conventions(
    listening: Collector, open_router: Callable[..., Router]
) -> None:
    """Instruments, units' bounds and labels; a label holds nothing of a client's."""
    router = open_router({"id": "small", "provider_model": "small"}, "down", max_attempts=1, max_retries=0)
    for model in ("small", "small", "down"):
        ask(router, model=model, task_type="code")
    router.close()
    durations = by(listening, "gen_ai.client.operation.duration", "error.type")
    assert {error: point.count for error, (_, point) in durations.items()} == {None: 2, "overloaded": 1}
    assert tuple(durations[None][1].explicit_bounds) == exporting.SECONDS
    usage = by(listening, "gen_ai.client.token.usage", "gen_ai.token.type")
    assert {kind: (point.count, point.sum) for kind, (_, point) in usage.items()} == {
        "input": (2, 2000),
        "output": (2, 200),
    }
    assert tuple(usage["input"][1].explicit_bounds) == exporting.TOKENS
    assert usage["input"][0].keys() == {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.token.type",
        "server.address",
        "server.port",
    }
    requests = by(listening, "intellirouter.request.duration", "error.type")
    assert requests["overloaded"][0] == {
        "error.type": "overloaded",
        "gen_ai.operation.name": "chat",
        "intellirouter.model": "down",
        "intellirouter.task": "code",
    }


def test_every_attempt_is_told_in_order_with_its_error(
    listening: Collector, open_router: Callable[..., Router]
) -> None:
    """Retries and fallbacks are spans one after another; only the last carries the answer."""
    router = open_router("down", "small", max_retries=1)
    ask(router, preferences=Preferences(order=("down", "small")))
    router.close()
    request = only(listening.spans, "INTERNAL")
    calls = listening.below(request)
    told = [(call.attributes["intellirouter.model"], call.attributes.get("error.type")) for call in calls]
    assert told == [("down", "overloaded"), ("down", "overloaded"), ("small", None)]
    assert [call.is_error for call in calls] == [True, True, False]
    assert not request.is_error
    assert ["gen_ai.usage.input_tokens" in call.attributes for call in calls] == [False, False, True]
    gap_ms = (calls[1].start_ns - calls[0].end_ns) / 1e6
    assert gap_ms > 100  # the wait before the retry
    assert all(one.end_ns <= other.start_ns for one, other in pairwise(calls))


@pytest.mark.smoke
def test_a_refused_request_is_told_without_a_call(
    listening: Collector, open_router: Callable[..., Router]
) -> None:
    """Nobody was asked; the error's type says why, and no message does."""
    router = open_router("small")
    ask(router, preferences=Preferences(max_cost_usd=None, min_quality=1.0, regions=frozenset({"mars"})))
    router.close()
    (span,) = listening.spans
    assert (span.name, span.is_error, span.message) == ("chat auto", True, "")
    assert span.attributes["error.type"] == "no_eligible_model"
    assert "gen_ai.client.operation.duration" not in listening.points


def test_a_stream_tells_its_first_chunk(listening: Collector, open_router: Callable[..., Router]) -> None:
    """Measured from the call's start, not from the request's: a failed attempt before it does not count."""
    router = open_router("down", "small", max_retries=0)
    wishes = Preferences(order=("down", "small"))
    with router.stream_sync(Request(messages=MESSAGES, preferences=wishes)) as stream:
        for _ in stream:
            pass
    router.close()
    request = only(listening.spans, "INTERNAL")
    _, call = listening.below(request)
    first = call.attributes["gen_ai.response.time_to_first_chunk"]
    assert 0 < first <= (call.end_ns - call.start_ns) / 1e9
    assert call.attributes["gen_ai.request.stream"] is True
    ((labels, point),) = listening.points["gen_ai.client.operation.time_to_first_chunk"]
    assert (labels["gen_ai.request.model"], point.count, point.sum) == ("small", 1, first)


def test_a_request_is_part_of_its_callers_trace(
    listening: Collector, open_router: Callable[..., Router]
) -> None:
    """Over HTTP by `traceparent`; what is no traceparent begins a trace of its own."""
    router = open_router("small", is_server=True)
    hostile = [
        "",
        "x",
        PARENT.replace("0af7", "zzzz"),
        f"{PARENT}-{'a' * 10_000}",
        f"00-{'0' * 32}-{'0' * 16}-01",
    ]
    with serving(router) as url:
        for value in (PARENT, *hostile):
            body = {"messages": MESSAGES}
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers={"traceparent": value})
            assert answer.status_code == 200
    joined, *others = [span for span in listening.spans if span.kind == "SERVER"]
    assert (joined.trace_id, joined.parent_id) == (PARENT.split("-")[1], PARENT.split("-")[2])
    assert only(listening.below(joined), "CLIENT").trace_id == joined.trace_id
    assert len({span.trace_id for span in others} - {joined.trace_id}) == len(hostile)
    assert {span.parent_id for span in others} == {""}


def test_the_callables_request_is_part_of_the_applications_trace(
    listening: Collector, open_router: Callable[..., Router]
) -> None:
    """The span that the calling code is in, from whatever provider it is, is the parent."""
    from opentelemetry.sdk.trace import TracerProvider

    router = open_router("small")
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("application")
    with tracer.start_as_current_span("work") as span:
        ask(router)
    ask(router)
    router.close()
    inside, outside = [span for span in listening.spans if span.kind == "INTERNAL"]
    context = span.get_span_context()
    assert (int(inside.trace_id, 16), int(inside.parent_id, 16)) == (context.trace_id, context.span_id)
    assert outside.parent_id == ""


def test_the_providers_hear_no_trace(listening: Collector, tmp_path: Path) -> None:
    """A caller's trace ends here: providers are others' machines."""
    heads = []

    async def behave(exchange: Exchange) -> None:
        heads.append(exchange.head)
        await exchange.answer("200 OK", json.dumps({"choices": []}).encode())

    with ScriptedServer(behave) as server:
        write_catalog(tmp_path, ["small"], base_url=server.url)
        with serving(Router.open(home=tmp_path)) as url:
            headers = {"traceparent": PARENT, "tracestate": "a=b", "baggage": "user=ada"}
            httpx.post(f"{url}/v1/chat/completions", json={"messages": MESSAGES}, headers=headers)
    assert len(heads) == 1
    assert not [name for name in (b"traceparent", b"tracestate", b"baggage") if name in heads[0].lower()]


def test_nothing_of_a_prompt_or_a_person_is_exported(listening: Collector, tmp_path: Path) -> None:
    """Not even where a provider repeats it as its model, its id or its finish reason."""
    canaries = ["canary-prompt", "canary-user", "canary-session", "canary-org", "canary-tag", "canary-agent",
                "canary-key", "canary-answer", "canary-comment"]  # fmt: skip
    prompt = "canary-prompt is what they said"

    async def behave(exchange: Exchange) -> None:
        if b"fail" in exchange.body:
            await exchange.answer(
                "400 Bad", json.dumps({"error": {"message": prompt, "code": prompt}}).encode()
            )
            return
        choice = {"message": {"content": "canary-answer"}, "finish_reason": prompt}
        await exchange.answer(
            "200 OK", json.dumps({"id": prompt, "model": prompt, "choices": [choice]}).encode()
        )

    with ScriptedServer(behave) as server:
        write_catalog(tmp_path, ["small"], base_url=server.url, api_key_env="CANARY")
        pytest.MonkeyPatch().setenv("CANARY", "canary-key")
        with serving(Router.open(home=tmp_path)) as url:
            headers = {
                "x-session-id": "canary-session",
                "openai-organization": "canary-org",
                "x-intellirouter-tags": "a=canary-tag",
                "user-agent": "canary-agent",
            }
            for text in (prompt, f"{prompt} fail"):
                body = {"messages": [{"role": "user", "content": text}], "user": "canary-user"}
                httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers)
    assert len(listening.spans) == 4
    exported = b"".join(listening.bodies)
    assert [canary for canary in canaries if canary.encode() in exported] == []


def test_clients_open_no_series(listening: Collector, open_router: Callable[..., Router]) -> None:
    """Whatever a thousand clients send, the labels are those of one."""
    router = open_router("small", request_logging=False)
    with serving(router) as url, httpx.Client(base_url=url) as client:
        for number in range(30):
            headers = {"x-session-id": f"s{number}", "x-intellirouter-tags": f"t{number}=1"}
            body = {"messages": MESSAGES, "user": f"u{number}", "model": "auto"}
            assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
            client.post("/v1/chat/completions", json={**body, "model": f"m{number}"})
            client.post("/v1/chat/completions", json=body, headers={"x-intellirouter-task": f"t{number}"})
    series = {name: len(points) for name, points in listening.points.items()}
    assert series == {
        "gen_ai.client.operation.duration": 1,
        "gen_ai.client.token.usage": 2,
        "intellirouter.request.duration": 1,
    }
    assert {span.name for span in listening.spans} == {"chat auto", "chat small"}


def test_who_speaks_is_told(
    listening: Collector, open_router: Callable[..., Router], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our name unless OTEL_SERVICE_NAME says another; processes are told apart."""
    monkeypatch.setenv("INTELLIROUTER_ENVIRONMENT", "staging")
    for name in (None, "gateway"):
        if name is not None:
            monkeypatch.setenv("OTEL_SERVICE_NAME", name)
            monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=blue,team=search")
        router = open_router("small")
        ask(router)
        router.close()
    first, second = listening.resources[0], listening.resources[-1]
    assert (first["service.name"], first["deployment.environment.name"]) == ("intellirouter", "staging")
    assert (second["service.name"], second["deployment.environment.name"]) == ("gateway", "blue")
    assert second["team"] == "search"
    assert first["service.instance.id"] != second["service.instance.id"]


def test_headers_and_samplers_are_the_sdks(
    listening: Collector, open_router: Callable[..., Router], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OTEL_EXPORTER_OTLP_HEADERS reach the collector; OTEL_TRACES_SAMPLER leaves spans out, not counts."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=secret")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    router = open_router("small")
    ask(router)
    router.close()
    assert listening.spans == []
    assert listening.points["gen_ai.client.operation.duration"][0][1].count == 1
    assert listening.headers[0]["x-api-key"] == "secret"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_SDK_DISABLED": "true"},
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
        },
    ],
)
def test_it_is_off_unless_a_collector_is_named(variables: dict[str, str]) -> None:
    """And off where OpenTelemetry's own switches say so."""
    assert open_telemetry(variables, environment="test") is None


def test_what_cannot_be_done_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A protocol that is not spoken, and a package that is missing."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with pytest.raises(ConfigError, match="_PROTOCOL names another protocol: set `http/protobuf`"):
        open_telemetry({**variables, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, environment="test")
    monkeypatch.delitem(sys.modules, "router.telemetry.exporting")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"install `intellirouter\[otel\]`, or unset"):
        open_telemetry(variables, environment="test")


def test_serving_says_so_too(tmp_path: Path) -> None:
    """`intellirouter serve` with a bad setting is one line, and no traceback."""
    write_catalog(tmp_path, ["small"])
    command = [sys.executable, "-m", "router.cli", "serve", "--home", str(tmp_path), "--port", "0"]
    environment = {
        "PYTHONPATH": str(ROOT),
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_importing_the_router_loads_no_opentelemetry() -> None:
    """Nor does opening one without a collector."""
    code = (
        "import sys, tempfile, router; from tests.factories import write_catalog; from pathlib import Path\n"
        "home = Path(tempfile.mkdtemp()); write_catalog(home, ['small'])\n"
        "router.Router.open(home=home).close()\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))])"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("trouble", ["refused", "slow", "broken"])
def test_a_collector_in_trouble_slows_and_fails_nothing(
    tmp_path: Path, fake_url: str, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Requests are served while it is away, and a stopping router waits for it only so long."""
    monkeypatch.setattr(exporting, "CLOSE_TIMEOUT_S", 0.5)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
    write_catalog(tmp_path, ["small"], base_url=fake_url)
    with collector() as one:
        one.delay_s, one.status = (3.0, 200) if trouble == "slow" else (0.0, 503)
        url = "http://127.0.0.1:9" if trouble == "refused" else one.url
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        router = Router.open(home=tmp_path)
        for _ in range(5):
            assert router.complete_sync(Request(messages=MESSAGES)).text == "from small"
            time.sleep(0.1)  # exports are tried meanwhile
        started = time.monotonic()
        router.close()
        assert time.monotonic() - started < 5.0
        one.delay_s, one.status = 0.0, 200
        for thread in threading.enumerate():  # they would complain in the next test's log
            if thread.name.startswith(("router-telemetry", "Otel")):
                thread.join(20)
                assert not thread.is_alive()


def test_too_many_waiting_requests_are_counted_and_not_kept(
    listening: Collector,
    open_router: Callable[..., Router],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The queue is bounded, and the log says when the bound is hit."""
    monkeypatch.setattr(exporting, "MAX_WAITING", 2)
    monkeypatch.setattr(exporting, "INTERVAL_S", 3600.0)
    router = open_router("small")
    for _ in range(5):
        ask(router)
    router.close()
    assert router.telemetry is not None
    assert (router.telemetry.dropped, len(listening.spans)) == (3, 4)
    assert "3 requests are not in the telemetry" in caplog.text


def test_a_stopped_shim_has_told_of_everything(tmp_path: Path, fake_url: str, listening: Collector) -> None:
    """The real server exports what it answered before its process ends."""
    home = tmp_path / "data"
    write_catalog(home, ["small"], base_url=fake_url)
    with shim(home, tmp_path / "log", OTEL_EXPORTER_OTLP_ENDPOINT=listening.url) as url:
        for _ in range(20):
            assert httpx.post(f"{url}/v1/chat/completions", json={"messages": MESSAGES}).status_code == 200
    assert len([span for span in listening.spans if span.kind == "SERVER"]) == 20
    assert [line for line in (tmp_path / "log").read_text().splitlines() if " INFO " not in line] == []
