"""The callable: route, call, record, reply, over a provider that is a real HTTP server."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from router import (
    ConfigError,
    JournalError,
    NoEligibleModelError,
    ProviderError,
    Request,
    RequestError,
    Router,
    ScoresError,
    UnknownModelError,
    UnknownPolicyError,
    UnknownTaskError,
)
from router.journal.journal import AppendLog
from router.records import BodyMode, FeedbackRecord, RequestLog, RequestRecord, new_id
from router.request.preferences import Preferences
from tests.factories import write_catalog
from tests.recording import Recorder, only_request
from tests.router.scores.test_scores import row, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

PRICED = {
    "prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}],
}
MESSAGES = [{"role": "user", "content": "2 + 2?"}]


def test_an_answer_comes_with_its_record(open_router: Any) -> None:
    """Response and record agree on id, model, usage and exact cost."""
    router, records = open_router({"id": "small", **PRICED})
    response = router.complete_sync(Request(messages=MESSAGES, task_type="math", user_id="u1"))
    record = only_request(records)
    assert response.text == "from small"
    assert (record.id, record.model_selected) == (response.request_id, response.model)
    assert record.cost_usd == response.cost_usd == Decimal("0.002")
    assert str(record.price_id).startswith("small@2026-01-01T00:00:00Z#")
    assert (record.tokens_input, record.tokens_output, record.user_id) == (1000, 100, "u1")
    assert record.success
    assert 0 <= (record.overhead_ms or 0) <= record.latency_ms


def test_the_record_holds_the_whole_decision(open_router: Any) -> None:
    """Candidates, propensity, policy version and configuration stand in every record."""
    router, records = open_router()
    router.complete_sync(Request(messages=MESSAGES, task_type="math"))
    record = only_request(records)
    assert {item.model for item in record.candidates} == {"small", "large"}
    chosen = next(item for item in record.candidates if item.model == record.model_decided)
    assert record.propensity == chosen.probability == pytest.approx(0.5)
    assert (record.policy_id, record.policy_version) == ("balanced", 1)
    assert record.snapshot_id is None
    assert len(record.config_hash) == 16


def test_routing_alone_records_nothing(open_router: Any) -> None:
    """`route` has no side effect."""
    router, records = open_router()
    decision = router.route(Request(messages=MESSAGES))
    assert decision.model in {"small", "large"}
    assert records == []


def test_an_unknown_usage_is_null_and_not_zero(open_router: Any) -> None:
    """Without usage in the answer, tokens and cost are None although the price is known."""
    router, records = open_router({"id": "uncounted", **PRICED})
    response = router.complete_sync(Request(messages=MESSAGES))
    record = only_request(records)
    assert (record.tokens_input, record.tokens_output, record.cost_usd) == (None, None, None)
    assert record.usage_source == "unknown"
    assert response.cost_usd is None


def test_an_unknown_price_is_null_and_not_zero(open_router: Any) -> None:
    """Tokens are counted, the cost stays unknown."""
    router, records = open_router("small")
    router.complete_sync(Request(messages=MESSAGES))
    record = only_request(records)
    assert (record.tokens_input, record.cost_usd, record.price_id) == (1000, None, None)


def test_the_baseline_prices_the_same_usage(open_router: Any) -> None:
    """Each record says what the baseline model would have cost."""
    baseline = {
        "id": "large",
        "prices": [{"start": "2026-01-01", "input_usd_per_mtok": "10", "output_usd_per_mtok": "100"}],
    }
    router, records = open_router({"id": "small", **PRICED}, baseline, baseline_model="large")
    router.complete_sync(Request(messages=MESSAGES, model="small"))
    record = only_request(records)
    assert (record.cost_usd, record.baseline_cost_usd) == (Decimal("0.002"), Decimal("0.02"))


@pytest.mark.parametrize(("broken", "error_type"), [("down", "overloaded"), ("busy", "rate_limited")])
def test_a_failing_model_is_replaced_by_the_next_candidate(
    open_router: Any, broken: str, error_type: str
) -> None:
    """One request, one record, one entry per attempt; the answering model is the selected one."""
    router, records = open_router(
        {"id": broken, "quality_scores": {"*": 1.0}},
        {"id": "small", "quality_scores": {"*": 0.0}},
        max_retries=0,
    )
    responses = [router.complete_sync(Request(messages=MESSAGES)) for _ in range(5)]
    assert {response.text for response in responses} == {"from small"}
    fallen_back = [
        record for record in records if isinstance(record, RequestRecord) and record.model_decided == broken
    ]
    assert fallen_back
    for record in fallen_back:
        assert record.model_selected == "small"
        assert [(item.model, item.error_type) for item in record.attempts] == [
            (broken, error_type),
            ("small", None),
        ]
        assert record.success


def test_a_models_refusal_is_the_answer_only_if_the_last_model_refuses_too(open_router: Any) -> None:
    """The next model may take the same request. If none does, the first one's error goes to the caller."""
    router, records = open_router({"id": "picky", "quality_scores": {"*": 1.0}}, "small")
    response = router.complete_sync(Request(messages=MESSAGES, preferences=Preferences(order=("picky",))))
    assert response.text == "from small"
    with pytest.raises(ProviderError) as caught:
        router.complete_sync(Request(messages=MESSAGES, model="picky"))
    served, refused = [record for record in records if isinstance(record, RequestRecord)]
    assert [item.error_type for item in served.attempts] == ["bad_request", None]
    assert (caught.value.status_code, caught.value.error_type) == (400, "bad_request")
    assert caught.value.request_id == refused.id
    assert (refused.success, refused.cost_usd, len(refused.attempts)) == (False, None, 1)


def test_when_every_try_fails_the_record_says_so(open_router: Any) -> None:
    """A failure is a record too, with the provider's status and message."""
    router, records = open_router("down")
    with pytest.raises(ProviderError, match="`fake` answered 503 for model `down`"):
        router.complete_sync(Request(messages=MESSAGES))
    record = only_request(records)
    assert (record.success, record.status_code, record.error_type) == (False, 503, "overloaded")


def test_an_unreachable_provider_is_named(tmp_path: Path) -> None:
    """Nobody listening is a connection failure of that provider, recorded."""
    write_catalog(tmp_path, ["small"], base_url="http://127.0.0.1:9/v1")
    with (
        Router.open(home=tmp_path) as router,
        pytest.raises(ProviderError, match=r"`fake` cannot be reached \(ConnectError\)"),
    ):
        router.complete_sync(Request(messages=MESSAGES))


def test_the_deadline_covers_the_whole_request(open_router: Any) -> None:
    """REQUEST_TIMEOUT_S ends a slow call and is recorded as a timeout."""
    router, records = open_router("slow", request_timeout_s=0.3)
    with pytest.raises(ProviderError, match="REQUEST_TIMEOUT_S") as caught:
        router.complete_sync(Request(messages=MESSAGES))
    record = only_request(records)
    assert caught.value.error_type == record.error_type == "timeout"
    assert record.latency_ms < 5_000


def test_a_cancelled_request_is_recorded(open_router: Any) -> None:
    """A caller who goes away leaves a record with what was tried."""
    router, records = open_router("slow")

    async def give_up() -> None:
        task = asyncio.create_task(router.complete(Request(messages=MESSAGES)))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await router.aclose_connections()

    asyncio.run(give_up())
    assert only_request(records).error_type == "cancelled"


def test_a_named_model_is_used_as_named(open_router: Any) -> None:
    """Pinning gives propensity 1, and no other model answers in its place."""
    router, records = open_router("down", "small")
    assert router.complete_sync(Request(messages=MESSAGES, model="small")).model == "small"
    with pytest.raises(ProviderError):
        router.complete_sync(Request(messages=MESSAGES, model="down"))
    assert [(item.strategy, item.propensity) for item in records] == [("pinned", 1.0)] * 2


def test_a_session_stays_with_its_model(open_router: Any) -> None:
    """All of a conversation goes to one model."""
    router, _ = open_router()
    models = {router.complete_sync(Request(messages=MESSAGES, session_id="s1")).model for _ in range(12)}
    assert len(models) == 1


def test_an_idle_session_is_forgotten(open_router: Any) -> None:
    """After its time to live a session is routed afresh."""
    router, records = open_router(session_ttl_s=0.0)
    for _ in range(3):
        router.complete_sync(Request(messages=MESSAGES, session_id="s1"))
    assert {item.strategy for item in records} == {"thompson"}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "smal"}, UnknownModelError, "`smal`: nearest known: `small`"),
        ({"task_type": "maths"}, UnknownTaskError, "`maths`: nearest known: `math`.*catalog.yaml"),
        ({"policy": "x"}, UnknownPolicyError, "`x`: known: `balanced`"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(
    open_router: Any, changes: dict[str, Any], error: type[RequestError], message: str
) -> None:
    """The error names the value and what is known; nothing was asked, so nothing is recorded."""
    router, records = open_router()
    with pytest.raises(error, match=message):
        router.complete_sync(Request(messages=MESSAGES, **changes))
    assert records == []


@pytest.mark.parametrize("messages", [[], "hello", [{"content": "x"}], [1], None])
def test_messages_that_are_none_are_refused(messages: Any) -> None:
    """A request without proper messages cannot be made."""
    with pytest.raises(RequestError, match="messages"):
        Request(messages=messages)


def test_no_eligible_model_lists_each_reason_and_is_recorded(tmp_path: Path) -> None:
    """The error and the record name every candidate with why it is excluded, a missing key included."""
    write_catalog(
        tmp_path,
        [{"id": "a"}, {"id": "b", "availability_status": "unavailable"}],
        api_key_env="A_KEY_NOBODY_SET",
    )
    with Router.open(home=tmp_path) as router:
        recorder = Recorder()
        router.observe(recorder)
        with pytest.raises(NoEligibleModelError, match="set `A_KEY_NOBODY_SET`") as caught:
            router.complete_sync(Request(messages=MESSAGES))
    record = only_request(recorder.records)
    assert caught.value.exclusions.keys() == {"a", "b"}
    assert (record.model_selected, record.success, record.error_type) == (None, False, "no_eligible_model")
    assert {item.model: item.exclusion for item in record.candidates} == caught.value.exclusions


@pytest.mark.parametrize(
    ("model", "parameters", "reason"),
    [
        ({"id": "m", "context_window": 5}, {"max_tokens": 50}, "context window of 5"),
        ({"id": "m", "capabilities": []}, {"tools": [{}]}, "lacks `tools`"),
        (
            {"id": "m", "capabilities": ["tools"]},
            {"response_format": {"type": "json_object"}},
            "lacks `json`",
        ),
    ],
)
def test_a_model_that_cannot_serve_is_excluded(
    open_router: Any, model: dict[str, Any], parameters: dict[str, Any], reason: str
) -> None:
    """A request is not sent where it is known to fail."""
    router, _ = open_router(model)
    with pytest.raises(NoEligibleModelError, match=reason):
        router.route(Request(messages=MESSAGES, parameters=parameters))


def test_what_is_not_known_excludes_nothing(open_router: Any) -> None:
    """A model without stated capabilities or context window serves any request."""
    router, _ = open_router("small")
    assert router.route(Request(messages=MESSAGES, parameters={"tools": [{}], "max_tokens": 10**9}))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """A context in which the disk is full."""
    monkeypatch.setattr("router.journal.journal.PROBE_INTERVAL_S", 0.0)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    @contextmanager
    def full() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr("router.journal.journal.AppendLog.append", refuse)
            patch.setattr("router.journal.journal.AppendLog.probe", refuse)
            yield

    return full


def test_a_record_that_cannot_be_written_withholds_the_answer(open_router: Any, full_disk: Any) -> None:
    """Under `refuse` there is no response whose record silently vanished."""
    router, _ = open_router("small")
    with full_disk():
        with pytest.raises(JournalError, match="No space left on device"):
            router.complete_sync(Request(messages=MESSAGES))
        assert router.health()["ready"] is False
    assert router.health()["ready"] is True


def test_while_nothing_can_be_recorded_no_provider_is_paid(open_router: Any, full_disk: Any) -> None:
    """After the first failure requests are refused before the call, until the disk takes writes again."""
    router, records = open_router("down")
    with full_disk():
        for _ in range(3):
            with pytest.raises(JournalError):
                router.complete_sync(Request(messages=MESSAGES))
    with pytest.raises(ProviderError):  # serving again, by itself: the model of this test is down
        router.complete_sync(Request(messages=MESSAGES))
    assert len(records) == 1
    assert router.health()["status"] == "ok"


def test_serving_without_a_record_is_counted(open_router: Any, full_disk: Any) -> None:
    """Under `serve` the answer comes, and health says how many records are missing."""
    router, records = open_router("small", journal_on_error="serve")
    with full_disk():
        assert router.complete_sync(Request(messages=MESSAGES)).text == "from small"
    assert router.complete_sync(Request(messages=MESSAGES)).text == "from small"
    counted = router.health()["journal"]
    assert (counted["unrecorded"], counted["unlogged"], len(records)) == (1, 0, 1)


def test_a_lost_audit_log_is_no_lost_record(open_router: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose record fits and whose audit log does not is counted as that, by itself."""
    router, _ = open_router("small", journal_on_error="serve")
    append = AppendLog.append

    def without_logs(log: AppendLog, line: bytes) -> Any:
        if log.folder.name == RequestLog.DATASET:
            raise OSError(28, "No space left on device")
        return append(log, line)

    with monkeypatch.context() as patch:
        patch.setattr(AppendLog, "append", without_logs)
        assert router.complete_sync(Request(messages=MESSAGES)).text == "from small"
    counted = router.health()["journal"]
    assert (counted["unrecorded"], counted["unlogged"]) == (0, 1)
    router.sink.seal_now()
    assert len(list((router.settings.home / "lake" / RequestRecord.DATASET).rglob("*.parquet"))) == 1


def test_group_sync_records_like_os(open_router: Any) -> None:
    """JOURNAL_SYNC=group changes when the reply leaves, not what is recorded."""
    router, records = open_router("small", journal_sync="group")
    response = router.complete_sync(Request(messages=MESSAGES))
    router.feedback(response.request_id, "quality", 1.0)
    assert [type(record) for record in records] == [RequestRecord, FeedbackRecord]


@pytest.mark.parametrize(
    ("mode", "kept"),
    [("none", None), ("hash", '"sha256"'), ("redacted", "[redacted: 6 characters]"), ("full", "2 + 2?")],
)
def test_the_audit_trail_keeps_of_bodies_what_its_mode_says(
    tmp_path: Path, fake_url: str, mode: BodyMode, kept: str | None
) -> None:
    """The request's text is stored in `full` alone; who asked, from where, always."""
    write_catalog(tmp_path, ["small"], base_url=fake_url)
    with Router.open(home=tmp_path, request_log_body_mode=mode) as router:
        recorder = Recorder()
        router.observe(recorder)
        router.complete_sync(Request(messages=MESSAGES, user_id="u1", ip_address="::1", user_agent="test/1"))
    (log,) = recorder.logs
    assert log.request_id == only_request(recorder.records).id
    assert (log.user_id, log.ip_address, log.user_agent, log.body_mode) == ("u1", "::1", "test/1", mode)
    if kept is None:
        assert (log.request_data, log.response_data) == (None, None)
    else:
        assert kept in (log.request_data or "")
        assert ("2 + 2?" in (log.request_data or "")) == (mode == "full")


def test_feedback_is_recorded_for_its_request(open_router: Any) -> None:
    """The judgement names the request, the metric and the value."""
    router, records = open_router("small")
    response = router.complete_sync(Request(messages=MESSAGES))
    feedback_id = router.feedback(response.request_id, "quality", 0.75, source="judge", comment="ok")
    feedback = records[1]
    assert isinstance(feedback, FeedbackRecord)
    assert (feedback.feedback_id, feedback.request_id) == (feedback_id, response.request_id)
    assert (feedback.metric, feedback.value, feedback.source) == ("quality", 0.75, "judge")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no-id", "quality", 1.0), "`no-id` is not a request id"),
        (("4f9c2a1e-0000-4000-8000-000000000000", "quality", 1.0), "not a request id"),
        ((None, "quality", 1.5), "`value` must be a number from 0 to 1, got `1.5`"),
        ((None, "quality", float("nan")), "`value` must be"),
        ((None, "quality", True), "`value` must be"),
        ((None, "", 1.0), "`metric` must be"),
    ],
)
def test_bad_feedback_is_refused(open_router: Any, arguments: tuple[Any, ...], message: str) -> None:
    """Nothing is clipped or guessed, and nothing is stored."""
    router, records = open_router("small")
    request_id, metric, value = arguments
    with pytest.raises(RequestError, match=message):
        router.feedback(request_id or new_id()[0], metric, value)
    assert records == []


def test_a_refresh_changes_the_next_decision(open_router: Any, tmp_path: Path) -> None:
    """Published scores are read at refresh, and each decision names the snapshot it used."""
    router, _ = open_router()
    rows = [row("math", "small", 0.99), row("math", "large", 0.01)]
    published = replace(snapshot(*rows), published_at=datetime.now(UTC))
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "current.json").write_bytes(published.to_json())
    router.refresh()
    decision = router.route(Request(messages=MESSAGES, task_type="math"))
    assert (decision.model, decision.snapshot_id) == ("small", published.snapshot_id)
    assert decision.snapshot_age_s is not None
    assert 0 <= decision.snapshot_age_s < 60


def test_the_router_refreshes_by_itself(open_router: Any, tmp_path: Path) -> None:
    """A new score file is in use within the refresh interval, without a call."""
    router, _ = open_router(scores_refresh_interval_s=0.05)
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "current.json").write_bytes(snapshot(row("math", "small", 0.9)).to_json())
    waiting = threading.Event()
    for _ in range(100):
        if router.board.snapshot is not None:
            break
        waiting.wait(0.05)
    assert router.board.snapshot is not None


def test_a_corrupt_score_file_keeps_the_old_scores(open_router: Any, tmp_path: Path) -> None:
    """`refresh` raises, health says why, and routing goes on with what was known."""
    router, _ = open_router(scores_refresh_interval_s=3600)
    path = tmp_path / "scores" / "current.json"
    path.parent.mkdir()
    good = snapshot(row("math", "small", 0.9))
    path.write_bytes(good.to_json())
    router.refresh()
    path.write_bytes(b"{broken")
    with pytest.raises(ScoresError, match="corrupt"):
        router.refresh()
    assert router.route(Request(messages=MESSAGES)).snapshot_id == good.snapshot_id


def test_health_names_what_is_wrong(tmp_path: Path) -> None:
    """A router over a corrupt score file and a missing key serves, degraded, and says both."""
    write_catalog(tmp_path, ["a"], api_key_env="A_KEY_NOBODY_SET")
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "current.json").write_bytes(b"\x00")
    with Router.open(home=tmp_path) as router:
        health = router.health()
    assert health["status"] == "degraded"
    assert "current.json" in health["scores"]["error"]
    assert "A_KEY_NOBODY_SET" in health["models"]["excluded"]["a"]


def test_an_empty_data_folder_names_the_remedy(tmp_path: Path) -> None:
    """Opening without a catalog says which command writes one."""
    with pytest.raises(ConfigError, match="intellirouter init"):
        Router.open(home=tmp_path / "nothing")


def test_a_default_policy_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A mistake in a setting shows at the start, not at the first request."""
    write_catalog(tmp_path)
    with pytest.raises(UnknownPolicyError, match="`nope`"):
        Router.open(home=tmp_path, default_policy="nope")


def test_a_router_prints_its_folder_and_models(tmp_path: Path) -> None:
    """In a notebook it is one line, which also says that it is closed."""
    write_catalog(tmp_path, ["small", "large"])
    with Router.open(home=tmp_path) as router:
        assert repr(router) == f"<Router of `{tmp_path}`: 2 models>"
    assert repr(router) == f"<Router of `{tmp_path}`: closed>"
