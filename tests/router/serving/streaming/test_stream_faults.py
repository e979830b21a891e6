"""What goes wrong in a stream: before the first content another model serves, after it the caller hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from router import ProviderError, Request
from router.request.preferences import Preferences
from tests.recording import only_request
from tests.router.serving.streaming.conftest import MESSAGES, PRICED

if TYPE_CHECKING:
    from router import Router


def text_of(router: Router, *models: str) -> tuple[str, str]:
    """(text, model) of an answer from the first of `models` that gives one."""
    preferences = Preferences.parse({"order": list(models)})
    with router.stream_sync(Request(messages=MESSAGES, preferences=preferences)) as stream:
        return "".join(event.text for event in stream), stream.stream.model


@pytest.mark.parametrize(
    ("model", "error_type"),
    [
        ("down", "overloaded"),
        ("busy", "rate_limited"),
        ("empty", "bad_response"),
        ("whole", "bad_response"),
        ("early-cut", "connection"),
        ("early-truncated", "bad_response"),
        ("early-ended", "bad_response"),
        ("early-not-json", "bad_response"),
        ("early-error", "server_error"),
    ],
)
def test_until_the_first_content_another_model_serves(open_router: Any, model: str, error_type: str) -> None:
    """The caller sees one clean answer; one record tells of both attempts."""
    router, records = open_router({"id": model, **PRICED}, {"id": "plain", **PRICED}, max_retries=0)
    assert text_of(router, model, "plain") == ("it is four", "plain")
    record = only_request(records)
    assert (record.model_decided, record.model_selected, record.success) == (model, "plain", True)
    assert [(item.model, item.error_type) for item in record.attempts] == [
        (model, error_type),
        ("plain", None),
    ]
    assert record.tokens_output == 100


@pytest.mark.parametrize(
    ("model", "error_type"),
    [
        ("late-cut", "stream_cut"),
        ("late-truncated", "stream_cut"),
        ("late-ended", "stream_cut"),
        ("late-not-json", "stream_cut"),
        ("late-error", "server_error"),
    ],
)
def test_after_the_first_content_nobody_else_is_asked(open_router: Any, model: str, error_type: str) -> None:
    """What came reaches the caller, then an error; what was counted is not known and not guessed."""
    router, records = open_router({"id": model, **PRICED}, {"id": "plain", **PRICED})
    pieces: list[str] = []
    preferences = Preferences.parse({"order": [model, "plain"]})
    with router.stream_sync(Request(messages=MESSAGES, preferences=preferences)) as stream:
        texts = (event.text for event in stream)
        with pytest.raises(ProviderError) as caught:
            pieces.extend(texts)
    record = only_request(records)
    assert (caught.value.error_type, caught.value.request_id) == (error_type, record.id)
    assert (record.error_type, record.success, record.model_selected) == (error_type, False, model)
    assert (record.tokens_input, record.tokens_output, record.cost_usd) == (None, None, None)
    assert (record.finish_reason, record.usage_source) == (None, "unknown")
    assert record.ttft_ms is not None
    assert [(item.error_type, item.status_code) for item in record.attempts] == [(error_type, 200)]
    assert "".join(pieces) == stream.stream.text == "it is"


def test_the_failure_of_every_candidate_is_one_record(open_router: Any) -> None:
    """Without a first content the error is that of `complete`, with every attempt."""
    router, records = open_router("down", "early-cut", max_retries=0)
    with pytest.raises(ProviderError) as caught:
        text_of(router, "down", "early-cut")
    record = only_request(records)
    assert [item.model for item in record.attempts] == ["down", "early-cut"]
    assert (record.is_streaming, record.ttft_ms, record.success) == (True, None, False)
    assert len(caught.value.attempts) == 2


def test_what_the_provider_says_in_its_stream_reaches_the_caller(open_router: Any) -> None:
    """The message is the caller's; the record names the provider's code."""
    router, records = open_router("late-error")
    with pytest.raises(ProviderError, match="The script fails this stream"):
        text_of(router, "late-error")
    assert only_request(records).error_details == "server_error, `scripted_error`"


def test_a_model_that_cuts_its_streams_is_left_out(open_router: Any) -> None:
    """Streams that break are failures of the model, though each of them began."""
    router, _ = open_router("late-cut", "plain")
    for _ in range(5):
        with pytest.raises(ProviderError):
            text_of(router, "late-cut")
    assert "late-cut" in router.health()["breakers"]["ejected"]
