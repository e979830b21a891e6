"""Identify the caller and the caller's rights, before the shim reads a request's body.

A key comes as `Authorization: Bearer`, `x-api-key` or `api-key`. ALLOW_UNAUTHENTICATED_LOOPBACK can
let in a caller on this machine without a key. The address of the socket's other end decides, because
no header can change it. A web page always needs a key, so that it cannot spend its reader's money.
The header `Origin`, which browsers send, identifies a web page.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, TypeVar

from router.errors import ConfigError, ForbiddenError, InvalidKeyError, RequestError
from router.keys.keys import ANYONE_HERE, PREFIX, Caller, KeyRing, now
from router.keys.opening import open_key_source
from router.request.preferences import Preferences
from router.request.request import AUTO, has_control

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from router.config import Settings
    from router.keys.keys import KeySource
    from router.request.request import Request
    from router.server.http import AsgiScope

    AnyRequest = TypeVar("AnyRequest", bound=Request)

logger = logging.getLogger("router.server")

HEADERS = (b"authorization", b"x-api-key", b"api-key")
"""OpenAI's, Anthropic's and Azure's headers. If several hold a key of ours, the first one counts."""
MAX_TOKEN_LENGTH = 200


class Keys:
    """Holds the keys in force. It reads a changed file again, and looks at most every `interval_s`."""

    def __init__(
        self,
        source: KeySource,
        *,
        host: str = "127.0.0.1",
        loopback: Literal["auto", "always", "never"] = "auto",
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`host` is the address that the server listens on. ConfigError if the keys are not usable."""
        self._source = source
        self._host = host
        self._loopback = loopback
        self._interval_s = interval_s
        self._clock = clock
        self._version = source.version()  # before the load: a change in between is seen at the next look
        self._ring = source.load()
        self._had_keys = bool(self._ring.entries)
        self._looked_at = clock()
        self.error: ConfigError | OSError | None = None
        """The reason why older keys than the file's are in force. None if the file's are in force."""

    @classmethod
    def open(cls, settings: Settings) -> Keys:
        """The keys of the data folder, or of DATABASE_URL."""
        source, interval_s = open_key_source(settings)
        return cls(
            source,
            host=settings.host,
            loopback=settings.allow_unauthenticated_loopback,
            interval_s=interval_s,
        )

    def check_host(self) -> None:
        """ConfigError if other machines can call and there is no active key."""
        if not is_loopback(self._host) and not self.ring.active(now()):
            raise ConfigError(
                f"other machines reach `{self._host}` and there is no key to distinguish them:"
                " make one with `intellirouter keys create --name NAME`, or listen on 127.0.0.1"
            )

    @property
    def ring(self) -> KeyRing:
        """The keys in force. It first looks at the file, if the last look is at least `interval_s` ago."""
        moment = self._clock()
        if moment - self._looked_at >= self._interval_s:
            self._looked_at = moment
            self._look()
        return self._ring

    @property
    def is_open(self) -> bool:
        """Whether callers on this machine need no key."""
        if self._loopback == "auto":
            # If the file existed and is now missing, that is an accident and must not admit callers.
            return is_loopback(self._host) and not self.ring.entries and not self._had_keys
        return self._loopback == "always"

    def caller(self, scope: AsgiScope) -> Caller:
        """Identify the caller. InvalidKeyError if a key is needed and the request shows no valid one."""
        tokens = tokens_of(scope)
        ours = next((token for token in tokens if token.startswith(PREFIX) or self.ring.knows(token)), None)
        if ours is not None:
            return self.ring.caller(ours, at=now())
        if self.is_open and _is_local(scope):
            if any(name == b"origin" for name, _ in scope["headers"]):
                raise ForbiddenError(
                    "a web page may not call without a key: make one with `intellirouter keys create`,"
                    " and keep it where the page's readers cannot see it"
                )
            return ANYONE_HERE
        what = f"the key shown does not start with `{PREFIX}`" if tokens else "no key is shown"
        raise InvalidKeyError(
            f"{what}: send one that `intellirouter keys create` made as `Authorization: Bearer`,"
            " `x-api-key` or `api-key`"
        )

    def health(self) -> dict[str, Any]:
        """The state of the keys, for the health report."""
        return {
            "active": self.ring.active(now()),
            "is_loopback_open": self.is_open,
            "error": None if self.error is None else str(self.error),
        }

    def close(self) -> None:
        """Stop looking at a server, if the keys are on one. The keys stay."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def _look(self) -> None:
        try:
            version = self._source.version()
            if version != self._version:
                self._ring = self._source.load()
                self._version = version
                self._had_keys |= bool(self._ring.entries)
            self.error = None
        except (ConfigError, OSError) as error:
            if str(error) != str(self.error):
                logger.error("keys not refreshed, the older ones stay: %s", error)
            self.error = error


def admitted(request: AnyRequest, caller: Caller) -> AnyRequest:
    """Check the labels of a request, and bind it to its caller's key. Every endpoint must call this."""
    _check_labels(request)
    return bind(request, caller)


def _check_labels(request: Request) -> None:
    """Refuse control characters in labels, because people read labels in reports, logs and terminals."""
    labels = {
        "model": request.model,
        "x-intellirouter-task": request.task_type,
        "x-intellirouter-policy": request.policy,
        "openai-organization": request.organization_id,
        "user": request.user_id,
        "x-session-id": request.session_id,
        "x-intellirouter-tags": "".join(f"{key}{value}" for key, value in request.tags.items()),
    }
    for name, value in labels.items():
        if value and has_control(value):
            raise RequestError(f"`{name}` holds a control character: `{value!r:.80}`; remove it", param=name)


def bind(request: AnyRequest, caller: Caller) -> AnyRequest:
    """Bind a request to its key, which sets the organisation, the user and the allowed models.

    ForbiddenError if the request names another model. The client's organisation and user count only
    if the key leaves them open, so that a client cannot spend another's budget.
    """
    if caller.key_id is None:
        return request
    if request.model != AUTO:
        caller.require_model(request.model)
    changes: dict[str, Any] = {"api_key_id": caller.key_id}
    if caller.organization_id is not None:
        changes["organization_id"] = caller.organization_id
    if caller.user_id is not None:
        changes["user_id"] = caller.user_id
    if caller.models is not None:
        changes["preferences"] = replace(request.preferences or Preferences(), allowed_models=caller.models)
    return replace(request, **changes)


@lru_cache(maxsize=1024)
def is_loopback(host: str | None) -> bool:
    """Whether an address is this machine's own. A name other than `localhost` may be any machine's."""
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def _is_local(scope: AsgiScope) -> bool:
    client = scope.get("client")
    return client is not None and is_loopback(client[0])


def tokens_of(scope: AsgiScope) -> list[str]:
    """The keys that the headers show, in the order of HEADERS."""
    found: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        if name in HEADERS:
            text = value.decode("latin-1").strip()
            if name == b"authorization":
                scheme, _, text = text.partition(" ")
                if scheme.lower() != "bearer":
                    continue
            if 0 < len(text) <= MAX_TOKEN_LENGTH:
                found.setdefault(name, []).append(text.strip())
    return [token for name in HEADERS for token in found.get(name, ())]
