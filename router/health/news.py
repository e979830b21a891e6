"""News of ejections among routers that share Redis.

Once a second, a thread writes which models and providers are ejected here, and reads which are ejected
elsewhere. An ejection elsewhere ejects nothing here by itself, since that router's network may be at fault:
the first failure here confirms it. So an outage costs each further router one request, not several.

    {intellirouter}:health:model `gpt-5`    {"from": "<process>", "reason": "..."}, until the ejection ends

Without Redis, or while it does not answer, a router hears nothing.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any

import orjson

from router.stores.redis_connections import PREFIX, RedisConnections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.health.breaker import Breaker

INTERVAL_S = 1.0
TIMEOUT_S = 0.5
"""Of each operation. Only the thread waits for it."""


class HealthNews:
    """Exchanges a breaker's ejections with those of other routers, in a thread of its own."""

    def __init__(self, url: str, breaker: Breaker, *, prefix: str = PREFIX) -> None:
        """ConfigError if the URL or the package is not usable."""
        self._connections = RedisConnections(
            url, timeout_s=TIMEOUT_S, pool_timeout_s=TIMEOUT_S, thread_timeout_s=TIMEOUT_S
        )
        self._breaker = breaker
        self._prefix = f"{prefix}health:"
        self._process = secrets.token_hex(6)
        self._told: set[str] = set()
        """The models and providers that this process wrote, and has not taken back."""
        self._closing = threading.Event()
        self._client = self._connections.client_of_thread()
        self._thread = threading.Thread(target=self._exchange_forever, name="health-news", daemon=True)

    def start(self) -> None:
        """Exchange every INTERVAL_S from now on."""
        self._thread.start()

    def exchange(self) -> None:
        """Write this router's ejections, and let its breaker hear of the others'."""
        try:
            self._tell()
            heard = self._read()
        except self._connections.failures:
            heard = {}
        self._breaker.hear(heard)

    def close(self) -> None:
        """Stop the thread. Its news expires."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self._client.close()

    def _exchange_forever(self) -> None:
        while not self._closing.is_set():
            self.exchange()
            self._closing.wait(INTERVAL_S)

    def _tell(self) -> None:
        ejected = self._breaker.ejected()
        back = self._told - ejected.keys()
        if not ejected and not back:
            return
        with self._client.pipeline(transaction=False) as pipeline:
            for name, (reason, left_s) in ejected.items():
                content = orjson.dumps({"from": self._process, "reason": reason})
                pipeline.set(self._prefix + name, content, px=max(int(1000 * left_s), 1))
            if back:
                pipeline.delete(*(self._prefix + name for name in back))
            pipeline.execute()
        self._told = set(ejected)

    def _read(self) -> Mapping[str, str]:
        names = self._breaker.names()
        if not names:
            return {}
        texts = self._client.mget([self._prefix + name for name in names])
        found = zip(names, map(_parse, texts), strict=True)
        return {name: said["reason"] for name, said in found if said and said["from"] != self._process}


def _parse(text: bytes | None) -> dict[str, Any] | None:
    """The news of a router; None if it cannot be read, such as that of another release."""
    if text is None:
        return None
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    known = isinstance(said, dict) and {"from", "reason"} <= said.keys()
    return said if known and isinstance(said["reason"], str) else None
