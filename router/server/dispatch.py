"""The ASGI application: from a connection to its endpoint, and from an error to its answer.

It finds the endpoint of the path, checks the key and the bounds, reads the body, and calls the endpoint.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from router.errors import IntelliRouterError, RequestError
from router.keys.keys import NOBODY
from router.server.api import messages
from router.server.errors import body_of_error, error_body, status_of
from router.server.guard import ClientGoneError, check_headers, read_body
from router.server.http import Headers, HttpRequest, HttpResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from router.keys.keys import Caller
    from router.server.api.endpoints import Endpoint
    from router.server.http import AsgiScope, Message, Receive, Send
    from router.server.shim import Shim

logger = logging.getLogger("router.server")

REFUSED = frozenset({400, 404, 410, 413, 422})
"""Statuses of requests that are refused again however often they come."""
RETRY_AFTER_S = 1
"""Sent with an error that may pass by itself and carries no better advice."""


VERSION = "/v1"
LEGACY = "/v1/completions"
"""OpenAI's API before chat, which some clients still know."""
CORS_HEADERS: Mapping[str, str] = {
    "access-control-allow-methods": "GET, POST",
    "access-control-max-age": "600",
    "vary": "origin",
}
_WIDE = re.compile("{(model|session)}")
MAX_QUERY = 100
"""Members of a query that are read."""


class NotServedError(RequestError):
    """No endpoint has this path, or the endpoint has another method."""

    code = "not_found"

    def __init__(self, scope: AsgiScope, endpoints: Iterable[Endpoint], methods: Iterable[str]) -> None:
        known = ", ".join(f"`{endpoint.label}`" for endpoint in endpoints)
        what = f"{scope['method']} `{scope['path']:.200}` is not served here"
        if scope["path"].rstrip("/") in (LEGACY, LEGACY.removeprefix(VERSION)):
            what = f"`{LEGACY}`, OpenAI's API before chat, is not served: send the prompt as `messages` to"
            super().__init__(f"{what} `POST /v1/chat/completions`, or use your client's chat model")
        else:
            super().__init__(f"{what}; known: {known}")
        self.http_status = 405 if methods else 404
        self.headers = {"allow": ", ".join(methods)} if methods else {}


class _Seen:
    """The facts of a request that are known when it is refused."""

    __slots__ = ("caller", "path")

    def __init__(self) -> None:
        self.caller = NOBODY
        self.path = ""


class App:
    """Serves endpoints over an open router, and closes the router when the server ends."""

    def __init__(self, shim: Shim, endpoints: Iterable[Endpoint]) -> None:
        self.shim = shim
        self.endpoints = tuple(endpoints)
        origins = shim.router.settings.cors_origins.split(",")
        self._origins = frozenset(origin.strip().rstrip("/") for origin in origins if origin.strip())
        self._paths: dict[str, dict[str, Endpoint]] = {}
        for endpoint in self.endpoints:
            self._paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint
        self._patterns = [
            (
                re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", _WIDE.sub(r"(?P<\1>.+)", path))),
                methods,
            )
            for path, methods in self._paths.items()
            if "{" in path
        ]

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if self._origins and (origin := _origin_of(scope)) is not None:
            if not ("*" in self._origins or origin in self._origins):
                origin = None
            elif scope["method"] == "OPTIONS":
                await _preflight(scope, origin)(scope, receive, send)
                return
            else:
                send = _readable(send, origin)
        scope["path"] = self._canonical(scope["path"])
        seen = _Seen()
        try:
            await self._serve(scope, receive, send, seen)
            return
        except ClientGoneError:
            return
        except IntelliRouterError as error:
            self.shim.metrics.count_error(error.code)
            if error.refused is not None:
                self.shim.refusals.note(error, scope, seen.caller, seen.path)
                await self.shim.refusals.pause(error)
            answer = _refusal(error)
        except Exception:
            logger.exception("%s `%.200s` failed", scope["method"], scope["path"])
            what = "internal error; the server's log has the details"
            answer = json_response(error_body(500, what, code="internal_error"), status=500)
        await messages.in_shape(answer, scope["path"])(scope, receive, send)

    async def _serve(self, scope: AsgiScope, receive: Receive, send: Send, seen: _Seen) -> None:
        shim, caller = self.shim, NOBODY
        endpoint, parameters = self._found(scope)
        seen.path = endpoint.path
        if endpoint.scopes:
            caller = seen.caller = shim.keys.caller(scope)
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

    def _canonical(self, path: str) -> str:
        """The path of an endpoint. Clients leave out `/v1`, or write a slash twice or at the end."""
        if path in self._paths:
            return path
        plain = re.sub(r"//+", "/", path).rstrip("/")
        for known in (plain, f"{VERSION}{plain}"):
            if known in self._paths or any(pattern.fullmatch(known) for pattern, _ in self._patterns):
                return known
        return path

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


def _origin_of(scope: AsgiScope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"origin":
            return str(value.decode("latin-1"))
    return None


def _preflight(scope: AsgiScope, origin: str) -> HttpResponse:
    """The answer to a browser that asks whether a page may call."""
    wanted = dict(scope["headers"]).get(b"access-control-request-headers", b"authorization, content-type")
    allowed = {
        "access-control-allow-origin": origin,
        "access-control-allow-headers": wanted.decode("latin-1"),
    }
    return HttpResponse(b"", 204, {**CORS_HEADERS, **allowed})


def _readable(send: Send, origin: str) -> Send:
    """A `send` whose answers a page of the origin may read."""
    shown = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    ]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *shown]}
        await send(message)

    return sending


def _request(
    scope: AsgiScope, caller: Caller, parameters: Mapping[str, str], body: dict[str, Any]
) -> HttpRequest:
    return HttpRequest(
        headers=Headers(scope["headers"]),
        caller=caller,
        ip_address=scope["client"][0] if scope.get("client") else None,
        parameters=parameters,
        query=_query(scope),
        body=body,
    )


def _query(scope: AsgiScope) -> dict[str, str]:
    text = scope.get("query_string", b"")
    if not text:
        return {}
    try:
        return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY))
    except ValueError:
        raise RequestError(f"the query has more than `{MAX_QUERY}` members: send fewer") from None


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
