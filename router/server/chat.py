"""OpenAI's chat completions: HTTP to `Request`, `Response` to HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.errors import RequestError
from router.preferences import Preferences
from router.request import AUTO, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.request import Response
    from router.server.http import Headers
    from router.streaming import Stream


def request_of(body: dict[str, Any], headers: Headers, *, ip_address: str | None) -> Request:
    """The request an OpenAI body and our headers describe.

    Every member of the body reaches the provider untouched, but for `model` and `provider`: these
    say which one (`router.preferences`).
    """
    if "messages" not in body:
        raise RequestError("`messages` is missing: send a list of message objects", param="messages")
    parameters = {
        name: value for name, value in body.items() if name not in ("model", "messages", "provider")
    }
    return Request(
        messages=body["messages"],
        model=body.get("model", AUTO),
        parameters=parameters,
        **labels_of(body, headers, ip_address=ip_address),
    )


def labels_of(body: Mapping[str, Any], headers: Headers, *, ip_address: str | None) -> dict[str, Any]:
    """What a body of OpenAI's and our headers say beside what is asked: fields of Request."""
    return {
        "task_type": headers.get("x-intellirouter-task"),
        "policy": headers.get("x-intellirouter-policy"),
        "preferences": Preferences.parse(body["provider"]) if body.get("provider") is not None else None,
        "organization_id": headers.get("openai-organization"),
        "user_id": body.get("user"),
        "session_id": headers.get("x-session-id"),
        "tags": _tags(headers.get("x-intellirouter-tags")),
        "ip_address": ip_address,
        "user_agent": headers.get("user-agent"),
    }


def response_headers(response: Response | Stream) -> dict[str, str]:
    """What IntelliRouter says of an answer, beside the provider's untouched body."""
    headers = {
        "x-request-id": response.request_id,
        "x-intellirouter-model": response.model,
        "x-intellirouter-policy": response.decision.policy_id,
        "x-intellirouter-attempts": str(response.attempts),
        "x-intellirouter-overhead-ms": f"{response.overhead_ms:.3f}",
    }
    if response.cost_usd is not None:
        headers["x-intellirouter-cost-usd"] = f"{response.cost_usd:f}"
    return {**headers, **response.limit_headers}


def _tags(header: str | None) -> Mapping[str, str]:
    """`team=search, feature=faq` as a mapping."""
    if not header:
        return {}
    tags = {}
    for part in header.split(","):
        key, separator, value = part.strip().partition("=")
        if not separator or not key:
            raise RequestError(
                f"`x-intellirouter-tags` holds `{part.strip()!s:.80}`; write it as key=value, key=value",
                param="x-intellirouter-tags",
            )
        tags[key] = value
    return tags
