"""The HTTP shim as its clients see it: the `openai` package and raw HTTP, over real sockets."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pyarrow.parquet as pq
import pytest

from router import Request, Router
from router.config import Settings
from router.journal.manifests import Manifest
from router.records import new_id
from tests.factories import write_catalog
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
MESSAGES: list[Any] = [{"role": "user", "content": "2 + 2?"}]
MODELS: list[Any] = [
    {"id": "small", **PRICED},
    {"id": "down"},
    {"id": "busy"},
    {"id": "picky"},
    {"id": "slow"},
]


@pytest.fixture
def url(tmp_path: Path, fake_url: str) -> Iterator[str]:
    """A running shim over the fake provider; its data folder is the test's."""
    write_catalog(tmp_path, MODELS, base_url=fake_url)
    write = "policies: [{id: balanced, version: 2, allowed_models: [small]}, {id: any}]"
    (tmp_path / "policies.yaml").write_text(write)
    (tmp_path / "limits.yaml").write_text(
        "limits: [{scope: user, subject: hurried, requests: 1, per: hour}]\n"
        "budgets: [{id: none, scope: user, subject: poor, usd: 0, period: month, mode: hard}]"
    )
    router = Router.open(
        home=tmp_path,
        max_body_bytes=100_000,
        request_timeout_s=2,
        journal_seal_interval_s=0.2,
        task_sample_share=0,  # a sample is by chance, and the records of two routers are compared
    )
    with serving(router) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    """The openai package, unchanged but for its base URL."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def post(url: str, **request: Any) -> httpx.Response:
    """A raw chat completion."""
    return httpx.post(f"{url}/v1/chat/completions", **request)


@pytest.mark.smoke
def test_the_openai_package_gets_an_answer(client: openai.OpenAI) -> None:
    """`model="auto"` is routed; the answer and its usage are the provider's."""
    completion = client.chat.completions.create(model="auto", messages=MESSAGES)
    assert completion.choices[0].message.content == "from small"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (1000, 100)


def test_the_headers_say_what_was_decided(client: openai.OpenAI) -> None:
    """Request id, model, policy, exact cost, attempts and overhead come beside the untouched body."""
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
    headers = raw.headers
    assert headers["x-intellirouter-model"] == "small"
    assert headers["x-intellirouter-cost-usd"] == "0.002000000000"
    assert (headers["x-intellirouter-policy"], headers["x-intellirouter-attempts"]) == ("balanced", "1")
    assert raw.parse()._request_id == headers["x-request-id"]


def test_the_models_are_listed_with_auto(client: openai.OpenAI) -> None:
    """`GET /v1/models` names every catalog model and the router's own."""
    assert [model.id for model in client.models.list()] == [
        "auto", "small", "down", "busy", "picky", "slow",
    ]  # fmt: skip


@pytest.mark.smoke
def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    """OpenAI's error shape, with the value and the nearest known."""
    with pytest.raises(openai.NotFoundError, match="`smal`: nearest known: `small`") as caught:
        client.chat.completions.create(model="smal", messages=MESSAGES)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_an_unknown_task_is_a_bad_request(client: openai.OpenAI) -> None:
    """The label is named, and where to declare it."""
    with pytest.raises(openai.BadRequestError, match=r"`maths`.*catalog\.yaml"):
        client.chat.completions.create(
            model="auto", messages=MESSAGES, extra_headers={"x-intellirouter-task": "maths"}
        )


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("down", openai.InternalServerError, "overloaded"),
        ("busy", openai.RateLimitError, "scripted_error"),
        ("picky", openai.BadRequestError, "scripted_error"),
        ("slow", openai.InternalServerError, "timeout"),
    ],
)
def test_a_provider_failure_has_openais_class(
    client: openai.OpenAI, model: str, error: type[openai.APIStatusError], code: str
) -> None:
    """Clients see the exception they already handle, and the id under which it was recorded."""
    with pytest.raises(error) as caught:
        client.chat.completions.create(
            model=model, messages=MESSAGES, extra_headers={"x-intellirouter-policy": "any"}
        )
    assert caught.value.code == code
    assert caught.value.request_id is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{bad", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "must be a JSON object, got `list`"),
        (b"{}", "`messages` is missing"),
        (b'{"messages": "hi"}', "`messages` must be a non-empty list"),
        (b'{"messages": [{"role": "user", "content": "x"}], "model": 5}', "`model` must be a text"),
    ],
)
def test_a_malformed_body_is_refused_in_openais_shape(url: str, content: bytes, message: str) -> None:
    """What is wrong is said in `error.message`; the shim goes on serving."""
    response = post(url, content=content)
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert post(url, json={"messages": MESSAGES}).status_code == 200


def test_an_oversized_body_is_refused(url: str) -> None:
    """The limit and the setting are named."""
    response = post(url, content=b"x" * 100_001)
    assert response.status_code == 413
    assert "MAX_BODY_BYTES" in response.json()["error"]["message"]


def test_bad_tags_are_refused(url: str) -> None:
    """A tag without a value is not guessed."""
    response = post(url, json={"messages": MESSAGES}, headers={"x-intellirouter-tags": "team"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "x-intellirouter-tags")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2", 404), ("GET", "/v1/feedback", 405)])
def test_an_unknown_path_lists_the_known(url: str, method: str, path: str, status: int) -> None:
    """Even a wrong URL is answered in the API's shape."""
    response = httpx.request(method, url + path)
    assert response.status_code == status
    assert "POST /v1/chat/completions" in response.json()["error"]["message"]


def test_a_used_up_limit_is_openais_rate_limit_error(client: openai.OpenAI) -> None:
    """429 with Retry-After and the x-ratelimit headers; the answer before it carried them too."""
    first = client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES, user="hurried")
    with pytest.raises(openai.RateLimitError, match="user `hurried`") as caught:
        client.chat.completions.create(model="auto", messages=MESSAGES, user="hurried")
    headers = caught.value.response.headers
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    assert (headers["x-ratelimit-limit-requests"], caught.value.code) == ("1", "rate_limit_exceeded")
    assert int(headers["retry-after"]) > 3000


def test_a_spent_budget_is_openais_insufficient_quota(client: openai.OpenAI) -> None:
    """The class, type and code that clients know; the message names the budget."""
    with pytest.raises(openai.RateLimitError, match="budget `none` of user `poor`") as caught:
        client.chat.completions.create(model="auto", messages=MESSAGES, user="poor", max_tokens=5)
    assert (caught.value.type, caught.value.code) == ("insufficient_quota", "budget_exceeded")


def test_preferences_come_in_the_provider_member(client: openai.OpenAI) -> None:
    """OpenRouter's `provider` object is followed and does not reach the provider; a wrong one is named."""
    body = {"provider": {"only": ["small"], "allow_fallbacks": False}}
    assert client.chat.completions.create(model="auto", messages=MESSAGES, extra_body=body).id
    with pytest.raises(openai.BadRequestError, match="unknown member `onyl`") as caught:
        client.chat.completions.create(
            model="auto", messages=MESSAGES, extra_body={"provider": {"onyl": ["small"]}}
        )
    assert caught.value.param == "provider.onyl"


def test_feedback_is_taken_for_the_request_of_the_header(url: str) -> None:
    """The id a reply carried is the id feedback takes."""
    request_id = post(url, json={"messages": MESSAGES}).headers["x-request-id"]
    response = httpx.post(f"{url}/v1/feedback", json={"request_id": request_id, "value": 0.5})
    assert (response.status_code, response.json()["request_id"]) == (201, request_id)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"value": 1}, "request_id"),
        ({"request_id": "x"}, "value"),
        ({"request_id": "x", "value": 1}, "request_id"),
        ({"request_id": new_id()[0], "value": 2}, "value"),
        ({"request_id": new_id()[0], "value": 1, "score": 1}, "score"),
        ({"request_id": new_id()[0], "value": 1, "source": "me"}, "source"),
    ],
)
def test_bad_feedback_names_its_member(url: str, body: dict[str, Any], param: str) -> None:
    """Missing, unknown and out-of-range members are each named."""
    response = httpx.post(f"{url}/v1/feedback", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_health_answers_while_serving(url: str) -> None:
    """Status, scores, journal and models in one report."""
    health = httpx.get(f"{url}/health").json()
    assert health["status"] == "ok"
    assert health["scores"]["snapshot_id"] is None
    assert health["models"] == {"eligible": 5, "excluded": {}}


def test_the_record_from_http_is_the_record_from_the_callable(
    client: openai.OpenAI, tmp_path: Path, fake_url: str
) -> None:
    """Field by field, but for identity, time and chance, both ways in leave the same record."""
    client.chat.completions.create(
        model="auto",
        messages=MESSAGES,
        user="u1",
        temperature=0.5,
        extra_headers={
            "x-intellirouter-task": "math",
            "x-intellirouter-tags": "team=search",
            "OpenAI-Organization": "acme",
            "x-session-id": "s1",
        },
    )
    other = tmp_path / "callable"
    write_catalog(other, MODELS, base_url=fake_url)
    (other / "policies.yaml").write_text((tmp_path / "policies.yaml").read_text())
    with Router.open(home=other, task_sample_share=0) as router:
        router.complete_sync(
            Request(
                messages=MESSAGES,
                parameters={"temperature": 0.5, "user": "u1"},
                task_type="math",
                user_id="u1",
                organization_id="acme",
                session_id="s1",
                tags={"team": "search"},
            )
        )
    over_http, called = wait_for_record(tmp_path), wait_for_record(other)
    for record in (over_http, called):
        for name in ("id", "timestamp", "draw", "latency_ms", "overhead_ms"):
            del record[name]
        for attempt in record["attempts"]:
            del attempt["latency_ms"]
    assert called == over_http


def wait_for_record(home: Path) -> dict[str, Any]:
    """The one sealed request record of a data folder, once it is there."""
    for _ in range(400):
        manifests = list((home / "lake" / "request_analytics").rglob("*.json"))
        if manifests:
            break
        threading.Event().wait(0.05)
    (row,) = pq.read_table(home / "lake" / Manifest.read(manifests[0]).path).to_pylist()
    return dict(row)


def test_settings_reach_the_shim_from_the_environment() -> None:
    """Host and port have their variables."""
    settings = Settings.load({"INTELLIROUTER_HOST": "::1", "INTELLIROUTER_PORT": "0"})
    assert (settings.host, settings.port) == ("::1", 0)
