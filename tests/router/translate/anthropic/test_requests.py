"""Requests of OpenAI's and Anthropic's, each as the other's."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import MessageParam, ToolParam
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

from router.errors import RequestError
from router.translate.anthropic.portable import portable
from router.translate.anthropic.requests_in import chat_request
from router.translate.anthropic.requests_out import messages_request
from router.translate.members import LeftOut

WEATHER_SCHEMA = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
PIXEL = "iVBORw0KGgo="
ANTHROPIC_TURNS = TypeAdapter(list[MessageParam])
ANTHROPIC_TOOLS = TypeAdapter(list[ToolParam])
OPENAI_MESSAGES = TypeAdapter(list[ChatCompletionMessageParam])


def chat(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    """An OpenAI request."""
    return {"messages": list(messages) or [{"role": "user", "content": "hi"}], **members}


def call(call_id: str, arguments: str) -> dict[str, Any]:
    """An OpenAI tool call."""
    return {"id": call_id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


@pytest.mark.smoke
def test_a_conversation_with_parallel_tools() -> None:
    """The example of Anthropic's documentation: all results of one turn are one user message."""
    request = messages_request(
        chat(
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "What's the weather in SF and NYC?"},
            {
                "role": "assistant",
                "content": "I'll check.",
                "tool_calls": [call("toolu_1", '{"location": "SF"}'), call("toolu_2", '{"location": "NYC"}')],
            },
            {"role": "tool", "tool_call_id": "toolu_1", "content": "68 F"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": "45 F"},
            {"role": "user", "content": "And tomorrow?"},
            model="claude-opus-4-5",
            max_completion_tokens=1024,
            tools=[
                {
                    "type": "function",
                    "function": {"name": "get_weather", "description": "Now", "parameters": WEATHER_SCHEMA},
                }
            ],
            tool_choice="required",
            parallel_tool_calls=False,
        )
    )
    assert request == {
        "model": "claude-opus-4-5",
        "max_tokens": 1024,
        "system": "Be short.",
        "messages": [
            {"role": "user", "content": "What's the weather in SF and NYC?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I'll check."},
                    {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"location": "SF"}},
                    {
                        "type": "tool_use",
                        "id": "toolu_2",
                        "name": "get_weather",
                        "input": {"location": "NYC"},
                    },
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "68 F"},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": "45 F"},
                    {"type": "text", "text": "And tomorrow?"},
                ],
            },
        ],
        "tools": [{"name": "get_weather", "description": "Now", "input_schema": WEATHER_SCHEMA}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }
    ANTHROPIC_TURNS.validate_python(request["messages"])
    ANTHROPIC_TOOLS.validate_python(request["tools"])


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["A", "B"]}, {"stop_sequences": ["A", "B"]}),
        ({"user": "u1"}, {"metadata": {"user_id": "u1"}}),
        ({"user": "u1", "safety_identifier": "u1"}, {"metadata": {"user_id": "u1"}}),
        ({"temperature": 1, "top_p": 0.5}, {"temperature": 1, "top_p": 0.5}),
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        (
            {"reasoning_effort": "minimal"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        ),
        (
            {
                "reasoning_effort": "high",
                "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            },
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        ({"thinking": {"type": "adaptive"}, "top_k": 5}, {"thinking": {"type": "adaptive"}, "top_k": 5}),
        ({"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral"}}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": WEATHER_SCHEMA},
                }
            },
            {
                "output_config": {
                    "format": {"type": "json_schema", "schema": {**WEATHER_SCHEMA, "title": "a"}}
                }
            },
        ),
        ({"n": 1, "logprobs": False, "presence_penalty": 0.0, "logit_bias": {}, "seed": None}, {}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
        ({"response_format": {"type": "text"}}, {}),
    ],
)
def test_options(member: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each member has its counterpart; one that asks for nothing has none."""
    request = messages_request(chat(**member), default_max_tokens=4096)
    assert request == {"max_tokens": 4096, "messages": [{"role": "user", "content": "hi"}], **expected}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    """A user's message of parts."""
    return {"role": "user", "content": list(parts)}


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (chat(seed=1), "seed"),
        (chat(n=2), "n"),
        (chat(logprobs=True), "logprobs"),
        (chat(frequency_penalty=0.5), "frequency_penalty"),
        (chat(logit_bias={"1": 5}), "logit_bias"),
        (chat(temperature=1.01), "temperature"),
        (chat(temperature="hot"), "temperature"),
        (chat(user="a", safety_identifier="b"), "safety_identifier"),
        (chat(service_tier="flex"), "service_tier"),
        (chat(reasoning_effort="extreme"), "reasoning_effort"),
        (chat(verbosity="low"), "verbosity"),
        (chat(functions=[{"name": "f"}]), "functions"),
        (chat(tool_choice={"type": "allowed_tools"}), "tool_choice"),
        (chat(tools=[{"type": "custom", "custom": {"name": "x"}}]), "tools.0.type"),
        (chat(tools=[{"type": "function"}]), "tools.0.function"),
        (chat(tools="x"), "tools"),
        (chat(response_format={"type": "grammar"}), "response_format.type"),
        (chat(response_format={"type": "json_object"}, reasoning_effort="low"), "response_format"),
        (
            chat(response_format={"type": "json_schema", "json_schema": {}}),
            "response_format.json_schema.schema",
        ),
        (chat(user({"type": "input_audio", "input_audio": {}})), "messages.0.content.0.type"),
        (chat(user({"type": "file", "file": {"file_id": "f"}})), "messages.0.content.0.file.file_id"),
        (
            chat(user({"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}})),
            "messages.0.content.0.image_url.detail",
        ),
        (chat(user({"type": "text"})), "messages.0.content.0.text"),
        (chat({"role": "function", "content": "x", "name": "f"}), "messages.0.role"),
        (chat({"role": "user", "content": None}), "messages.0.content"),
        (
            chat({"role": "assistant", "content": None, "tool_calls": [call("a", "{bad")]}),
            "messages.0.tool_calls.0.function.arguments",
        ),
        (
            chat(
                {
                    "role": "assistant",
                    "content": "new",
                    "anthropic": {"content": [{"type": "text", "text": "old"}]},
                }
            ),
            "messages.0.anthropic",
        ),
        ({"messages": "hi"}, "messages"),
    ],
)
def test_what_anthropic_cannot_be_asked_is_named(body: dict[str, Any], member: str) -> None:
    """Nothing is dropped in silence: the error says which member, and where."""
    with pytest.raises(RequestError) as caught:
        messages_request(body)
    assert caught.value.param == member
    assert f"`{member}`" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"messages": [{"role": "user", "content": "x", "name": "ada"}]}, "messages.0.name"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "x"}], "temperature": 1.5}, "temperature"),
        ({"messages": [{"role": "user", "content": "x"}], "metadata": "me"}, "metadata"),
        ({}, "messages"),
        (
            {
                "messages": [
                    user(
                        {"type": "text", "text": "x"},
                        {"type": "tool_result", "tool_use_id": "a", "content": ""},
                    )
                ]
            },
            "messages.0.content",
        ),
    ],
)
def test_what_is_not_anthropics_is_named(body: dict[str, Any], member: str) -> None:
    """A request that Anthropic would refuse is refused here."""
    with pytest.raises(RequestError) as caught:
        chat_request(body)
    assert caught.value.param == member


# What both can express, in the form in which it comes back.

words = st.text(min_size=1, max_size=12)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
inputs = st.dictionaries(names, st.integers(0, 99) | words, max_size=2)
cached = st.sampled_from([{}, {"cache_control": {"type": "ephemeral"}}])
texts = st.builds(lambda text, extra: {"type": "text", "text": text, **extra}, words, cached)
sources = st.sampled_from(
    [
        {"type": "url", "url": "https://example.com/a.png"},
        {"type": "base64", "media_type": "image/png", "data": PIXEL},
    ]
)
images = st.builds(lambda source, extra: {"type": "image", "source": source, **extra}, sources, cached)
pdfs = st.just(
    {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL},
        "title": "a.pdf",
    }
)
only_anthropics = st.sampled_from(
    [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "search_result", "source": "s", "title": "t", "content": []},
        {
            "type": "document",
            "source": {"type": "url", "url": "https://x/a.pdf"},
            "citations": {"enabled": True},
        },
    ]
)
tool_uses = st.builds(
    lambda call_id, name, given, extra: {
        "type": "tool_use", "id": call_id, "name": name, "input": given, **extra,
    },
    names, names, inputs, cached,
)  # fmt: skip
thoughts = st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "sig"}, words)
server_blocks = st.just(
    {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "q"}}
)
results = st.builds(
    lambda call_id, content, extra: {
        "type": "tool_result", "tool_use_id": call_id, "content": content, **extra,
    },
    names, words | st.lists(texts | images, min_size=1, max_size=2),
    st.sampled_from([{}, {"is_error": True}, {"cache_control": {"type": "ephemeral"}}]),
)  # fmt: skip


def turns(parts: Any, blocks: Any) -> Any:
    """Turns of Anthropic's; `parts` the user's blocks, `blocks` the assistant's."""
    users = st.builds(
        lambda made, rest: {"role": "user", "content": [*made, *rest]},
        st.lists(results, max_size=3),
        st.lists(parts, min_size=1, max_size=3),
    ) | st.builds(lambda content: {"role": "user", "content": content}, words)
    assistants = st.builds(
        lambda content: {"role": "assistant", "content": content}, st.lists(blocks, min_size=1, max_size=4)
    )
    systems = st.builds(lambda content: {"role": "system", "content": content}, words)
    return st.builds(
        lambda first, rest: [first, *rest],
        users,
        st.lists(users | assistants | assistants | systems, max_size=4),
    )


tools = st.builds(
    lambda name, extra: {"name": name, "description": "d", "input_schema": WEATHER_SCHEMA, **extra},
    names, st.sampled_from([{}, {"strict": True}, {"cache_control": {"type": "ephemeral"}}]),
)  # fmt: skip
anthropics_tools = st.sampled_from(
    [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"name": "slow", "description": "d", "input_schema": WEATHER_SCHEMA, "defer_loading": True},
    ]
)
schema_formats = {"type": "json_schema", "schema": {**WEATHER_SCHEMA, "title": "answer"}}
options = st.fixed_dictionaries(
    {"model": names, "max_tokens": st.integers(1, 9999)},
    optional={
        "system": words | st.lists(texts, min_size=1, max_size=2),
        "temperature": st.floats(0, 1),
        "top_p": st.floats(0, 1),
        "stop_sequences": st.lists(words, min_size=1, max_size=2),
        "metadata": st.builds(lambda user_id: {"user_id": user_id}, words),
        "service_tier": st.sampled_from(["auto", "standard_only"]),
        "tool_choice": st.sampled_from(
            [
                {"type": "auto"},
                {"type": "any"},
                {"type": "none"},
                {"type": "tool", "name": "f"},
                {"type": "any", "disable_parallel_tool_use": True},
            ]
        ),
        "tools": st.lists(tools, min_size=1, max_size=2),
    },
)
anthropics_options = st.fixed_dictionaries(
    {},
    optional={
        "thinking": st.sampled_from(
            [{"type": "disabled"}, {"type": "adaptive"}, {"type": "enabled", "budget_tokens": 9000}]
        ),
        "output_config": st.sampled_from(
            [{"effort": "low"}, {"effort": "max", "format": schema_formats}, {"format": schema_formats}]
        ),
        "top_k": st.integers(1, 9),
        "container": st.just("c"),
        "cache_control": st.just({"type": "ephemeral"}),
        "tools": st.lists(tools | anthropics_tools, min_size=1, max_size=3),
        "anything_new": st.integers(),
    },
)


def normal(request: dict[str, Any]) -> dict[str, Any]:
    """A request with texts in their long form: both mean the same to Anthropic."""

    def content(said: Any) -> Any:
        return [{"type": "text", "text": said}] if isinstance(said, str) else said

    messages = [{**turn, "content": content(turn["content"])} for turn in request["messages"]]
    return {**request, "messages": messages}


@given(
    st.builds(
        lambda members, own, messages: {**members, **own, "messages": messages},
        options,
        anthropics_options,
        turns(texts | images | pdfs | only_anthropics, texts | tool_uses | thoughts | server_blocks),
    )
)
def test_what_anthropic_is_asked_survives_openais_shape(request: dict[str, Any]) -> None:
    """Anthropic → OpenAI → Anthropic is the identity: order, signatures, caching and the unknown included."""
    assert normal(messages_request(chat_request(request))) == normal(request)


@given(
    st.builds(
        lambda members, messages: {**members, "messages": messages},
        options,
        turns(texts | images | pdfs, texts | tool_uses),
    )
)
def test_what_both_can_say_is_said_in_openais_members(request: dict[str, Any]) -> None:
    """OpenAI → Anthropic → OpenAI is the identity, and the messages are OpenAI's by its own types."""
    made = chat_request(request)
    again = chat_request(messages_request(made))
    assert again == made
    # OpenAI says "one tool at a time" of a list of tools only.
    assert made["anthropic"].keys() <= (set() if "tools" in request else {"tool_choice"})
    OPENAI_MESSAGES.validate_python(made["messages"])


@pytest.mark.smoke
def test_another_provider_is_sent_plain_openai() -> None:
    """Hints are left out and named; the rest is what OpenAI's API takes."""
    request = chat_request(
        {
            "model": "m",
            "max_tokens": 9,
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "x"},
                        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
                    ],
                },
                user({"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": True}),
            ],
        }
    )
    left = LeftOut()
    plain = portable(request, left)
    assert left.names == {"cache_control", "is_error", "thinking"}
    assert plain == {
        "model": "m",
        "max_completion_tokens": 9,
        "reasoning_effort": "low",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "s"}]},
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "a", "content": "no"},
        ],
    }


@pytest.mark.parametrize(
    ("members", "member"),
    [
        ({"top_k": 5}, "top_k"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0"),
        (
            {"messages": [user({"type": "document", "source": {"type": "url", "url": "u"}})]},
            "messages.0.content.0",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "s"}]}]},
            "messages.0.content.0",
        ),
    ],
)
def test_what_only_anthropic_can_be_asked_is_named(members: dict[str, Any], member: str) -> None:
    """Another provider is not sent half of a request."""
    request = chat_request({"messages": [{"role": "user", "content": "hi"}], **members})
    with pytest.raises(RequestError) as caught:
        portable(request, LeftOut())
    assert caught.value.param == member


def test_a_plain_body_is_untouched() -> None:
    """What an OpenAI client sends to an OpenAI provider is the same object, `cache_control` included."""
    body = chat(user({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}), unknown=1)
    assert portable(body, LeftOut()) is body
