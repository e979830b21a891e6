"""One table of endpoints: what is served is what is described."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from router.server.api.openapi import openapi_of
from router.server.api.schemas import SCHEMAS
from router.server.app import ENDPOINTS, create_app
from tests.router.server.test_auth import call

if TYPE_CHECKING:
    from tests.router.server.test_auth import OpenRouter


@pytest.mark.smoke
def test_the_document_describes_what_is_served(open_router: OpenRouter) -> None:
    """Every endpoint has an operation and every operation an endpoint."""
    router, _ = open_router("small")
    served = {(endpoint.method, endpoint.path) for endpoint in create_app(router).endpoints}
    paths = call(router, "GET", "/openapi.json").json()["paths"]
    described = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert described == served == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    """No schema is missing, none is left over."""
    document = json.dumps(openapi_of(ENDPOINTS))
    named = {part.split('"')[0] for part in document.split("#/components/schemas/")[1:]}
    assert named == SCHEMAS.keys()


def test_the_document_says_which_key_is_needed() -> None:
    """What asks for a scope says so; what anybody may call says that."""
    for endpoint in ENDPOINTS:
        operation: dict[str, Any] = openapi_of(ENDPOINTS)["paths"][endpoint.path][endpoint.method.lower()]
        assert bool(operation["security"]) == bool(endpoint.scopes)
        assert all(f"`{scope}`" in operation["description"] for scope in endpoint.scopes)


def test_operations_have_names_of_their_own() -> None:
    """Generated clients get a method for each."""
    operations = [op for path in openapi_of(ENDPOINTS)["paths"].values() for op in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(ENDPOINTS)


def test_a_method_that_is_not_served_is_told_which_are(open_router: OpenRouter) -> None:
    """405 with Allow, also where the path holds a parameter; HEAD is GET without a body."""
    router, _ = open_router("small")
    refused = call(router, "DELETE", "/v1/decisions/x")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert call(router, "HEAD", "/livez").status_code == 200
    assert call(router, "GET", "/v1/decisions/x/y").status_code == 404


@pytest.mark.smoke
def test_a_crash_is_an_error_like_any_other(
    open_router: OpenRouter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 in the API's shape without a word of what went wrong, which stands in the log."""
    router, _ = open_router("small")

    def crash() -> None:
        raise ZeroDivisionError("the inside")

    monkeypatch.setattr(router.sink, "check_writable", crash)
    answer = call(router, "GET", "/readyz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "the inside" not in answer.text
    assert "ZeroDivisionError: the inside" in caplog.text


def test_an_unknown_path_lists_every_endpoint(open_router: OpenRouter) -> None:
    """The list in the error is the table's."""
    router, _ = open_router("small")
    message = call(router, "GET", "/v2").json()["error"]["message"]
    assert all(endpoint.label in message for endpoint in ENDPOINTS)
