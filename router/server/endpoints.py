"""One row an endpoint: what is served, keys and `/openapi.json` are all made from these: none can drift."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from router.server.schemas import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from router.keys import Scope
    from router.server.http import Answer, HttpRequest

API_VERSION = "1"
"""Raised when an endpoint changes so that a client must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One thing the shim does."""

    method: Literal["GET", "POST"]
    path: str
    """`{id}` stands for one segment."""
    handler: Callable[[HttpRequest], Awaitable[Answer]]
    summary: str
    scopes: tuple[Scope, ...]
    """Of which a key must have one; empty: anybody may call, and learns nothing worth a key."""
    body: str | None = None
    """Name of the request body's schema; None: it takes none."""
    answer: str = "Object"
    """Name of the answer's schema."""
    media_type: str = "application/json"
    status: int = 200
    parameters: tuple[str, ...] = ()
    """Headers that are read; names of schemas' parameters."""

    @property
    def label(self) -> str:
        """As errors name it."""
        return f"{self.method} {self.path}"


def openapi_of(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the endpoints."""
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


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    answer = {"schema": _reference(endpoint.answer)}
    error = {"application/json": {"schema": _reference("Error")}}
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", endpoint.label).strip("_").lower(),
        "summary": endpoint.summary,
        "responses": {
            str(endpoint.status): {"description": "Done", "content": {endpoint.media_type: answer}},
            "default": {"description": "What failed, and what to do", "content": error},
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
    if parameters:
        operation["parameters"] = parameters
    return operation


def _parameter(name: str, place: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": {"type": "string"}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
