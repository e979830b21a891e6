"""The `anthropic` package, with models of any provider behind it."""

from __future__ import annotations

import os

from anthropic import Anthropic

url = os.environ.get("INTELLIROUTER_URL", "http://127.0.0.1:8080")
client = Anthropic(base_url=url, api_key=os.environ.get("INTELLIROUTER_KEY", "unused"))

message = client.messages.create(
    model="auto", max_tokens=200, messages=[{"role": "user", "content": "What is the capital of France?"}]
)
for block in message.content:
    if block.type == "text":
        print(f"{message.model}: {block.text}")
print(f"{message.usage.input_tokens} tokens in, {message.usage.output_tokens} out")
