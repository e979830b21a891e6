"""One table of endpoints: what is served is what is described."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from router.server.app import ENDPOINTS, create_app
from router.server.endpoints import openapi_of
from router.server.schemas import SCHEMAS
from tests.test_auth import call

if TYPE_CHECKING:
    from tests.test_auth import OpenRouter


def test_the_document_describes_what_is_served(open_router: OpenRouter) -> None:
    """Every route has an operation and every operation a route."""
    router, _ = open_router("small")
    routes = {
        (method, route.path)
        for route in create_app(router).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    paths = call(router, "GET", "/openapi.json").json()["paths"]
    described = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert described == routes == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


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


def test_an_unknown_path_lists_every_endpoint(open_router: OpenRouter) -> None:
    """The list in the error is the table's."""
    router, _ = open_router("small")
    message = call(router, "GET", "/v2").json()["error"]["message"]
    assert all(endpoint.label in message for endpoint in ENDPOINTS)
