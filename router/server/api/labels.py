"""Labels of a request in our headers and in OpenAI's members, and our headers of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.errors import RequestError
from router.request.preferences import Preferences
from router.request.request import AUTO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog.catalog import Catalog
    from router.request.request import Response
    from router.server.http import Headers
    from router.serving.streaming import Stream


def name_model(body: dict[str, Any], catalog: Catalog) -> None:
    """Put the catalog's name of the model into a body. RequestError if it is not a text, null included."""
    model = body.get("model", AUTO)
    if not isinstance(model, str):
        raise RequestError(
            f"`model` must be a text, got `{model!r:.80}`; leave it out for `auto`", param="model"
        )
    body["model"] = catalog.named(model)


def labels_of(body: Mapping[str, Any], headers: Headers, *, ip_address: str | None) -> dict[str, Any]:
    """Fields of Request that hold the labels in an OpenAI body and in our headers."""
    return {
        "task_type": headers.text("x-intellirouter-task"),
        "policy": headers.text("x-intellirouter-policy"),
        "preferences": Preferences.parse(body["provider"]) if body.get("provider") is not None else None,
        "organization_id": headers.text("openai-organization"),
        "user_id": body.get("user"),
        "session_id": headers.text("x-session-id"),
        "tags": _tags(headers.text("x-intellirouter-tags")),
        "ip_address": ip_address,
        "user_agent": headers.get("user-agent"),
        "traceparent": headers.get("traceparent"),
    }


def response_headers(response: Response | Stream) -> dict[str, str]:
    """IntelliRouter's headers of an answer. The provider's body stays untouched."""
    headers = {
        "x-request-id": response.request_id,
        "x-intellirouter-model": response.model,
        "x-intellirouter-policy": response.decision.policy_id,
        "x-intellirouter-attempts": str(response.attempts),
        "x-intellirouter-overhead-ms": f"{response.overhead_ms:.3f}",
    }
    if response.cost_usd is not None:
        headers["x-intellirouter-cost-usd"] = f"{response.cost_usd:f}"
    if response.ignored:
        headers["x-intellirouter-ignored"] = ", ".join(sorted(response.ignored))
    return {**headers, **response.limit_headers}


def _tags(header: str | None) -> Mapping[str, str]:
    """`team=search, feature=faq` as a mapping."""
    if not header:
        return {}
    tags = {}
    for part in header.split(","):
        key, separator, value = part.strip(" \t").partition("=")
        if not separator or not key:
            raise RequestError(
                f"`x-intellirouter-tags` holds `{part.strip()!s:.80}`; write it as key=value, key=value",
                param="x-intellirouter-tags",
            )
        tags[key] = value
    return tags
