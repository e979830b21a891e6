"""What schemathesis calls a failure and is none, with the reason; every other failure counts.

Loaded by schemathesis (SCHEMATHESIS_HOOKS). Each failure that is explained is a line of the file
that EXPLAINED names, so that the test can say how many there were.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import schemathesis

NAMES = (
    "unknown task",
    "unknown policy",
    "which is neither a provider nor a model",
    "cannot be had",
    "no eligible model",
    "unknown model",
)
"""Messages about names that stand in catalog.yaml and policies.yaml, which the document does not tell
anybody: it is public. A random text is valid by the document, and no name."""
OTHERS_GRAMMAR = ("/v1/messages", "/v1/messages/count_tokens", "/v1/responses")
"""Bodies in other APIs' grammar, of which the document has the outline: what a random object in it lacks
is refused by name, with the member."""


OF_THE_KEY = ("/v1/usage", "/v1/budgets", "/v1/sessions/{session}/usage")
"""Operations that answer for the key's organisation."""
KNOWN = {"x-intellirouter-task": "math", "x-intellirouter-policy": "cheapest"}


def reason(failure: Any, case: Any, response: Any) -> str | None:
    """Why it is no failure; None: it is one."""
    if type(failure).__name__ == "AcceptedNegativeData" and case.operation.path in OF_THE_KEY:
        return "the key states the organisation, so that the header is not read"
    if type(failure).__name__ != "RejectedPositiveData":
        return None
    error = json.loads(response.content)["error"]
    message, path = error["message"], case.operation.path
    if any(name in message for name in NAMES):
        return "a random name is not in the catalog"
    if error.get("param") == "x-intellirouter-tags" or "x-intellirouter-tags" in message:
        return "a pair of key and value cannot be said in the schema of a header so that random ones are"
    if path == "/v1/usage" and error.get("param") in ("by", "from", "to"):
        return "a list of names and a date cannot be said in the schema of a query so that random ones are"
    if path == "/admin/v1/keys" and error.get("param") == "expires_at":
        return "a random moment may lie in the past, where a key would end before it begins"
    if path.startswith("/admin/v1/keys") and "printable characters" in message:
        return "characters that a terminal would obey cannot be said in a schema"
    if path == "/v1/feedback" and error.get("param") == "request_id":
        return "a random UUIDv7 may lie in the future, where no answer was given"
    if path == "/v1/embeddings" and error.get("param") == "input":
        return "to JSON schema 1.0 is an integer, and no token"
    if path in OTHERS_GRAMMAR and response.status_code == 400:
        return "another API's grammar, of which the document has the outline"
    return None


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Name what there is in place of random names, so that good data goes further than its headers."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for header, name in KNOWN.items():
        if header in (case.headers or {}):
            case.headers[header] = name


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Drop what is explained, and write it down."""
    explained = reason(failure, case, response)
    if explained is None:
        return True
    with Path(os.environ["EXPLAINED"]).open("a") as file:
        file.write(f"{case.operation.label}: {explained}\n")
    return False
