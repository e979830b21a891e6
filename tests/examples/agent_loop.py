"""An agent with a tool. `x-session-id` keeps its turns with one model, whose cache stays warm."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from openai import OpenAI

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

MOST_TURNS = 5
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "multiply",
        "description": "Multiply two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    },
}

url = os.environ.get("INTELLIROUTER_URL", "http://127.0.0.1:8080")
client = OpenAI(base_url=f"{url}/v1", api_key=os.environ.get("INTELLIROUTER_KEY", "unused"))
messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is 17 * 23? Use the tool."}]

for _ in range(MOST_TURNS):
    answer = client.chat.completions.create(
        model="auto",
        messages=messages,
        tools=[TOOL],
        extra_headers={"x-session-id": "example-agent", "x-intellirouter-task": "tool-use"},
    )
    message = answer.choices[0].message
    messages.append(message.model_dump(exclude_none=True))  # type: ignore[arg-type]  # a dict, of the same shape
    if not message.tool_calls:
        print(f"{answer.model}: {message.content}")
        break
    for call in message.tool_calls:
        if call.type == "function":
            numbers = json.loads(call.function.arguments)
            product = numbers["a"] * numbers["b"]
            print(f"{answer.model} called {call.function.name}: {product}")
            messages.append({"role": "tool", "tool_call_id": call.id, "content": str(product)})
