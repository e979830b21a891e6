"""What callers see and what is recorded when a provider fails, fault by fault.

`pytest tests/router/providers/test_faults.py -rP | grep '^|'` prints the table.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from router import ProviderError, Request, Router
from router.request.preferences import Preferences
from router.server.errors import status_of
from tests.recording import Recorder, only_request
from tests.router.providers.scripted import Exchange, ScriptedServer, completion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.records import RequestRecord
    from tests.router.providers.scripted import Behaviour

DEADLINE_S = 1.5
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
MB = 1_000_000
FINE = (200, None)
Tries = list[tuple[int | None, str | None]]


def answering(status: str, body: bytes = b'{"error": {"message": "so it is"}}', **headers: str) -> Behaviour:
    """Answers every request alike."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(status, body, **headers)

    return behave


def sending(*parts: bytes, pause_s: float = 0.0, is_reset: bool = False) -> Behaviour:
    """Sends the parts with pauses between them, then closes or resets."""

    async def behave(exchange: Exchange) -> None:
        for part in parts:
            await exchange.send(part)
            await asyncio.sleep(pause_s)
        exchange.reset() if is_reset else exchange.writer.close()

    return behave


def at(seconds: float) -> str:
    """An HTTP date so many seconds from now."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@cache
def bomb() -> bytes:
    """100 MB in 100 kB."""
    return gzip.compress(b" " * (100 * MB))


async def _once_then_fine(exchange: Exchange) -> None:
    await (answering("500 Oops") if exchange.number == 0 else answering("200 OK", completion()))(exchange)


@pytest.fixture(autouse=True, scope="module")
def _packed() -> None:
    bomb()  # before the clock of a test starts, because it takes a second


async def _bomb(exchange: Exchange) -> None:
    await exchange.answer("200 OK", bomb(), content_encoding="gzip")


async def _dated_wait(exchange: Exchange) -> None:
    await exchange.answer("429 Slow Down", retry_after=at(3600))


@dataclass(frozen=True)
class Fault:
    """A provider's behaviour, and the tries at it that are recorded: (status, error type)."""

    behaviour: Behaviour | None
    tries: Tries
    is_retryable: bool = True
    """Whether the same request may succeed later."""


LIMITED, BUSY, BROKEN = (429, "rate_limited"), (503, "overloaded"), (500, "server_error")
CUT, BAD = (None, "connection"), (None, "bad_response")
LATE, SILENT = (None, "timeout"), (None, "attempt_timeout")
FAULTS: dict[str, Fault] = {
    "429": Fault(answering("429 Slow Down"), [LIMITED, LIMITED]),
    "429, retry-after-ms: 80": Fault(answering("429 Slow Down", retry_after_ms="80"), [LIMITED, LIMITED]),
    "429, retry-after: 0": Fault(answering("429 Slow Down", retry_after="0"), [LIMITED, LIMITED]),
    "429, retry-after: 30": Fault(answering("429 Slow Down", retry_after="30"), [LIMITED]),
    "429, retry-after: in an hour": Fault(_dated_wait, [LIMITED]),
    "429, retry-after: nonsense": Fault(answering("429 Slow Down", retry_after="soon"), [LIMITED, LIMITED]),
    "408": Fault(answering("408 Late"), [(408, "timeout")] * 2),
    "409": Fault(answering("409 Conflict"), [(409, "server_error")] * 2),
    "500": Fault(answering("500 Oops"), [BROKEN, BROKEN]),
    "500 once": Fault(_once_then_fine, [BROKEN, FINE]),
    "500, body cut": Fault(sending(b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\n{"), [BROKEN, BROKEN]),
    "503": Fault(answering("503 Busy"), [BUSY, BUSY]),
    "503, retry-after: 30": Fault(answering("503 Busy", retry_after="30"), [BUSY]),
    "529": Fault(answering("529 Overloaded"), [(529, "overloaded")] * 2),
    "503, x-should-retry: false": Fault(answering("503 Busy", x_should_retry="false"), [BUSY]),
    "429, x-should-retry: false": Fault(answering("429 No Quota", x_should_retry="False"), [LIMITED]),
    "400, x-should-retry: true": Fault(
        answering("400 Bad", x_should_retry="true"), [(400, "bad_request")] * 2
    ),
    "503, x-should-retry: perhaps": Fault(answering("503 Busy", x_should_retry="perhaps"), [BUSY, BUSY]),
    "401": Fault(answering("401 Who"), [(401, "authentication")]),
    "400": Fault(answering("400 Bad"), [(400, "bad_request")], is_retryable=False),
    "404": Fault(answering("404 No Model"), [(404, "model_gone")], is_retryable=False),
    "410": Fault(answering("410 Gone"), [(410, "model_gone")], is_retryable=False),
    "498": Fault(answering("498 No Capacity"), [(498, "overloaded")]),
    "refused": Fault(None, [CUT, CUT]),
    "reset": Fault(sending(is_reset=True), [CUT, CUT]),
    "closed without an answer": Fault(sending(), [CUT, CUT]),
    "reset in the body": Fault(
        sending(HEAD + b"content-length: 99\r\n\r\n{", pause_s=0.02, is_reset=True), [CUT, CUT]
    ),
    "no answer": Fault(sending(b"", pause_s=30), [LATE]),
    "slow headers": Fault(sending(*[b"%c" % byte for byte in HEAD], pause_s=0.1), [LATE]),
    "dripping body": Fault(sending(HEAD + b"content-length: 999\r\n\r\n", *[b" "] * 99, pause_s=0.1), [LATE]),
    "dripping body of a 500": Fault(
        sending(b"HTTP/1.1 500 Oops\r\ncontent-length: 999\r\n\r\n", *[b" "] * 99, pause_s=0.1),
        [BROKEN, BROKEN],
    ),
    "truncated body": Fault(sending(HEAD + b"content-length: 999\r\n\r\n" + completion()), [CUT, CUT]),
    "truncated chunks": Fault(sending(HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{"), [CUT, CUT]),
    "gzip bomb of 100 MB": Fault(_bomb, [BAD]),
    "gzip that is none": Fault(answering("200 OK", completion(), content_encoding="gzip"), [BAD]),
    "body of 100 MB": Fault(sending(HEAD + b"content-length: 100000000\r\n\r\n", *[b" " * MB] * 100), [BAD]),
    "body that is not JSON": Fault(answering("200 OK", b'{"choices": ['), [BAD]),
    "HTML": Fault(answering("200 OK", b"<html>hello</html>", content_type="text/html"), [BAD]),
    "JSON without choices": Fault(answering("200 OK", b'{"object": "x"}'), [BAD]),
    "JSON of an error": Fault(answering("200 OK", b'{"error": "sorry"}'), [(None, "server_error")]),
    "empty body": Fault(answering("200 OK", b""), [BAD]),
    "204": Fault(sending(b"HTTP/1.1 204 No Content\r\n\r\n"), [(204, "bad_response")]),
    "redirect": Fault(answering("307 There", location="http://127.0.0.1:9/"), [(307, "bad_response")]),
    "headers too large": Fault(
        sending(HEAD + b"x: %s\r\ncontent-length: 0\r\n\r\n" % (b"a" * 70_000)), [CUT, CUT]
    ),
    "not HTTP": Fault(sending(b"SSH-2.0-OpenSSH_9.7\r\n"), [CUT, CUT]),
    "HTTP/1.0 until it closes": Fault(sending(b"HTTP/1.0 200 OK\r\n\r\n" + completion()), [FINE]),
    "wrong content type": Fault(answering("200 OK", completion(), content_type="text/plain"), [FINE]),
}


@pytest.fixture(scope="module")
def spare() -> Iterator[ScriptedServer]:
    """A provider that answers."""
    with ScriptedServer(answering("200 OK", completion("from the spare"))) as server:
        yield server


@dataclass(frozen=True)
class Seen:
    """One request's end."""

    answer: str | None
    error: ProviderError | None
    record: RequestRecord
    took_s: float

    def row(self, name: str) -> str:
        """A line of the table."""
        saw = f"`{self.answer}`" if self.error is None else f"{self.error.error_type}, retryable"
        if self.error is not None and not self.error.is_retryable:
            saw = self.error.error_type
        tries = "; ".join(
            f"{attempt.model} {attempt.status_code or '-'} {attempt.error_type or 'ok'}"
            for attempt in self.record.attempts
        )
        return f"| {name} | {saw} | {tries} | {self.record.status_code or '-'} | {self.took_s:.2f} s |"


FIRST_FAULTY = Request(
    messages=[{"role": "user", "content": "hi"}], preferences=Preferences(order=("faulty",))
)


@contextmanager
def opened(
    home: Path, urls: dict[str, str], *, stated: dict[str, Any] | None = None, **settings: Any
) -> Iterator[tuple[Router, Recorder]]:
    """A router whose models stand at a provider each; `stated` is more of the model or `provider` faulty."""
    stated = stated or {}
    providers: dict[str, Any] = {name: {"kind": "openai", "base_url": url} for name, url in urls.items()}
    providers["faulty"] |= stated.get("provider", {})
    models = [{"id": name, "provider": name, **stated.get(name, {})} for name in urls]
    (home / "catalog.yaml").write_text(yaml.safe_dump({"providers": providers, "models": models}))
    with Router.open(home=home, request_timeout_s=DEADLINE_S, **settings) as router:
        recorder = Recorder()
        router.observe(recorder)
        yield router, recorder


def ask(home: Path, urls: dict[str, str], **options: Any) -> Seen:
    """A request to the model `faulty`, behind which the others stand; `options` are of `opened`."""
    with opened(home, urls, **options) as (router, recorder):
        answer, error = None, None
        started = time.perf_counter()
        try:
            answer = router.complete_sync(FIRST_FAULTY).text
        except ProviderError as failure:
            error = failure
        took_s = time.perf_counter() - started
        return Seen(answer, error, only_request(recorder.records), took_s)


def ask_faulty(home: Path, fault: Fault, others: dict[str, str], **options: Any) -> Seen:
    """The request, with the fault behind `faulty`; `options` are of `opened`."""
    if fault.behaviour is None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            return ask(
                home, {"faulty": f"http://127.0.0.1:{closed.getsockname()[1]}/v1", **others}, **options
            )
    with ScriptedServer(fault.behaviour) as server:
        return ask(home, {"faulty": server.url, **others}, **options)


def tried(seen: Seen) -> list[tuple[str, int | None, str | None]]:
    """The record's tries."""
    return [(item.model, item.status_code, item.error_type) for item in seen.record.attempts]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_and_recorded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller learns the kind of failure within the deadline; the record holds every try."""
    monkeypatch.setattr("router.providers.openai.REFUSAL_TIMEOUT_S", 0.2)
    fault = FAULTS[name]
    seen = ask_faulty(tmp_path, fault, {})
    print(seen.row(name))  # noqa: T201 - the table
    assert tried(seen) == [("faulty", *one) for one in fault.tries]
    status, error_type = fault.tries[-1]
    assert (seen.record.status_code, seen.record.error_type) == (status, error_type)
    assert seen.record.success == (error_type is None)
    assert seen.took_s < 1.1 * DEADLINE_S
    if error_type is None:
        assert seen.answer == "fine"
    else:
        assert seen.error is not None
        assert (seen.error.error_type, seen.error.is_retryable) == (error_type, fault.is_retryable)
        assert [item.error_type for item in seen.error.attempts] == [one[1] for one in fault.tries]


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if FINE not in fault.tries])
def test_another_model_answers_for_a_faulty_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: ScriptedServer
) -> None:
    """Where time is left, the caller never sees the failure, not even a refusal of the request."""
    monkeypatch.setattr("router.providers.openai.REFUSAL_TIMEOUT_S", 0.2)
    fault = FAULTS[name]
    seen = ask_faulty(tmp_path, fault, {"spare": spare.url})
    print(seen.row(f"{name}, with a spare"))  # noqa: T201 - the table
    tries = [SILENT if one == LATE else one for one in fault.tries]
    assert tried(seen) == [("faulty", *one) for one in tries] + [("spare", *FINE)]
    assert seen.answer == "from the spare"
    assert (seen.record.success, seen.record.model_decided) == (True, "faulty")
    assert seen.took_s < 1.1 * DEADLINE_S


@pytest.mark.parametrize("kind", ["anthropic", "gemini", "bedrock"])
@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if FINE not in fault.tries])
def test_a_fault_is_the_same_for_every_kind(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another API has another answer, and fails in the same ways."""
    monkeypatch.setattr("router.providers.openai.REFUSAL_TIMEOUT_S", 0.2)
    monkeypatch.setenv("FAULTY_KEY", "a-key-of-nobody")
    entry = {"kind": kind, "api_key_env": "FAULTY_KEY"} | (
        {"region": "eu-west-1"} if kind == "bedrock" else {}
    )
    fault = FAULTS[name]
    seen = ask_faulty(tmp_path, fault, {}, stated={"provider": entry})
    assert tried(seen) == [("faulty", *one) for one in fault.tries]
    assert seen.error is not None
    assert (seen.error.error_type, seen.error.is_retryable) == (fault.tries[-1][1], fault.is_retryable)
    assert seen.took_s < 1.1 * DEADLINE_S


SILENCE = FAULTS["no answer"]


def test_each_silent_model_has_half_of_the_time_left(tmp_path: Path) -> None:
    """Of 1.5 s the first has 0.75, the second 0.375, the last the rest; the total stands within 10%."""
    assert SILENCE.behaviour is not None
    with ScriptedServer(SILENCE.behaviour) as other, ScriptedServer(SILENCE.behaviour) as last:
        seen = ask_faulty(tmp_path, SILENCE, {"other": other.url, "last": last.url})
    assert [item.error_type for item in seen.record.attempts] == ["attempt_timeout"] * 2 + ["timeout"]
    took_s = [(item.latency_ms or 0.0) / 1000.0 for item in seen.record.attempts]
    assert took_s == pytest.approx([0.75, 0.375, 0.375], abs=0.15)
    assert seen.error is not None
    assert seen.error.error_type == "timeout"
    assert seen.took_s < 1.1 * DEADLINE_S


@pytest.mark.parametrize(
    ("stated", "settings", "most_s"),
    [
        ({}, {"attempt_timeout_s": 0.2}, 0.2),
        ({"faulty": {"attempt_timeout_s": 0.3}}, {"attempt_timeout_s": 0.1}, 0.3),
        ({"provider": {"attempt_timeout_s": 0.25}}, {}, 0.25),
        ({"provider": {"attempt_timeout_s": 0.1}, "faulty": {"attempt_timeout_s": 1.2}}, {}, 1.2),
        ({"faulty": {"attempt_timeout_s": 30}}, {}, DEADLINE_S),
    ],
)
def test_the_time_of_a_try_can_be_set(
    tmp_path: Path, spare: ScriptedServer, stated: dict[str, Any], settings: dict[str, Any], most_s: float
) -> None:
    """The model's own stands above its provider's, and that above the setting; none passes the total."""
    assert SILENCE.behaviour is not None
    with ScriptedServer(SILENCE.behaviour) as server:
        seen = ask(tmp_path, {"faulty": server.url, "spare": spare.url}, stated=stated, **settings)
    first = seen.record.attempts[0]
    assert (first.latency_ms or 0.0) / 1000.0 == pytest.approx(most_s, abs=0.15)
    is_saved = most_s < DEADLINE_S
    assert first.error_type == ("attempt_timeout" if is_saved else "timeout")
    assert seen.answer == ("from the spare" if is_saved else None)


def test_a_silent_stream_is_served_by_another_model(tmp_path: Path, spare: ScriptedServer) -> None:
    """Until the first content a stream is a try like any other: headers alone do not hold it up."""
    chunk = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\n'
    streaming = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    async def pings(exchange: Exchange) -> None:
        await exchange.send(streaming)
        while True:
            await exchange.send(b": ping\n\n")
            await asyncio.sleep(0.05)

    with (
        ScriptedServer(pings) as silent,
        ScriptedServer(sending(streaming, chunk, b"data: [DONE]\n\n")) as other,
        opened(tmp_path, {"faulty": silent.url, "spare": other.url}) as (router, recorder),
    ):
        with router.stream_sync(FIRST_FAULTY) as stream:
            assert "".join(event.text for event in stream) == "hi"
        record = only_request(recorder.records)
    assert [item.error_type for item in record.attempts] == ["attempt_timeout", None]
    assert record.attempts[0].latency_ms == pytest.approx(500 * DEADLINE_S, abs=150)


def test_a_silent_model_is_told_as_a_gateway_timeout(tmp_path: Path) -> None:
    """Where its own time is over and no other can be asked, the caller hears so, and what to raise."""
    assert SILENCE.behaviour is not None
    with ScriptedServer(SILENCE.behaviour) as server:
        seen = ask(tmp_path, {"faulty": server.url}, attempt_timeout_s=0.2)
    assert seen.error is not None
    assert (seen.error.error_type, status_of(seen.error)) == ("attempt_timeout", 504)
    assert "`faulty` within 0.2" in str(seen.error)
    assert "ATTEMPT_TIMEOUT_S" in str(seen.error)
    assert seen.error.may_be_billed


def test_waiting_for_a_retry_is_no_overhead(tmp_path: Path) -> None:
    """The time between two tries is the provider's doing; the router's own time stays small."""
    seen = ask_faulty(tmp_path, FAULTS["500"], {})
    calls_ms = sum(attempt.latency_ms or 0.0 for attempt in seen.record.attempts)
    assert seen.record.overhead_ms is not None
    assert seen.record.latency_ms - calls_ms > 125.0 > seen.record.overhead_ms


def test_an_ejected_model_is_not_asked_again(tmp_path: Path, spare: ScriptedServer) -> None:
    """Once the breaker has left the model out, its failure goes straight to the next candidate."""
    with ScriptedServer(answering("500 Oops")) as server:
        urls = {"faulty": server.url, "spare": spare.url}
        seen = ask(tmp_path, urls, health_consecutive_failures=1)
    assert tried(seen) == [("faulty", *BROKEN), ("spare", *FINE)]
