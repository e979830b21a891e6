"""The `openai` package: change its base URL, and label the task if you know it."""

from __future__ import annotations

import os

import httpx
from openai import OpenAI

url = os.environ.get("INTELLIROUTER_URL", "http://127.0.0.1:8080")
client = OpenAI(base_url=f"{url}/v1", api_key=os.environ.get("INTELLIROUTER_KEY", "unused"))

answer = client.chat.completions.create(
    model="auto",  # or one model of the catalog
    messages=[{"role": "user", "content": "What is 17 * 23?"}],
    extra_headers={"x-intellirouter-task": "math"},
)
print(f"{answer.model}: {answer.choices[0].message.content}")

judged = httpx.post(f"{url}/v1/feedback", json={"request_id": answer._request_id, "value": 1.0})
print(f"the judgement is stored: {judged.is_success}")
