"""The keys of one provider. The router uses one until the provider refuses it, then the next."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from router.errors import MASK, ConfigError, masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Self

REFUSED = frozenset({401, 402, 403})
"""Statuses that reject the key and not the request."""
REFUSED_COOLDOWN_S = 300.0
"""Keys are revoked for good or by mistake. Five minutes are enough to correct a mistake."""
LIMITED_COOLDOWN_S = 10.0
"""The rest of a key after a 429 that does not say how long."""
MIN_COOLDOWN_S = 1.0
MAX_COOLDOWN_S = 3600.0

_SENDABLE = re.compile(r"[!-~]+")


class ProviderKeyRing:
    """Keys in order of preference, each with the time until which it rests."""

    def __init__(self, keys: Iterable[str] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rests_until: dict[str, float] = dict.fromkeys(keys, 0.0)
        self._clock = clock

    @classmethod
    def read(cls, names: Iterable[str], environment: Mapping[str, str]) -> Self:
        """Read the keys from these variables, and skip those that are not set.

        ConfigError if a header cannot carry a key. It names the variable and never the key.
        """
        found = {name: environment.get(name, "").strip() for name in names}
        for name, key in found.items():
            if key and not _SENDABLE.fullmatch(key):
                raise ConfigError(
                    f"the key in the environment variable `{name}` holds a space or a character that is not"
                    " ASCII; set it to nothing but the key"
                )
        return cls(key for key in found.values() if key)

    def take(self) -> str | None:
        """The first key that does not rest, else the one with the earliest end of rest. None without keys."""
        if not self._rests_until:
            return None
        now = self._clock()
        for key, until in self._rests_until.items():
            if until <= now:
                return key
        return min(self._rests_until, key=self._rests_until.__getitem__)

    def refused(self, key: str | None, status_code: int, retry_after_s: float | None) -> bool:
        """Note the status that the provider answered to a key, and return whether another key is ready."""
        if key is None or not (status_code in REFUSED or status_code == 429):
            return False
        now = self._clock()
        rest_s = REFUSED_COOLDOWN_S
        if status_code == 429:
            asked_s = LIMITED_COOLDOWN_S if retry_after_s is None else retry_after_s
            rest_s = min(max(asked_s, MIN_COOLDOWN_S), MAX_COOLDOWN_S)
        self._rests_until[key] = max(self._rests_until[key], now + rest_s)
        return any(until <= now for other, until in self._rests_until.items() if other != key)

    def without_keys(self, message: str) -> str:
        """The message with our keys, and any text that looks like a key, replaced by `[key]`."""
        for key in self._rests_until:
            message = message.replace(key, MASK)
        return masked(message)
