"""`/openapi.json`: the OpenAPI 3.1 document of the endpoints, with every status that they can answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from router.server.api import messages
from router.server.api.schemas import HEADER_SCHEMAS, SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.server.api.endpoints import Endpoint

API_VERSION = "1"
"""Raise it when a change of an endpoint requires a change of its clients."""
ERRORS = {
    400: "The request cannot be served as it stands",
    401: "No key is shown, or none that opens anything",
    403: "The key does not open this",
    404: "There is no such thing, or it is not this key's",
    408: "The body did not arrive in time",
    412: "The document is no longer the one that was changed",
    413: "The body is larger than is read",
    415: "The body is compressed",
    422: "The provider takes the request for unprocessable",
    428: "The header `if-match` is missing",
    429: "A limit or a budget is used up, here or at the provider",
    431: "The headers are larger, or more, than are read",
    500: "A fault of the shim",
    502: "The provider failed, and so did whoever could stand in",
    503: "No model is eligible, too much is in flight, or nothing can be recorded or checked: come back",
    504: "No answer came in time",
    529: "Too much is in flight: come back",
}
WITH_KEY = (401, 403)
WITH_BODY = (400, 408, 413, 415, 431, 503)
CALLING = (400, 404, 422, 429, 502, 503, 504)
"""Statuses of an endpoint that calls models."""
RETRIED = (429, 502, 503, 504, 529)
TOLD = (
    "x-request-id",
    "x-intellirouter-model",
    "x-intellirouter-policy",
    "x-intellirouter-attempts",
    "x-intellirouter-overhead-ms",
)
"""Headers of every answer that is recorded."""
TOLD_AT_TIMES = (
    "x-intellirouter-cost-usd",
    "x-intellirouter-ignored",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
)
PLAIN: dict[str, Any] = {"type": "string"}


def openapi_of(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Make the document from the table that the shim serves, so that they cannot differ."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "IntelliRouter", "version": API_VERSION},
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": schemes},
    }


def statuses_of(endpoint: Endpoint) -> list[int]:
    """The error statuses that an endpoint can answer with."""
    statuses = {500, *endpoint.errors}
    if endpoint.scopes:
        statuses.update(WITH_KEY)
    if endpoint.body is not None:
        statuses.update(WITH_BODY)
    if endpoint.is_calling:
        statuses.update(CALLING)
    if messages.is_own(endpoint.path):
        statuses.add(messages.OVERLOADED)
    return sorted(statuses)


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", endpoint.label).strip("_").lower(),
        "summary": endpoint.summary,
        "responses": {
            str(endpoint.status): _success(endpoint),
            **{str(status): _error(endpoint, status) for status in statuses_of(endpoint)},
        },
        "security": [],
    }
    if endpoint.scopes:
        operation["security"] = [{"bearer": []}, {"x-api-key": []}, {"api-key": []}]
        operation["description"] = f"Needs a key with the scope `{'` or `'.join(endpoint.scopes)}`."
    if endpoint.body is not None:
        content = {"application/json": {"schema": _reference(endpoint.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    parameters = [_parameter(name, "path", required=True) for name in re.findall(r"{(\w+)}", endpoint.path)]
    parameters += [_parameter(name, "header", required=False) for name in endpoint.parameters]
    parameters += [_parameter(name, "query", required=False) for name in endpoint.query]
    if parameters:
        operation["parameters"] = parameters
    return operation


def _success(endpoint: Endpoint) -> dict[str, Any]:
    content: dict[str, Any] = {endpoint.media_type: {"schema": _reference(endpoint.answer)}}
    if endpoint.is_streaming:
        content["text/event-stream"] = {"schema": {"description": "The API's events, one after another."}}
    answer: dict[str, Any] = {"description": "Done", "content": content}
    if endpoint.is_recorded:
        always = {name: _header(name, required=True) for name in TOLD}
        answer["headers"] = always | {name: _header(name, required=False) for name in TOLD_AT_TIMES}
    return answer


def _error(endpoint: Endpoint, status: int) -> dict[str, Any]:
    name = "AnthropicError" if messages.is_own(endpoint.path) else "Error"
    error: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {"application/json": {"schema": _reference(name)}},
    }
    headers = {}
    if status == 401:
        headers["www-authenticate"] = _header("www-authenticate", required=True)
    if status in RETRIED:
        headers["retry-after"] = _header("retry-after", required=False)
    if headers:
        error["headers"] = headers
    return error


def _header(name: str, *, required: bool) -> dict[str, Any]:
    return {"required": required, "schema": HEADER_SCHEMAS.get(name, PLAIN)}


def _parameter(name: str, place: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": HEADER_SCHEMAS.get(name, PLAIN)}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
