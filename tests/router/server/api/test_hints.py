"""Hints are left out and named, wishes are refused by name, and turns fit their reader."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import openai
import orjson
import pytest
import yaml

from router import Router
from tests.router.providers.spelled import (
    DONE,
    USAGE,
    SpellingServer,
    call,
    chunk,
    spelling_server,
    spoken,
    whole,
)
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

CLAUDE, OLD_CLAUDE, NEW_CLAUDE = "claude-sonnet-4-6", "claude-haiku-4-5", "claude-opus-4-8"
LONG = "mcp__plugin_yt-content-strategist_youtube-analytics__get_video_enhanced_transcript"
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
PNG = "iVBORw0KGgo="
IGNORED = "x-intellirouter-ignored"
USER: Any = {"role": "user", "content": "hi"}


def calling(body: dict[str, Any]) -> Any:
    """Call the first tool by the name that the server was given."""
    name = body["tools"][0]["function"]["name"]
    if len(name) > 64:
        return 400, {"error": {"message": "string too long", "code": "string_above_max_length"}}
    made = {**call("", "call_1"), "function": {"name": name, "arguments": "{}"}}
    if not body.get("stream"):
        return whole({"content": None, "tool_calls": [made]}, "tool_calls")
    return [chunk({"tool_calls": [{"index": 0, **made}]}), chunk({}, "tool_calls", usage=USAGE), DONE]


def uncounted(body: dict[str, Any]) -> Any:
    """An answer without usage."""
    made = spoken(body, "Hello there")
    if isinstance(made, list):
        return [item if isinstance(item, bytes) else {**item, "usage": None} for item in made]
    return {name: value for name, value in made.items() if name != "usage"}


class Before:
    """A shim before the servers."""

    def __init__(self, url: str, server: SpellingServer) -> None:
        self.url = url
        self.server = server

    def chat(self, model: str, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
        """Ask by chat completions."""
        body = {"model": model, "messages": [USER], **members}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers)

    def messages(self, model: str, **members: Any) -> httpx.Response:
        """Ask by Anthropic's messages."""
        body = {"model": model, "max_tokens": 9, "messages": [USER], **members}
        return httpx.post(f"{self.url}/v1/messages", json=body)

    def responses(self, model: str, **members: Any) -> httpx.Response:
        """Ask by the responses API."""
        return httpx.post(f"{self.url}/v1/responses", json={"model": model, "input": "hi", **members})

    @property
    def sent(self) -> dict[str, Any]:
        """The last body that a server got."""
        return self.server.bodies[-1]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    """The shim of all tests here."""
    home = tmp_path_factory.mktemp("home")
    said = partial(spoken, text="Hello")
    names = ("gpt-x", "deepseek-chat", "mistral-large", "plain", "arm-high", "arm-low")
    answers: dict[str, Any] = {**dict.fromkeys(names, said), "calling": calling, "uncounted": uncounted}
    with spelling_server(answers) as server:
        catalog = {
            "providers": {
                "up": {"kind": "openai", "base_url": server.base_url},
                "ant": {"kind": "anthropic", "base_url": server.base_url},
            },
            "models": [
                *({"id": name, "provider": "up"} for name in answers if not name.startswith("arm")),
                {
                    "id": "arm-high",
                    "provider": "up",
                    "parameters": {
                        "forced": {"reasoning_effort": "high", "provider": {"only": ["a"]}, "max_tokens": 7}
                    },
                    "headers": {"X-Title": "arms"},
                },
                {
                    "id": "arm-low",
                    "provider": "up",
                    "parameters": {"default": {"temperature": 0.3, "max_tokens": 5}},
                },
                *({"id": name, "provider": "ant"} for name in (CLAUDE, OLD_CLAUDE, NEW_CLAUDE)),
                {"id": "lenient", "provider": "ant", "provider_model": CLAUDE, "drop_params": True},
                {
                    "id": "arm-claude",
                    "provider": "ant",
                    "provider_model": CLAUDE,
                    "parameters": {"forced": {"reasoning_effort": "low"}},
                    "headers": {"anthropic-beta": "b-1"},
                },
            ],
        }
        (home / "catalog.yaml").write_text(yaml.safe_dump(catalog))
        (home / "policies.yaml").write_text("policies: [{id: lenient, drop_params: true}]")
        router = Router.open(
            home=home,
            seed=1,
            task_sample_share=0,
            max_retries=0,
            health_max_ejected_share=0,
            cors_origins="https://chat.example.com",
        )
        with serving(router) as url:
            yield Before(url, server)


TURN = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"prompt_cache_key": "k"}, "prompt_cache_key"),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
        ({"metadata": {"team": "x"}}, "metadata"),
        ({"store": True}, "store"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"messages": [{**USER, "name": "ann"}]}, "name"),
        ({"messages": [{"role": "system", "content": "s", "name": "ann"}, USER]}, "name"),
        ({"messages": [USER, {**TURN, "annotations": [{"type": "url_citation"}]}, USER]}, "annotations"),
        (
            {"messages": [USER, {**TURN, "provider_specific_fields": {"x": 1}}, USER]},
            "provider_specific_fields",
        ),
        ({"messages": [USER, {**TURN, "citations": ["https://x"]}, USER]}, "citations"),
        ({"messages": [USER, {**TURN, "search_results": [{"url": "https://x"}]}, USER]}, "search_results"),
        ({"messages": [USER, {**TURN, "prefix": True}]}, "prefix"),
        ({"messages": [USER, {**TURN, "reasoning_details": [{"type": "x"}]}, USER]}, "reasoning_details"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {**SCHEMA, "title": "Answer"}},
                }
            },
            "response_format.json_schema.name",
        ),
    ],
)
def test_a_claude_is_asked_without_hints(
    before: Before, members: dict[str, Any], named: str, is_streamed: bool
) -> None:
    """What changes nothing in the answer is left out and named, whole and streamed."""
    answer = before.chat(CLAUDE, **members, stream=is_streamed)
    assert (answer.status_code, answer.headers.get(IGNORED)) == (200, named)


@pytest.mark.parametrize(
    "members", [{"annotations": []}, {"audio": None, "function_call": None, "refusal": None}]
)
def test_an_echoed_answer_without_content_is_not_named(before: Before, members: dict[str, Any]) -> None:
    """Nulls and empty lists of `model_dump()` are nothing to name."""
    answer = before.chat(CLAUDE, messages=[USER, {**TURN, **members}, USER])
    assert (answer.status_code, answer.headers.get(IGNORED)) == (200, None)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER, {**TURN, "content": ""}, USER], [USER, USER]),
        ([USER, {**TURN, "content": " \n"}, USER], [USER, USER]),
        ([USER, {**TURN, "content": "b \n"}], [USER, {**TURN, "content": "b"}]),
        (
            [{"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "hi"}]}],
            [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        ),
    ],
)
def test_a_claude_gets_no_blank_texts(before: Before, messages: list[Any], expected: list[Any]) -> None:
    """Anthropic refuses blank texts and blanks at the end of an answer that it continues."""
    assert before.chat(CLAUDE, messages=messages).status_code == 200
    assert before.sent["messages"] == expected


WISHES: list[tuple[str, Any]] = [
    ("seed", 1),
    ("verbosity", "low"),
    ("service_tier", "flex"),
    ("logit_bias", {"1": 1}),
    ("n", 2),
    ("presence_penalty", 0.5),
    ("frequency_penalty", 0.5),
    ("logprobs", True),
    ("temperature", 1.5),
    ("reasoning_effort", "enormous"),
    ("web_search_options", {}),
]


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("name", "value"), WISHES)
def test_a_wish_is_refused_or_dropped(before: Before, name: str, value: Any, is_streamed: bool) -> None:
    """By name, with 400 and without advice to ask again; `drop_params` of catalog or policy leaves it out."""
    asked: dict[str, Any] = {name: value, "stream": is_streamed}
    refused = before.chat(CLAUDE, **asked)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)
    assert "retry-after" not in refused.headers
    for answer in (
        before.chat("lenient", **asked),
        before.chat(CLAUDE, {"x-intellirouter-policy": "lenient"}, **asked),
    ):
        assert (answer.status_code, answer.headers[IGNORED]) == (200, name)
        assert name not in before.sent


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("members", "named"),
    [
        (
            {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
            "context_management",
        ),
        ({"tools": [{"name": "t", "input_schema": SCHEMA, "input_examples": [{}]}]}, "input_examples"),
        ({"tools": [{"name": "t", "input_schema": SCHEMA, "defer_loading": True}]}, "defer_loading"),
        (
            {"tools": [{"name": "t", "input_schema": SCHEMA, "eager_input_streaming": True}]},
            "eager_input_streaming",
        ),
        (
            {"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
            "cache_control",
        ),
        ({"metadata": {"user_id": "u", "team": "x"}}, "metadata"),
        ({"speed": "fast"}, "speed"),
        ({"mcp_servers": [], "fallbacks": []}, None),
    ],
)
def test_another_maker_is_asked_without_anthropics_hints(
    before: Before, members: dict[str, Any], named: str | None, is_streamed: bool
) -> None:
    """Agents send these of their own accord; streams name them too."""
    answer = before.messages("gpt-x", **members, stream=is_streamed)
    assert (answer.status_code, answer.headers.get(IGNORED)) == (200, named)


def test_what_changes_anthropics_answer_is_refused_or_dropped(before: Before) -> None:
    """`top_k` is a wish, and a tool runner's `thread` says how to do without."""
    assert before.messages("gpt-x", top_k=5).status_code == 400
    assert "thread=False" in before.messages("gpt-x", thread={"type": "create"}).json()["error"]["message"]


@pytest.mark.parametrize("shape", ["chat", "messages"])
@pytest.mark.parametrize("value", [0, 1])
def test_a_new_claude_is_asked_without_sampling(before: Before, shape: str, value: int) -> None:
    """Models from 4.7 on refuse `temperature`, even the default; older ones get it."""
    answer = getattr(before, shape)(NEW_CLAUDE, temperature=value)
    assert (answer.status_code, answer.headers[IGNORED]) == (200, "temperature")
    assert "temperature" not in before.sent
    getattr(before, shape)(OLD_CLAUDE, temperature=value)
    assert before.sent["temperature"] == value


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_late_system_message_is_where_the_claude_reads_it(before: Before, role: str) -> None:
    """Claude takes a system turn from 4.8 on, and older ones read it in `system`."""
    turns = [USER, TURN, {"role": role, "content": "s"}, USER]
    before.chat(OLD_CLAUDE, messages=turns)
    assert before.sent["system"] == [{"type": "text", "text": "s"}]
    assert [turn["role"] for turn in before.sent["messages"]] == ["user", "assistant", "user"]
    before.chat(NEW_CLAUDE, messages=turns)
    assert [turn["role"] for turn in before.sent["messages"]] == ["user", "assistant", "system", "user"]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("data:image/jpg;base64,/9j/4AAQ", "image/jpeg"),
        ("data:image/pjpeg;base64,AAAA", "image/jpeg"),
        ("data:IMAGE/PNG;base64,AAAA", "image/png"),
        ("data:image/png;charset=utf-8;base64,AAAA", "image/png"),
        (f"data:image/jpeg;base64,{PNG}", "image/png"),
        (f"data:;base64,{PNG}", "image/png"),
        (f"data:application/octet-stream;base64,{PNG}", "image/png"),
    ],
)
def test_an_image_has_the_type_that_it_is(before: Before, url: str, kind: str) -> None:
    """Anthropic takes four types, by their right names."""
    part = {"type": "image_url", "image_url": {"url": url}}
    assert before.chat(CLAUDE, messages=[{"role": "user", "content": [part]}]).status_code == 200
    assert before.sent["messages"][0]["content"][0]["source"]["media_type"] == kind


@pytest.mark.parametrize("url", ["data:image/svg+xml,<svg/>", "data:image/bmp;base64,AAAA"])
def test_an_image_of_another_type_is_refused_by_name(before: Before, url: str) -> None:
    """A `bmp` and a data URL without base64 are no images for Anthropic."""
    part = {"type": "image_url", "image_url": {"url": url}}
    answer = before.chat(CLAUDE, messages=[{"role": "user", "content": [part]}])
    assert (answer.status_code, answer.json()["error"]["param"]) == (
        400,
        "messages.0.content.0.image_url.url",
    )


@pytest.mark.parametrize(
    "parameters", [None, {}, {"properties": {"a": {"type": "string"}}}, {"type": ["object", "null"]}]
)
def test_a_tools_schema_is_of_an_object(before: Before, parameters: Any) -> None:
    """Whatever a client leaves out."""
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    assert before.chat(CLAUDE, tools=[tool]).status_code == 200
    assert before.sent["tools"][0]["input_schema"]["type"] == "object"
    assert (
        before.messages("gpt-x", tools=[{"name": "f", "input_schema": {"type": "object"}}]).status_code == 200
    )
    assert before.sent["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
@pytest.mark.parametrize(
    ("model", "pattern"),
    [(CLAUDE, r"[a-zA-Z0-9_-]+"), ("mistral-large", r"[a-zA-Z0-9]{9}"), ("gpt-x", r".{1,40}")],
)
@pytest.mark.parametrize("given", ["functions.get_weather:0", "call_" + 60 * "x", "toolu_01"])
def test_ids_of_other_makers_fit_and_stay_pairs(
    before: Before, shape: str, model: str, pattern: str, given: str
) -> None:
    """Calls and results travel from one provider to another with the ids that the second takes."""
    import re

    function = {"name": "f", "arguments": "{}"}
    if shape == "chat":
        made = {"id": given, "type": "function", "function": function}
        turns = [USER, {"role": "assistant", "content": None, "tool_calls": [made]}]
        answer = before.chat(
            model, messages=[*turns, {"role": "tool", "tool_call_id": given, "content": "x"}]
        )
    elif shape == "messages":
        block = {"type": "tool_use", "id": given, "name": "f", "input": {}}
        result = {"type": "tool_result", "tool_use_id": given, "content": "x"}
        turns = [USER, {"role": "assistant", "content": [block]}, {"role": "user", "content": [result]}]
        answer = before.messages(model, messages=turns)
    else:
        items = [
            {"type": "function_call", "call_id": given, **function},
            {"type": "function_call_output", "call_id": given, "output": "x"},
        ]
        answer = before.responses(model, input=[USER, *items])
    if model == CLAUDE:
        turns = before.sent["messages"]
        ids = [turns[-2]["content"][0]["id"], turns[-1]["content"][0]["tool_use_id"]]
    else:
        assert answer.status_code == 200
        ids = [
            before.sent["messages"][-2]["tool_calls"][0]["id"],
            before.sent["messages"][-1]["tool_call_id"],
        ]
    assert ids[0] == ids[1]
    assert re.fullmatch(pattern, ids[0])


@pytest.mark.parametrize(
    ("model", "role"), [("deepseek-chat", "system"), ("plain", "system"), ("gpt-x", "developer")]
)
def test_only_openais_models_get_the_role_developer(before: Before, model: str, role: str) -> None:
    """Other servers know `system`, which means the same."""
    before.chat(model, messages=[{"role": "developer", "content": "d"}, USER])
    assert before.sent["messages"][0] == {"role": role, "content": "d"}


def test_a_beta_of_an_openai_client_reaches_anthropic(before: Before) -> None:
    """By header, as from Anthropic's own client; another maker's model is asked without it, by name."""
    before.chat(CLAUDE, {"anthropic-beta": "context-1m-2025-08-07"})
    assert before.server.headers[-1]["anthropic-beta"] == "context-1m-2025-08-07"
    assert before.chat("gpt-x", {"anthropic-beta": "b"}).headers[IGNORED] == "betas"
    assert before.sent == {"model": "gpt-x", "messages": [USER]}


@pytest.mark.parametrize("shape", ["messages", "responses"])
def test_an_image_in_a_tools_result_is_shown_by_the_user(before: Before, shape: str) -> None:
    """Chat takes texts as results, so that the image follows in the user's message."""
    if shape == "messages":
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        content: list[Any] = [{"type": "text", "text": "seen"}, {"type": "image", "source": source}]
        result = {"type": "tool_result", "tool_use_id": "a", "content": content}
        block = {"type": "tool_use", "id": "a", "name": "Read", "input": {}}
        turns = [USER, {"role": "assistant", "content": [block]}, {"role": "user", "content": [result]}]
        answer = before.messages("gpt-x", messages=turns)
    else:
        output = [
            {"type": "input_text", "text": "seen"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        ]
        items = [
            {"type": "function_call", "call_id": "a", "name": "Read", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": output},
        ]
        answer = before.responses("gpt-x", input=[USER, *items])
    assert answer.status_code == 200
    result, shown = before.sent["messages"][-2:]
    assert [part["type"] for part in result["content"]] == ["text", "text"]
    assert shown == {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}],
    }


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", [LONG, "mcp.read", "x" * 65])
def test_a_long_name_comes_back_as_the_client_wrote_it(before: Before, name: str, is_streamed: bool) -> None:
    """The provider gets a name that it takes, under every API."""
    with anthropic.Anthropic(base_url=before.url, api_key="k", max_retries=0) as client:
        asked: dict[str, Any] = {"model": "calling", "max_tokens": 9, "messages": [USER]}
        asked["tools"] = [{"name": name, "input_schema": SCHEMA}]
        if is_streamed:
            with client.messages.stream(**asked) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(**asked)
    assert [block.name for block in message.content if block.type == "tool_use"] == [name]
    with openai.OpenAI(base_url=f"{before.url}/v1", api_key="k", max_retries=0) as other:
        tools: Any = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}}]
        if is_streamed:
            with other.chat.completions.stream(model="calling", messages=[USER], tools=tools) as chunks:
                said: Any = chunks.get_final_completion().choices[0].message
        else:
            said = (
                other.chat.completions.create(model="calling", messages=[USER], tools=tools)
                .choices[0]
                .message
            )
    assert [call.function.name for call in said.tool_calls or () if call.type == "function"] == [name]


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_anthropics_clients_always_get_numbers(before: Before, is_streamed: bool) -> None:
    """A provider that does not count is estimated, and a stream begins with what `count_tokens` says."""
    asked: dict[str, Any] = {"model": "uncounted", "messages": [{"role": "user", "content": 400 * "x"}]}
    counted = httpx.post(f"{before.url}/v1/messages/count_tokens", json=asked).json()["input_tokens"]
    with anthropic.Anthropic(base_url=before.url, api_key="k", max_retries=0) as client:
        if is_streamed:
            with client.messages.stream(max_tokens=9, **asked) as stream:
                usage = stream.get_final_message().usage
        else:
            usage = client.messages.create(max_tokens=9, **asked).usage
    assert (usage.input_tokens, usage.output_tokens) == (counted, 3)
    assert counted == 100


def test_arms_have_parameters_and_headers_of_their_own(before: Before) -> None:
    """Forced ones replace those of the request, and default ones give way; in every API's words."""
    before.chat("arm-high", reasoning_effort="low", max_completion_tokens=99)
    expected = {"reasoning_effort": "high", "provider": {"only": ["a"]}, "max_tokens": 7}
    assert before.sent == {"model": "arm-high", "messages": [USER], **expected}
    assert before.server.headers[-1]["x-title"] == "arms"
    before.chat("arm-low")
    assert before.sent == {"model": "arm-low", "messages": [USER], "temperature": 0.3, "max_tokens": 5}
    before.chat("arm-low", temperature=0.9, max_completion_tokens=9)
    assert before.sent == {
        "model": "arm-low",
        "messages": [USER],
        "temperature": 0.9,
        "max_completion_tokens": 9,
    }
    before.messages("arm-claude", thinking={"type": "enabled", "budget_tokens": 9000})
    assert before.sent["output_config"] == {"effort": "low"}
    assert before.server.headers[-1]["anthropic-beta"] == "b-1"


def test_models_are_listed_in_the_shape_of_the_client(before: Before) -> None:
    """Both makers' clients list and retrieve models, by ids with slashes and by aliases too."""
    with anthropic.Anthropic(base_url=before.url, api_key="k", max_retries=0) as client:
        listed = list(client.models.list())
        assert (listed[0].id, listed[0].type, bool(listed[0].display_name)) == ("auto", "model", True)
        assert client.models.retrieve(CLAUDE).display_name == CLAUDE
    with openai.OpenAI(base_url=f"{before.url}/v1", api_key="k", max_retries=0) as other:
        assert [model.id for model in other.models.list()] == [model.id for model in listed]
        assert other.models.retrieve("gpt-x").owned_by == "up"
        with pytest.raises(openai.NotFoundError, match="unknown model"):
            other.models.retrieve("gpt-y")


@pytest.mark.parametrize("path", ["/chat/completions", "//v1/chat/completions", "/v1/chat/completions/"])
def test_paths_that_clients_make_of_a_base_url_are_served(before: Before, path: str) -> None:
    """Without `/v1`, with two slashes, or with one at the end."""
    assert httpx.post(before.url + path, json={"model": "gpt-x", "messages": [USER]}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/completions", "/completions"])
def test_the_api_before_chat_names_the_way(before: Before, path: str) -> None:
    """The error says which endpoint to use."""
    answer = httpx.post(before.url + path, json={"model": "gpt-x", "prompt": "hi"})
    assert answer.status_code == 404
    assert "POST /v1/chat/completions" in answer.json()["error"]["message"]


def test_web_pages_of_the_setting_may_read_answers(before: Before) -> None:
    """A browser is told so before and with the answer, errors included; another page is not."""
    origin = {"origin": "https://chat.example.com"}
    asked = {**origin, "access-control-request-headers": "authorization, x-session-id"}
    allowed = httpx.options(f"{before.url}/v1/chat/completions", headers=asked)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == origin["origin"]
    assert allowed.headers["access-control-allow-headers"] == "authorization, x-session-id"
    refused = httpx.post(f"{before.url}/v1/chat/completions", json={}, headers=origin)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (403, origin["origin"])
    other = httpx.options(f"{before.url}/v1/chat/completions", headers={"origin": "https://evil.example"})
    assert (other.status_code, "access-control-allow-origin" in other.headers) == (405, False)


def test_documents_as_texts_are_read_by_every_model(before: Before) -> None:
    """Anthropic's plain documents and search results become texts for the others."""
    document = {
        "type": "document",
        "title": "t",
        "source": {"type": "text", "media_type": "text/plain", "data": "d"},
    }
    found = {"type": "search_result", "title": "s", "source": "u", "content": [{"type": "text", "text": "r"}]}
    before.messages("gpt-x", messages=[{"role": "user", "content": [document, found]}])
    assert [part["text"] for part in before.sent["messages"][0]["content"]] == ["t\n\nd", "s\n\nu\n\nr"]


def test_a_request_of_openais_own_is_untouched(before: Before) -> None:
    """What no rule concerns reaches a provider of the client's own API byte for byte."""
    body: dict[str, Any] = {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [call("Rome", "call_1")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "x", "name": "f"},
        ],
        "tools": [FUNCTION],
        "member_of_tomorrow": {"a": [1]},
        "metadata": {"a": "b"},
        "store": True,
    }
    assert IGNORED not in before.chat("gpt-x", **body).headers
    assert orjson.dumps(before.sent, option=orjson.OPT_SORT_KEYS) == orjson.dumps(
        {**body, "model": "gpt-x"}, option=orjson.OPT_SORT_KEYS
    )
