"""`Watch`: answers whether a request can succeed now, and logs each fault when it comes and goes."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from router.readiness.faults import Fault, faults_of
from router.readiness.probes import disk_faults, limit_faults, score_faults, warehouse_faults

if TYPE_CHECKING:
    from router.serving.parts import Parts

logger = logging.getLogger("router.health")


class Watch:
    """Looks at a router's parts every SCORES_REFRESH_INTERVAL_S, in a thread of its own."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._probed: tuple[Fault, ...] = ()
        self._logged: dict[str, Fault] = {}
        self._closing = threading.Event()
        self._look_lock = threading.Lock()  # one look at a time, by the thread or a caller
        self.look()
        self._thread = threading.Thread(target=self._look_forever, name="health-watch", daemon=True)
        self._thread.start()

    def faults(self) -> tuple[Fault, ...]:
        """The faults that memory shows now, and those of the last look at the disk and at Redis."""
        found = [*faults_of(self._parts), *self._probed]
        return tuple({fault.part + fault.reason: fault for fault in found}.values())

    def look(self) -> tuple[Fault, ...]:
        """Look at everything now, and log the changes."""
        with self._look_lock:
            parts = self._parts
            self._probed = (
                *disk_faults(parts.settings),
                *limit_faults(parts.limits),
                *warehouse_faults(parts.settings),
                *score_faults(parts.settings, parts.refresher.knowledge.board.snapshot),
            )
            found = self.faults()
            self._log(found)
        return found

    def close(self) -> None:
        """Stop the thread. You can call it twice."""
        self._closing.set()
        self._thread.join()

    def _look_forever(self) -> None:
        while not self._closing.wait(self._parts.settings.scores_refresh_interval_s):
            try:
                self.look()
            except Exception:  # the next look must come
                logger.exception("the health of the router cannot be looked at")

    def _log(self, faults: tuple[Fault, ...]) -> None:
        now = {str(fault): fault for fault in faults}
        for text, fault in now.items():
            if text not in self._logged:
                level = logging.ERROR if fault.is_blocking else logging.WARNING
                logger.log(level, "%s: %s", "not ready" if fault.is_blocking else "degraded", text)
        gone = {fault.part for fault in self._logged.values()} - {fault.part for fault in faults}
        for part in sorted(gone):
            logger.warning("recovered: %s", part)
        self._logged = now
