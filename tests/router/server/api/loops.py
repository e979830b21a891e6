"""A loop of two turns with two parallel tool calls, by unchanged clients. It gives the final text.

A forgetful caller sends back the calls alone, with their ids, names and arguments.
"""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import orjson

RESULTS = {"Rome": "sunny", "Oslo": "rainy"}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
QUESTION = "The weather in Rome and in Oslo?"


def anthropic_loop(url: str, model: str, *, is_streamed: bool, is_forgetful: bool = False) -> str | None:
    """By the `anthropic` package."""
    tools: list[Any] = [{"name": "get_weather", "input_schema": SCHEMA}]
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    asked: dict[str, Any] = {"model": model, "max_tokens": 4000, "tools": tools}
    asked["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    with anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0) as client:
        for _ in range(2):
            if is_streamed:
                with client.messages.stream(messages=messages, **asked) as stream:
                    message = stream.get_final_message()
            else:
                message = client.messages.create(messages=messages, **asked)
            assert isinstance(message.usage.input_tokens, int)
            assert isinstance(message.usage.output_tokens, int)
            if message.stop_reason != "tool_use":
                break
            calls = [block for block in message.content if block.type == "tool_use"]
            assert len({block.id for block in calls}) == 2
            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": RESULTS[str(block.input["city"])]}
                for block in calls
            ]
            messages += [
                {"role": "assistant", "content": calls if is_forgetful else message.content},
                {"role": "user", "content": results},
            ]
    return "".join(block.text for block in message.content if block.type == "text")


def responses_loop(url: str, model: str, *, is_streamed: bool, is_forgetful: bool = False) -> str | None:
    """By the `openai` package's responses, with the items sent back as they came."""
    tools: list[Any] = [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}]
    given: list[Any] = [{"role": "user", "content": QUESTION}]
    asked: dict[str, Any] = {"model": model, "tools": tools, "store": False, "reasoning": {"effort": "low"}}
    asked["include"] = ["reasoning.encrypted_content"]
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        for _ in range(2):
            if is_streamed:
                with client.responses.stream(input=given, **asked) as stream:
                    response = stream.get_final_response()
            else:
                response = client.responses.create(input=given, **asked)
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                break
            assert len({item.call_id for item in calls}) == 2
            given += [
                item.model_dump(exclude_unset=True, exclude={"parsed_arguments"})
                for item in (calls if is_forgetful else response.output)
            ]
            given += [
                {
                    "type": "function_call_output",
                    "call_id": item.call_id,
                    "output": RESULTS[orjson.loads(item.arguments)["city"]],
                }
                for item in calls
            ]
    return response.output_text


def chat_loop(url: str, model: str, *, is_streamed: bool, is_forgetful: bool = False) -> str | None:
    """By the `openai` package's chat completions."""
    function = {"name": "get_weather", "parameters": SCHEMA}
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    asked: dict[str, Any] = {"model": model, "tools": [{"type": "function", "function": function}]}
    asked["reasoning_effort"] = "low"
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        for _ in range(2):
            if is_streamed:
                with client.chat.completions.stream(messages=messages, **asked) as stream:
                    said = stream.get_final_completion().choices[0].message
            else:
                said = client.chat.completions.create(messages=messages, **asked).choices[0].message
            if not said.tool_calls:
                break
            known: Any = dict.fromkeys(("role", "content"), True)
            known["tool_calls"] = {"__all__": {"id": True, "type": True, "function": {"name", "arguments"}}}
            messages.append(said.model_dump(exclude_unset=True, include=known if is_forgetful else None))
            for call in said.tool_calls:
                assert call.type == "function"
                result = RESULTS[orjson.loads(call.function.arguments)["city"]]
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return said.content


LOOPS = {"chat": chat_loop, "messages": anthropic_loop, "responses": responses_loop}
