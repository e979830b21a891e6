"""The ASGI application: from a connection to its endpoint, and from an error to its answer.

It finds the endpoint of the path, checks the key and the bounds, reads the body, and calls the endpoint.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING

from router.errors import IntelliRouterError, RequestError
from router.keys.keys import NOBODY
from router.server.api import messages
from router.server.errors import body_of_error, error_body, status_of
from router.server.guard import ClientGoneError, check_headers, read_body
from router.server.http import Headers, HttpRequest, HttpResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from router.keys.keys import Caller
    from router.server.api.endpoints import Endpoint
    from router.server.http import AsgiScope, Receive, Send
    from router.server.shim import Shim

logger = logging.getLogger("router.server")

REFUSED = frozenset({400, 404, 410, 413, 422})
"""Statuses of requests that are refused again however often they come."""
RETRY_AFTER_S = 1
"""Sent with an error that may pass by itself and carries no better advice."""


class NotServedError(RequestError):
    """No endpoint has this path, or the endpoint has another method."""

    code = "not_found"

    def __init__(self, scope: AsgiScope, endpoints: Iterable[Endpoint], methods: Iterable[str]) -> None:
        known = ", ".join(endpoint.label for endpoint in endpoints)
        super().__init__(f"{scope['method']} `{scope['path']:.200}` is not served here; known are {known}")
        self.http_status = 405 if methods else 404
        self.headers = {"allow": ", ".join(methods)} if methods else {}


class App:
    """Serves endpoints over an open router, and closes the router when the server ends."""

    def __init__(self, shim: Shim, endpoints: Iterable[Endpoint]) -> None:
        self.shim = shim
        self.endpoints = tuple(endpoints)
        self._paths: dict[str, dict[str, Endpoint]] = {}
        for endpoint in self.endpoints:
            self._paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint
        self._patterns = [
            (re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)), methods)
            for path, methods in self._paths.items()
            if "{" in path
        ]

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            await self._serve(scope, receive, send)
            return
        except ClientGoneError:
            return
        except IntelliRouterError as error:
            self.shim.metrics.count_error(error.code)
            answer = _refusal(error)
        except Exception:
            logger.exception("%s `%.200s` failed", scope["method"], scope["path"])
            what = "internal error; the server's log has the details"
            answer = json_response(error_body(500, what, code="internal_error"), status=500)
        await messages.in_shape(answer, scope["path"])(scope, receive, send)

    async def _serve(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        shim, caller = self.shim, NOBODY
        endpoint, parameters = self._found(scope)
        if endpoint.scopes:
            caller = shim.keys.caller(scope)
            caller.require(*endpoint.scopes)
        if endpoint.body is None:
            answer = await endpoint.handler(shim, _request(scope, caller, parameters, {}))
            await answer(scope, receive, send)
            return
        max_bytes = shim.router.settings.max_body_bytes
        check_headers(scope["headers"], max_bytes)
        with shim.in_flight:
            body = await read_body(receive, max_bytes)
            answer = await endpoint.handler(shim, _request(scope, caller, parameters, body))
            await answer(scope, receive, send)

    def _found(self, scope: AsgiScope) -> tuple[Endpoint, Mapping[str, str]]:
        path, method = scope["path"], scope["method"]
        methods, parameters = self._paths.get(path, {}), {}
        if not methods:
            for pattern, served in self._patterns:
                if (match := pattern.fullmatch(path)) is not None:
                    methods, parameters = served, match.groupdict()
                    break
        endpoint = methods.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            raise NotServedError(scope, self.endpoints, methods)
        return endpoint, parameters

    async def _live(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await self.shim.router.aclose_connections()
        await asyncio.to_thread(self.shim.router.close)
        await send({"type": "lifespan.shutdown.complete"})


def _request(
    scope: AsgiScope, caller: Caller, parameters: Mapping[str, str], body: dict[str, Any]
) -> HttpRequest:
    return HttpRequest(
        headers=Headers(scope["headers"]),
        caller=caller,
        ip_address=scope["client"][0] if scope.get("client") else None,
        parameters=parameters,
        body=body,
    )


def _refusal(error: IntelliRouterError) -> HttpResponse:
    headers, status = {}, status_of(error)
    if error.request_id is not None:
        headers["x-request-id"] = error.request_id
    if getattr(error, "should_retry", None) is False or status in REFUSED:
        headers["x-should-retry"] = "false"
    elif error.is_retryable:
        seconds = getattr(error, "retry_after_s", None)
        headers["retry-after"] = str(RETRY_AFTER_S if seconds is None else max(1, round(seconds)))
    headers.update(getattr(error, "headers", {}))
    return json_response(body_of_error(error), status=status, headers=headers)
