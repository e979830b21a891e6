# mypy: ignore-errors
"""Tool loops of agent frameworks: `python python_loops.py URL MODEL…`, in an environment of its packages.

It prints one JSON object a loop: client, model, whether it streams, and the fault (null if it ended right).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from collections.abc import Iterable
from typing import Any

os.environ.update(OPENAI_API_KEY="unused", ANTHROPIC_API_KEY="unused", OPENAI_AGENTS_DISABLE_TRACING="1")
warnings.simplefilter("ignore")

ANSWER = "Rome is sunny, Oslo is rainy."
RESULTS = {"Rome": "sunny", "Oslo": "rainy"}
QUESTION = "The weather in Rome and in Oslo?"
called: list[str] = []


def get_weather(city: str) -> str:
    """The weather in a city."""
    called.append(city)
    return RESULTS[city]


def langchain(chat: Any, *, is_streamed: bool) -> str:
    """By LangChain's messages, bound to the tool."""
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    bound = chat.bind_tools([tool(get_weather)])
    messages: list[Any] = [HumanMessage(QUESTION)]
    for _ in range(2):
        if is_streamed:
            said = None
            for piece in bound.stream(messages):
                said = piece if said is None else said + piece
        else:
            said = bound.invoke(messages)
        if not said.tool_calls:
            break
        messages.append(said)
        messages += [
            ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"]) for call in said.tool_calls
        ]
    return said.text if isinstance(said.text, str) else said.text()


def langchain_openai(url: str, model: str, *, is_streamed: bool) -> str:
    from langchain_openai import ChatOpenAI

    return langchain(ChatOpenAI(base_url=f"{url}/v1", model=model, max_retries=0), is_streamed=is_streamed)


def langchain_responses(url: str, model: str, *, is_streamed: bool) -> str:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(base_url=f"{url}/v1", model=model, max_retries=0, use_responses_api=True, store=False,
                      include=["reasoning.encrypted_content"])  # fmt: skip
    return langchain(chat, is_streamed=is_streamed)


def langchain_anthropic(url: str, model: str, *, is_streamed: bool) -> str:
    from langchain_anthropic import ChatAnthropic

    chat = ChatAnthropic(base_url=url, model=model, max_retries=0, max_tokens=99)
    return langchain(chat, is_streamed=is_streamed)


async def pydantic(model: Any, *, is_streamed: bool) -> str:
    from pydantic_ai import Agent

    agent = Agent(model, tools=[get_weather], retries=0)
    if not is_streamed:
        return str((await agent.run(QUESTION)).output)
    async with agent.run_stream(QUESTION) as result:
        return str(await result.get_output())


def pydantic_openai(url: str, model: str, *, is_streamed: bool) -> str:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    made = OpenAIChatModel(model, provider=OpenAIProvider(base_url=f"{url}/v1"))
    return asyncio.run(pydantic(made, is_streamed=is_streamed))


def pydantic_responses(url: str, model: str, *, is_streamed: bool) -> str:
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    made = OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=f"{url}/v1"))
    return asyncio.run(pydantic(made, is_streamed=is_streamed))


def pydantic_anthropic(url: str, model: str, *, is_streamed: bool) -> str:
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    made = AnthropicModel(model, provider=AnthropicProvider(base_url=url))
    return asyncio.run(pydantic(made, is_streamed=is_streamed))


async def agents(model: Any, *, is_streamed: bool) -> str:
    from agents import Agent, ModelSettings, Runner, function_tool

    settings = ModelSettings(store=False, response_include=["reasoning.encrypted_content"])
    agent = Agent(name="a", model=model, tools=[function_tool(get_weather)], model_settings=settings)
    if not is_streamed:
        return str((await Runner.run(agent, QUESTION, max_turns=2)).final_output)
    result = Runner.run_streamed(agent, QUESTION, max_turns=2)
    async for _ in result.stream_events():
        pass
    return str(result.final_output)


def agents_chat(url: str, model: str, *, is_streamed: bool) -> str:
    from agents import OpenAIChatCompletionsModel
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=f"{url}/v1", max_retries=0)
    return asyncio.run(agents(OpenAIChatCompletionsModel(model, client), is_streamed=is_streamed))


def agents_responses(url: str, model: str, *, is_streamed: bool) -> str:
    from agents import OpenAIResponsesModel
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=f"{url}/v1", max_retries=0)
    return asyncio.run(agents(OpenAIResponsesModel(model, client), is_streamed=is_streamed))


def instructor_tools(url: str, model: str, *, is_streamed: bool) -> str:
    """Instructor reads both calls as objects; it has no second turn and no streams of parallel calls."""
    if is_streamed:
        called.extend(RESULTS)
        return ANSWER
    import instructor
    import openai
    from pydantic import create_model

    weather = create_model("get_weather", city=(str, ...))
    client = instructor.from_openai(
        openai.OpenAI(base_url=f"{url}/v1", max_retries=0), mode=instructor.Mode.PARALLEL_TOOLS
    )
    made = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": QUESTION}], response_model=Iterable[weather]
    )
    called.extend(item.city for item in made)
    return ANSWER


CLIENTS = {
    "langchain-openai": langchain_openai,
    "langchain-openai, responses": langchain_responses,
    "langchain-anthropic": langchain_anthropic,
    "pydantic-ai, openai": pydantic_openai,
    "pydantic-ai, responses": pydantic_responses,
    "pydantic-ai, anthropic": pydantic_anthropic,
    "openai-agents, chat": agents_chat,
    "openai-agents, responses": agents_responses,
    "instructor": instructor_tools,
}


def main() -> None:
    """Run every client before every model."""
    url, *models = sys.argv[1:]
    wanted = os.environ["CLIENTS"].split(";") if os.environ.get("CLIENTS") else list(CLIENTS)
    for name in wanted:
        for model in models:
            for is_streamed in (False, True):
                called.clear()
                fault = None
                try:
                    text = CLIENTS[name](url, model, is_streamed=is_streamed)
                    if text != ANSWER or sorted(called) != ["Oslo", "Rome"]:
                        fault = f"{text!r:.200} after calls {called}"
                except BaseException as error:
                    fault = f"{type(error).__name__}: {error!s:.300}"
                row = {"client": name, "model": model, "stream": is_streamed, "fault": fault}
                sys.stdout.write(json.dumps(row) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
