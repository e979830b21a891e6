"""`/v1/embeddings` and `Router.embed`: vectors of one name, by whichever model is declared to give them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import openai
import orjson
import pytest
import yaml

from router import (
    BudgetExceededError,
    EmbeddingRequest,
    NoEligibleModelError,
    ProviderError,
    Request,
    RequestError,
    Router,
    UnknownModelError,
)
from router.catalog.catalog import Model
from router.keys.changes import create
from router.providers.azure import AzureProvider
from router.providers.fake import FakeProvider
from router.providers.key_ring import ProviderKeyRing
from router.records import RequestRecord
from router.request.preferences import Preferences
from tests.recording import Recorder, only_request
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from router.records import Record

    Open = Callable[..., tuple[Router, list[Record]]]

SCRIPT: dict[str, Any] = {
    "one": {"tokens_input": 12},
    "two": {"tokens_input": 12},
    "deep": {"tokens_input": 20},
    "down": {"error_rate": 1.0, "error_status": 503},
    "hollow": {"body": "no-choices"},
    "uncounted": {},
    "chat": {"answer": "hello", "tokens_input": 10, "tokens_output": 5},
}
PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "0.02"}]}
ONE = {"id": "one", "vectors": "small", **PRICED}
TWO = {"id": "two", "vectors": "small", **PRICED}
DEEP = {"id": "deep", "vectors": "large", **PRICED}
CHAT = {"id": "chat"}
UNRECORDED = ("id", "timestamp", "draw", "latency_ms", "overhead_ms")


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    """A provider whose models all embed; a model's vectors are its own."""
    fake = FakeProvider({"models": SCRIPT})
    with fake:
        yield fake


@pytest.fixture
def open_one(tmp_path: Path, provider: FakeProvider) -> Iterator[Open]:
    """Opens a router over `models`; beside it the list of its records."""
    opened: list[Router] = []

    def open_router(*models: dict[str, Any], **settings: Any) -> tuple[Router, list[Record]]:
        catalog = {
            "providers": {
                "fake": {"kind": "openai", "base_url": provider.base_url},
                "azure": {"kind": "azure", "base_url": "http://127.0.0.1:9", "api_version": "2024-10-21"},
            },
            "models": [{"provider": "fake", **model} for model in models],
            "tasks": ["chat", "search"],
        }
        (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(catalog))
        router = Router.open(home=tmp_path, seed=1, max_retries=0, **settings)
        recorder = Recorder()
        router.observe(recorder)
        opened.append(router)
        return router, recorder.records

    yield open_router
    for router in opened:
        router.close()


def embed(router: Router, **members: Any) -> str:
    """The model that embeds."""
    return router.embed_sync(EmbeddingRequest(input="a text", **members)).model


def test_the_openai_package_embeds(open_one: Open) -> None:
    """Its default asks for base64 and gives floats; floats asked for are the same vectors."""
    router, records = open_one(ONE, CHAT)
    with serving(router) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="unused") as client:
        packed = client.embeddings.create(model="small", input=["a", "b"])
        plain = client.embeddings.create(model="small", input=["a", "b"], encoding_format="float")
        assert [row.embedding for row in packed.data] == [row.embedding for row in plain.data]
        assert [len(row.embedding) for row in packed.data] == [4, 4]
        assert packed.usage.prompt_tokens == 12
        shorter = client.embeddings.create(model="small", input="a", dimensions=2)
        assert shorter.data[0].embedding == packed.data[0].embedding[:2]
        tokens = client.embeddings.create(model="small", input=[[1, 2], [3]])
        assert len(tokens.data) == 2
        one = client.embeddings.create(model="small", input=[1, 2])
        assert one.data[0].embedding == tokens.data[0].embedding
    for record in records:
        assert isinstance(record, RequestRecord)
        assert (record.operation, record.task_type, record.task_type_source) == (
            "embeddings",
            "embedding",
            "rule",
        )
        assert (record.tokens_input, record.tokens_output) == (12, 0)
        assert record.cost_usd == Decimal("0.00000024")
        assert (record.model_requested, record.model_selected, record.success) == ("small", "one", True)


def test_the_async_client_and_the_headers(open_one: Open) -> None:
    """`with_raw_response` shows what was decided, as of a chat completion."""
    router, records = open_one(ONE)

    async def ask(url: str) -> Any:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused") as client:
            return await client.embeddings.with_raw_response.create(model="auto", input="a", user="u1")

    with serving(router) as url:
        raw = asyncio.run(ask(url))
    record = only_request(records)
    assert (raw.headers["x-request-id"], raw.headers["x-intellirouter-model"]) == (record.id, "one")
    assert raw.headers["x-intellirouter-cost-usd"] == "0.000000240000"
    assert record.user_id == "u1"


def test_the_provider_is_asked_what_the_client_asked(open_one: Open, provider: FakeProvider) -> None:
    """Every member but `model` and `provider`, known or not; the answer comes back byte for byte."""
    router, _ = open_one({**ONE, "id": "mine", "provider_model": "one"})
    body = {"model": "mine", "input": ["a"], "encoding_format": "base64", "new_member": {"x": 1}}
    with serving(router) as url:
        ours = httpx.post(f"{url}/v1/embeddings", json={**body, "provider": {"sort": "price"}})
    assert provider.seen()["last"]["body"] == {**body, "model": "one"}
    assert (
        ours.content == httpx.post(f"{provider.base_url}/embeddings", json={**body, "model": "one"}).content
    )


def test_vectors_are_never_those_of_another_model(open_one: Open) -> None:
    """A failing model is replaced by one that is declared to give the same vectors, and by no other."""
    router, records = open_one(ONE, {**TWO, "id": "down"}, DEEP, CHAT)
    asked = Preferences(order=("down",))
    assert {embed(router, model="small", preferences=asked) for _ in range(4)} == {"one"}
    record = records[0]
    assert isinstance(record, RequestRecord)
    assert [attempt.model for attempt in record.attempts] == ["down", "one"]
    reasons = {item.model: item.exclusion for item in record.candidates}
    assert reasons["deep"] == "its vectors are `large`, which do not mix with `small`"
    assert reasons["chat"] == "it does not embed: catalog.yaml states no `vectors` of it"
    with pytest.raises(ProviderError):  # the name of a model means that model alone
        embed(router, model="down")
    assert embed(router, model="large") == "deep"
    with pytest.raises(NoEligibleModelError, match="the request's `ignore` lists it"):
        embed(router, model="large", preferences=Preferences(ignore=frozenset({"deep"})))


def test_auto_means_the_vectors_of_the_catalog(open_one: Open) -> None:
    """Where all that embeds gives the same; where it does not, no chance decides."""
    router, _ = open_one(ONE, TWO, CHAT)
    assert {embed(router) for _ in range(5)} <= {"one", "two"}
    router, _ = open_one(ONE, DEEP)
    with pytest.raises(RequestError, match="the vectors `large`, `small`, which do not mix"):
        embed(router)
    router, records = open_one(CHAT)
    with pytest.raises(NoEligibleModelError, match="it does not embed"):
        embed(router)
    assert only_request(records).operation == "embeddings"


def test_a_name_may_be_a_models_and_its_vectors(open_one: Open) -> None:
    """Then it means the vectors: a deployment of another name stands in, unless `only` says otherwise."""
    router, _ = open_one({**ONE, "id": "down", "vectors": "down"}, {**TWO, "vectors": "down"})
    prefer = Preferences(order=("down",))
    assert embed(router, model="down", preferences=prefer) == "two"
    with pytest.raises(ProviderError):
        embed(router, model="down", preferences=Preferences(only=frozenset({"down"})))


def test_models_that_embed_answer_no_chat(open_one: Open) -> None:
    """They are excluded from chat completions by name and by `auto`; chat's names do not embed."""
    router, records = open_one(ONE, CHAT)
    messages = [{"role": "user", "content": "hello"}]
    assert router.complete_sync(Request(messages=messages)).model == "chat"
    record = only_request(records)
    assert [item.exclusion for item in record.candidates if item.model == "one"] == [
        "it embeds, and does nothing else"
    ]
    with pytest.raises(NoEligibleModelError, match="it embeds, and does nothing else"):
        router.complete_sync(Request(messages=messages, model="one"))
    with pytest.raises(NoEligibleModelError, match="it does not embed"):
        embed(router, model="chat")
    with pytest.raises(UnknownModelError, match="`one`"):
        embed(router, model="ome")


def test_embeddings_are_no_completion(open_one: Open) -> None:
    """Asked for the wrong way they are refused before anything is called."""
    router, records = open_one(ONE)
    request = EmbeddingRequest(input="a")
    with pytest.raises(RequestError, match="do not take embeddings"):
        router.complete_sync(request)
    with (
        pytest.raises(RequestError, match="do not take embeddings"),
        router.stream_sync(request),
    ):
        pass
    assert records == []


def test_vectors_leave_a_session_where_it_is(open_one: Open) -> None:
    """A conversation that embeds on the way goes on with the model that answered it."""
    router, records = open_one(ONE, CHAT)
    ask = Request(messages=[{"role": "user", "content": "hello"}], session_id="s1")
    router.complete_sync(ask)
    embed(router, session_id="s1")
    router.complete_sync(ask)
    last = records[-1]
    assert isinstance(last, RequestRecord)
    assert (last.strategy, last.model_selected) == ("sticky", "chat")


@pytest.mark.parametrize(
    "given", ["", [], [""], ["a", 1], [1, "a"], [[1], "a"], [[]], [1.5], [True], [-1], None, 3, {}, [["a"]]]
)
def test_an_input_of_another_kind_is_refused(given: Any) -> None:
    """Before anything is called; the value is not repeated."""
    with pytest.raises(RequestError, match="`input` must be a text, a list of texts") as caught:
        EmbeddingRequest(input=given)
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "`input` is missing"),
        (b'{"input": "a", "model": 3}', "`model` must be a text"),
        (b"[", "not valid"),
    ],
)
def test_a_malformed_body_is_refused_in_openais_shape(open_one: Open, content: bytes, message: str) -> None:
    """400, and the shim goes on serving."""
    router, records = open_one(ONE)
    with serving(router) as url:
        response = httpx.post(f"{url}/v1/embeddings", content=content)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert message in response.json()["error"]["message"]
    assert records == []


@pytest.mark.parametrize("model", ["one", "small", "auto", "down", "hollow", "uncounted"])
def test_the_record_from_http_is_the_record_from_the_callable(open_one: Open, model: str) -> None:
    """Field by field, but for identity, time and chance; the audit trail keeps no text, token or vector."""
    vectors = {"one": "small", "small": "small", "auto": "small"}.get(model, model)
    entries = [{**ONE, "id": "one" if vectors == "small" else model, "vectors": f"{vectors}"}]
    router, records = open_one(*entries)
    recorder = Recorder()
    router.observe(recorder)
    parameters = {"dimensions": 3, "user": "u1"}
    with serving(router) as url:
        body = {"model": model, "input": [[31337, 2]], **parameters}
        headers = {"x-intellirouter-task": "search", "x-session-id": "s1"}
        httpx.post(f"{url}/v1/embeddings", json=body, headers=headers)
        request = EmbeddingRequest(
            input=[[31337, 2]],
            model=model,
            parameters=parameters,
            user_id="u1",
            task_type="search",
            session_id="s1",
        )
        if model in ("down", "hollow"):
            with pytest.raises(ProviderError):
                router.embed_sync(request)
        else:
            assert [len(vector) for vector in router.embed_sync(request).vectors] == [3]
    over_http, called = (asdict(record) for record in records)
    for record in (over_http, called):
        for name in UNRECORDED:
            del record[name]
        for attempt in record["attempts"]:
            del attempt["latency_ms"]
    assert called == over_http
    assert over_http["error_type"] == {"down": "overloaded", "hollow": "bad_response"}.get(model)
    assert (over_http["cost_usd"] is None) == (model in ("down", "hollow", "uncounted"))
    logs = recorder.logs
    assert logs[0].request_data == logs[1].request_data
    assert orjson.loads(logs[0].request_data or "")["input"] == ["[redacted: 2 numbers]"]
    if logs[0].response_data is not None:
        (row,) = orjson.loads(logs[0].response_data)["data"]
        assert row["embedding"] == "[redacted: 3 numbers]"


def test_base64_vectors_are_the_same(open_one: Open) -> None:
    """`Response.vectors` reads both formats."""
    router, _ = open_one(ONE)
    plain, packed = (
        router.embed_sync(EmbeddingRequest(input=["a", "b"], parameters={"encoding_format": form})).vectors
        for form in ("float", "base64")
    )
    assert plain == packed


def test_a_budget_holds_for_vectors(open_one: Open, tmp_path: Path) -> None:
    """Bytes bound the tokens, and there is no output: what fits is served, what may not is refused."""
    (tmp_path / "limits.yaml").write_text(
        'budgets: [{id: each, scope: user, subject: "*", usd: 0.0001, period: day, mode: hard}]'
    )
    router, _ = open_one(ONE)
    assert embed(router, user_id="u1") == "one"
    with pytest.raises(BudgetExceededError):
        router.embed_sync(EmbeddingRequest(input="x" * 10_000, user_id="u1"))


def test_each_input_has_the_window_to_itself(open_one: Open) -> None:
    """Many short inputs fit where one that long would not."""
    router, _ = open_one({**ONE, "context_window": 100})
    assert router.embed_sync(EmbeddingRequest(input=["word " * 20] * 50)).model == "one"
    with pytest.raises(NoEligibleModelError, match="exceeds its context window"):
        router.embed_sync(EmbeddingRequest(input="word " * 200))


def test_a_key_may_name_vectors_and_gets_its_own_models(open_one: Open, tmp_path: Path) -> None:
    """The name of vectors is nobody's to refuse; of the models that give them the key's alone serve."""
    _, token = create(tmp_path / "keys.json", name="test", scopes=("route",), models=("two",))
    router, records = open_one(ONE, TWO, CHAT)
    with serving(router) as url, openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0) as client:
        for _ in range(4):
            assert client.embeddings.create(model="small", input="a").model == "two"
        with pytest.raises(openai.PermissionDeniedError, match="may not use model `one`"):
            client.embeddings.create(model="one", input="a")
    record = records[0]
    assert isinstance(record, RequestRecord)
    assert {item.model: item.exclusion for item in record.candidates}["one"] == (
        "the caller's key does not allow it"
    )


def test_azures_deployments_have_their_own_addresses(tmp_path: Path) -> None:
    """Embeddings by deployment, responses by the resource; the version in both."""
    provider = AzureProvider(
        "azure",
        base_url="https://name.openai.azure.com/",
        api_version="2024-10-21",
        keys=ProviderKeyRing(),
        max_connections=1,
        max_response_bytes=1,
    )
    model = Model(id="small", provider="azure", provider_model="my deployment")
    assert provider._embeddings_address(model) == (
        "https://name.openai.azure.com/openai/deployments/my%20deployment/embeddings?api-version=2024-10-21"
    )
    assert provider._responses_address() == (
        "https://name.openai.azure.com/openai/responses?api-version=2024-10-21"
    )
