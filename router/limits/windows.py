"""How one rate limit is counted: the admitted amounts, in slots that are forgotten as a whole."""

from __future__ import annotations

from router.limits.counters import SLOTS


class Window:
    """The amounts that one rate admitted, by slot."""

    __slots__ = ("newest", "slots", "total", "window_s")

    def __init__(self, window_s: int) -> None:
        self.slots: dict[int, int] = {}  # in order of time
        self.total = 0
        self.newest = 0
        self.window_s = window_s

    def advance(self, slot: int) -> None:
        """Make `slot` the running one, and forget those that no window reaches any more."""
        slots = self.slots
        if slot < self.newest:
            # The clock was set back. The counts are dated now: nothing more is admitted for them,
            # and they are forgotten one window from now at the latest.
            slots.clear()
            slots[slot] = self.total
        self.newest = slot
        oldest = slot - SLOTS
        while slots:
            first = next(iter(slots))
            if first >= oldest:
                return
            self.total -= slots.pop(first)

    def wait_s(self, amount: int, limit: int, now: float) -> float | None:
        """Seconds until `amount` fits. None when it is more than the limit itself."""
        free = limit - self.total
        for slot, used in self.slots.items():
            free += used
            if free >= amount:
                return max((slot + SLOTS + 1) * self.window_s / SLOTS - now, 0.0)
        return None

    def add(self, amount: int) -> None:
        """Count in the running slot."""
        self.slots[self.newest] = self.slots.get(self.newest, 0) + amount
        self.total += amount

    def correct(self, slot: int, correction: int) -> None:
        """Add to a slot's count, which stays at least 0. A slot that has passed is not changed."""
        if slot in self.slots:
            correction = max(correction, -self.slots[slot])
            self.slots[slot] += correction
            self.total += correction
