"""`Router.stream`: piece by piece, and recorded like any other answer."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from router import (
    BudgetExceededError,
    JournalError,
    NoEligibleModelError,
    ProviderError,
    Request,
    RequestError,
    Router,
)
from router.journal.journal import AppendLog
from tests.recording import Recorder, only_request
from tests.router.serving.streaming.conftest import MESSAGES, PRICED, TOOLS

if TYPE_CHECKING:
    from pathlib import Path

    from router import StreamEvent
    from router.providers.fake import FakeProvider

ASKED = {"stream_options": {"include_usage": True}}


def take(router: Router, **request: Any) -> list[StreamEvent]:
    """Every event of a streamed answer."""
    with router.stream_sync(Request(messages=MESSAGES, **request)) as stream:
        return list(stream)


@pytest.mark.parametrize("model", ["plain", "crlf", "undone", "late"])
@pytest.mark.smoke
def test_the_pieces_add_up_and_the_record_is_whole(open_router: Any, model: str) -> None:
    """Usage, cost, finish reason and time to the first content are recorded though nobody asked for usage."""
    router, records = open_router({"id": model, **PRICED})
    events = take(router)
    record = only_request(records)
    assert "".join(event.text for event in events) == "it is four"
    assert all(event.data is not None and event.data["choices"] for event in events)
    assert (record.tokens_input, record.tokens_output, record.usage_source) == (1000, 100, "provider")
    assert (record.cost_usd, record.finish_reason, record.success) == (Decimal("0.002"), "stop", True)
    assert (record.is_streaming, record.status_code, record.error_type) == (True, 200, None)
    assert record.ttft_ms is not None
    assert 0 < record.ttft_ms <= record.latency_ms
    assert [(item.model, item.cost_usd) for item in record.attempts] == [(model, Decimal("0.002"))]


def test_a_usage_that_is_asked_for_comes_with_its_cost(open_router: Any) -> None:
    """The last chunk is the provider's usage, beside it `cost_usd` to the last digit; null where unknown."""
    router, _ = open_router({"id": "plain", **PRICED}, "crlf")
    with router.stream_sync(Request(messages=MESSAGES, model="plain", parameters=ASKED)) as stream:
        events = list(stream)
    assert b'"cost_usd":0.002000000000' in events[-1].raw
    assert events[-1].data is not None
    assert events[-1].data["usage"]["prompt_tokens"] == 1000
    assert (stream.stream.cost_usd, stream.stream.finish_reason) == (Decimal("0.002"), "stop")
    unpriced = take(router, model="crlf", parameters=ASKED)[-1].data
    assert unpriced is not None
    assert unpriced["usage"]["cost_usd"] is None


def test_the_provider_is_always_asked_for_usage(open_router: Any, provider: FakeProvider) -> None:
    """The caller's own stream options reach the provider beside ours."""
    router, _ = open_router("plain")
    take(router, parameters={"stream_options": {"include_obfuscation": False}, "temperature": 0.5})
    body = provider.seen()["last"]["body"]
    assert body["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert (body["stream"], body["temperature"], body["model"]) == (True, 0.5, "plain")


def test_a_usage_nobody_tells_is_null_and_not_zero(open_router: Any) -> None:
    """A provider that does not count leaves tokens and cost unknown; the answer is a success."""
    router, records = open_router({"id": "uncounted", **PRICED})
    take(router)
    record = only_request(records)
    assert (record.success, record.tokens_input, record.tokens_output) == (True, None, None)
    assert (record.cost_usd, record.usage_source) == (None, "unknown")


def test_the_iteration_ends_when_the_record_is_on_disk(open_router: Any) -> None:
    """No record while pieces come, one before the caller is told of the end."""
    router, records = open_router("plain")

    async def run() -> None:
        async with router.stream(Request(messages=MESSAGES)) as stream:
            seen = [len(records) async for _ in stream]
            assert (set(seen), len(records)) == ({0}, 1)
        await router.aclose_connections()

    asyncio.run(run())
    assert only_request(records)


def test_a_stream_that_cannot_be_recorded_does_not_end_well(
    open_router: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under `refuse` the caller hears that there is no record, in the place of the end."""
    router, records = open_router("plain")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with router.stream_sync(Request(messages=MESSAGES)) as stream, monkeypatch.context() as patch:
        patch.setattr(AppendLog, "append", refuse)
        with pytest.raises(JournalError, match="No space left on device"):
            list(stream)
    assert records == []


@pytest.mark.smoke
def test_leaving_early_ends_the_call_and_is_recorded(open_router: Any, provider: FakeProvider) -> None:
    """The provider sees the client leave; what it counted until then is not known."""
    router, records = open_router({"id": "long", **PRICED})
    before = provider.seen()["abandoned"]
    with router.stream_sync(Request(messages=MESSAGES)) as stream:
        for event in stream:
            if "word3" in event.text:
                break
    record = only_request(records)
    assert (record.success, record.error_type, record.finish_reason) == (False, "cancelled", None)
    assert (record.tokens_input, record.tokens_output, record.cost_usd) == (None, None, None)
    assert [item.error_type for item in record.attempts] == ["cancelled"]
    for _ in range(100):
        if provider.seen()["abandoned"] == before + 1:
            break
        threading.Event().wait(0.05)
    assert provider.seen()["abandoned"] == before + 1


@pytest.mark.parametrize("model", ["long", "stuck"])
def test_a_cancelled_task_is_recorded(open_router: Any, model: str) -> None:
    """Before the first content and after it, a caller who is cancelled leaves one record."""
    router, records = open_router(model)

    async def run() -> None:
        async def consume() -> None:
            async with router.stream(Request(messages=MESSAGES)) as stream:
                async for _ in stream:
                    pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await router.aclose_connections()

    asyncio.run(run())
    assert only_request(records).error_type == "cancelled"


@pytest.mark.parametrize("model", ["long", "stuck"])
def test_the_deadline_covers_the_whole_stream(open_router: Any, model: str) -> None:
    """REQUEST_TIMEOUT_S ends a stream before its first content and after it."""
    router, records = open_router(model, request_timeout_s=0.4)
    with pytest.raises(ProviderError) as caught:
        take(router)
    record = only_request(records)
    assert caught.value.error_type == record.error_type == "timeout"
    assert caught.value.request_id == record.id
    assert 400 <= record.latency_ms < 5_000


def test_the_time_to_the_first_content_is_not_that_of_the_role(open_router: Any) -> None:
    """A chunk that carries a role alone is no content."""
    router, records = open_router("late")
    take(router)
    ttft_ms = only_request(records).ttft_ms
    assert ttft_ms is not None
    assert ttft_ms >= 298  # a wait of the provider's may end some milliseconds early


@pytest.mark.parametrize("model", ["plain", "tools"])
def test_the_audit_log_holds_the_assembled_answer(open_router: Any, model: str) -> None:
    """Pieces of text and of tool calls are kept as the answer they make up, as without streaming."""
    router, _ = open_router(model, request_log_body_mode="full")
    recorder = Recorder()
    router.observe(recorder)
    whole = router.complete_sync(Request(messages=MESSAGES, parameters={"temperature": 0.5}))
    take(router, parameters={"temperature": 0.5})
    answers = [orjson.loads(log.response_data or "") for log in recorder.logs]
    asked, asked_streaming = (orjson.loads(log.request_data or "") for log in recorder.logs)
    assert answers == [whole.body, whole.body]
    assert {"stream": True, **asked} == asked_streaming
    if model == "tools":
        assert whole.body["choices"][0]["message"]["tool_calls"] == TOOLS


def test_a_cut_answer_is_kept_as_far_as_it_came(open_router: Any) -> None:
    """The audit trail says what the caller saw; by default it says how much."""
    router, _ = open_router("late-cut", request_log_body_mode="full")
    recorder = Recorder()
    router.observe(recorder)
    with pytest.raises(ProviderError):
        take(router)
    (choice,) = orjson.loads(recorder.logs[0].response_data or "")["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("it is", None)


def test_the_record_is_that_of_the_same_answer_in_one_piece(open_router: Any) -> None:
    """Field by field, but for identity, time, chance and what streaming adds."""
    router, records = open_router({"id": "plain", **PRICED}, task_sample_share=0)
    router.complete_sync(Request(messages=MESSAGES, task_type="math", user_id="u"))
    take(router, task_type="math", user_id="u")
    whole, streamed = (asdict(record) for record in records)
    for record in (whole, streamed):
        for name in ("id", "timestamp", "draw", "latency_ms", "overhead_ms", "is_streaming", "ttft_ms"):
            del record[name]
        for attempt in record["attempts"]:
            del attempt["latency_ms"]
    assert streamed == whole


def test_a_session_stays_with_the_model_that_streamed(open_router: Any) -> None:
    """A conversation goes on with one model, streamed or not."""
    router, records = open_router("plain", "crlf")
    for _ in range(6):
        take(router, session_id="s")
        router.complete_sync(Request(messages=MESSAGES, session_id="s"))
    assert len({record.model_selected for record in records}) == 1


def test_streams_share_a_connection(open_router: Any, provider: FakeProvider) -> None:
    """A stream that was taken to its end leaves its connection to the next one."""
    router, _ = open_router("plain")
    before = provider.seen()["connections"]
    for _ in range(5):
        take(router)
    assert provider.seen()["connections"] == before + 1


def test_a_model_that_cannot_stream_is_excluded(open_router: Any) -> None:
    """The capability is asked for though the parameters do not say `stream`."""
    router, _ = open_router({"id": "plain", "capabilities": ["json"]})
    with pytest.raises(NoEligibleModelError, match="lacks `streaming`"):
        take(router)


def test_a_whole_answer_is_not_asked_for_as_a_stream(open_router: Any) -> None:
    """`complete` refuses `stream` before anything is called or recorded, and names what serves it."""
    router, records = open_router("plain")
    with pytest.raises(RequestError, match=r"use `Router\.stream`"):
        router.complete_sync(Request(messages=MESSAGES, parameters={"stream": True}))
    assert records == []


def test_a_finished_stream_is_charged_what_it_cost(open_router: Any, tmp_path: Path) -> None:
    """Of a budget of 0.0045 two streams of 0.002 each fit, and no third."""
    (tmp_path / "limits.yaml").write_text(
        "budgets: [{id: b, scope: user, subject: '*', usd: 0.0045, period: month, mode: hard}]"
    )
    router, records = open_router({"id": "plain", **PRICED})
    request = {"user_id": "u", "parameters": {"max_tokens": 100}}
    take(router, **request)
    take(router, **request)
    with pytest.raises(BudgetExceededError, match=r"has \$0.0005 left"):
        take(router, **request)
    assert records[0].budget_reserved_usd == Decimal("0.001022")
    assert (records[2].is_streaming, records[2].error_type) == (True, "budget_exceeded")


@pytest.mark.parametrize("model", ["late-cut", "late-error"])
def test_a_cut_stream_stays_charged_at_its_worst_case(open_router: Any, tmp_path: Path, model: str) -> None:
    """Nobody knows what the provider bills: 0.001022 was reserved of 0.0015, and is not given back."""
    (tmp_path / "limits.yaml").write_text(
        "budgets: [{id: b, scope: user, subject: '*', usd: 0.0015, period: month, mode: hard}]"
    )
    router, _ = open_router({"id": model, **PRICED})
    request = {"user_id": "u", "parameters": {"max_tokens": 100}}
    with pytest.raises(ProviderError):
        take(router, **request)
    with pytest.raises(BudgetExceededError, match=r"has \$0.000478 left"):
        take(router, **request)
