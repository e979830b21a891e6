"""A text that cannot be written is refused before anything is paid for."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from router import EmbeddingRequest, Request
from router.errors import RequestError
from router.request.feedback import check_feedback
from router.request.request import WRITTEN
from tests.pipelines.helpers import id_at

BROKEN = os.fsdecode(b"caf\xe9")
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("name", ["model", *WRITTEN])
def test_a_label_that_cannot_be_encoded_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="is not text") as caught:
        Request(messages=MESSAGES, **cast("dict[str, Any]", {name: BROKEN}))
    assert caught.value.param == name
    with pytest.raises(RequestError, match="is not text"):
        EmbeddingRequest(input="text", **cast("dict[str, Any]", {name: BROKEN}))


@pytest.mark.parametrize("tags", [{BROKEN: "value"}, {"key": BROKEN}])
def test_a_tag_that_cannot_be_encoded_is_refused(tags: dict[str, str]) -> None:
    with pytest.raises(RequestError, match="`tags` holds"):
        Request(messages=MESSAGES, tags=tags)


@pytest.mark.parametrize("content", [BROKEN, [{"type": "text", "text": BROKEN}]])
def test_a_prompt_that_cannot_be_encoded_is_refused(content: Any) -> None:
    with pytest.raises(RequestError, match="`messages` holds"):
        Request(messages=[{"role": "user", "content": content}])


@pytest.mark.parametrize(
    "value", [{"stop": BROKEN}, {BROKEN: 1}, {"metadata": {1: 2}}, {"metadata": object()}, {"seed": 2**70}]
)
def test_parameters_that_are_no_json_are_refused(value: dict[str, Any]) -> None:
    """Before the call, and not by a TypeError of the writer of the body or of the audit trail."""
    with pytest.raises(RequestError, match="`parameters` cannot be written as JSON") as caught:
        Request(messages=MESSAGES, parameters=value)
    assert caught.value.param == "parameters"


def test_other_members_of_a_message_that_are_no_json_are_refused() -> None:
    with pytest.raises(RequestError, match="`messages` cannot be written as JSON"):
        Request(messages=[{"role": "user", "content": "hi", "name": BROKEN}])


@pytest.mark.parametrize("given", [BROKEN, ["text", BROKEN]])
def test_an_input_that_cannot_be_encoded_is_refused(given: str | list[str]) -> None:
    with pytest.raises(RequestError, match="`input` holds"):
        EmbeddingRequest(input=given)


@pytest.mark.parametrize(("metric", "comment"), [(BROKEN, None), ("quality", BROKEN)])
def test_feedback_that_cannot_be_encoded_is_refused(metric: str, comment: str | None) -> None:
    now = datetime.now(UTC)
    with pytest.raises(RequestError, match="is not text"):
        check_feedback(id_at(now), metric, 1.0, "user", comment, now=now)


@pytest.mark.parametrize("name", ["café", "日本", "\N{GRINNING FACE}", "e\u0301"])
def test_text_of_any_script_is_taken(name: str) -> None:
    assert Request(messages=MESSAGES, user_id=name).user_id == name
