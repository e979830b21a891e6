"""One target of the breakers, a model or a provider: its recent outcomes and its ejections.

healthy ──failures──► ejected ──time──► on probation ──success──► healthy
                         ▲                   │
                         └─────failure───────┘   for longer
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from random import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.config import Settings

WINDOW_SLOTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a model is ejected, and for how long."""

    consecutive_failures: int = 5
    failure_share: float = 0.25
    """Share of the window's requests that failed, from which a model is ejected."""
    minimum_requests: int = 20
    """Requests in the window without which the share says nothing."""
    window_s: float = 60.0
    base_ejection_s: float = 30.0
    """Times the number of ejections so far; each healthy period of this length takes one off."""
    max_ejection_s: float = 300.0
    jitter: float = 0.1
    """An ejection lasts up to this share longer, so that routers do not all come back at once."""
    max_ejected_share: float = 0.5
    """Of the models that are served; 0 turns ejection off."""
    probe_timeout_s: float = 120.0
    """A probe that never reports holds its model back no longer than this."""
    fair_timeout_s: float = 0.0
    """A timeout counts against a model that had at least this long to answer."""

    @classmethod
    def of(cls, settings: Settings) -> BreakerRules:
        """The rules that the settings HEALTH_* describe."""
        return cls(
            consecutive_failures=settings.health_consecutive_failures,
            failure_share=settings.health_failure_share,
            base_ejection_s=settings.health_ejection_s,
            max_ejection_s=10 * settings.health_ejection_s,
            max_ejected_share=settings.health_max_ejected_share,
            probe_timeout_s=settings.request_timeout_s,
            # A little less than the first of several models has, so that its silence counts.
            fair_timeout_s=min(0.45 * settings.request_timeout_s, 0.9 * (settings.attempt_timeout_s or inf)),
        )


@dataclass(slots=True)
class Target:
    """What is known of one model, or of one provider."""

    consecutive: int = 0
    slots: deque[list[int]] = field(default_factory=lambda: deque(maxlen=WINDOW_SLOTS))
    """[slot number, successes, failures], oldest first."""
    level: int = 0
    """Ejections so far, less those that health has paid off."""
    ejected_at: float = 0.0
    until: float = 0.0
    reason: str | None = None
    """Why it is out or on probation; None while it is healthy."""
    is_condemned: bool = False
    """Whether our key was refused: it goes before others where not all may."""
    is_on_probation: bool = False
    probe_until: float = 0.0
    """Until when a probe is waited for; 0 when none is under way."""
    restored_at: float = 0.0

    def is_out(self) -> bool:
        return self.reason is not None and (not self.is_on_probation or self.probe_until > 0)

    def count(self, now: float, rules: BreakerRules, *, success: bool) -> None:
        self.consecutive = 0 if success else self.consecutive + 1
        slot = int(now * WINDOW_SLOTS / rules.window_s)
        if not self.slots or self.slots[-1][0] != slot:
            self.slots.append([slot, 0, 0])
        self.slots[-1][1 if success else 2] += 1

    def in_window(self, now: float, rules: BreakerRules) -> tuple[int, int]:
        """(successes, failures) of the window."""
        oldest = int(now * WINDOW_SLOTS / rules.window_s) - WINDOW_SLOTS
        recent = [slot for slot in self.slots if slot[0] > oldest]
        return sum(slot[1] for slot in recent), sum(slot[2] for slot in recent)

    def eject(self, now: float, rules: BreakerRules, reason: str, *, is_condemned: bool = False) -> None:
        healthy_s = 0.0 if self.is_on_probation else now - self.restored_at
        self.level = max(self.level - int(healthy_s / rules.base_ejection_s), 0) + 1
        duration = min(rules.base_ejection_s * self.level, rules.max_ejection_s)
        self._out(now, duration * (1 + rules.jitter * random()), reason)  # noqa: S311 - spreads load
        self.is_condemned = is_condemned

    def wait(self, now: float, seconds: float, reason: str) -> None:
        """Stay away as long as the provider asked: no misbehaviour, so the level stays."""
        self._out(now, seconds, reason)

    def _out(self, now: float, seconds: float, reason: str) -> None:
        self.ejected_at, self.until, self.reason = now, now + seconds, reason
        self.is_on_probation, self.probe_until = False, 0.0
        self.slots.clear()

    def restore(self, now: float) -> None:
        self.reason, self.is_on_probation, self.is_condemned = None, False, False
        self.probe_until, self.restored_at, self.consecutive = 0.0, now, 0
        self.slots.clear()

    def next_change(self) -> float:
        """When time alone changes something."""
        if self.reason is None:
            return inf
        return (self.probe_until or inf) if self.is_on_probation else self.until

    def advance(self, now: float) -> None:
        if self.reason is None:
            return
        if not self.is_on_probation and now >= self.until:
            self.is_on_probation = True
        elif self.is_on_probation and now >= self.probe_until:
            self.probe_until = 0.0
