"""What the workers of one `intellirouter serve` tell each other, so that any of them answers for all.

Each writes a report of itself into a folder that they share, once a second and before it shows its
counters to anybody. Whoever is asked adds up its own and the others' latest: since nothing is shown
that is not in a file, a counter never goes backwards from one worker's answer to another's, and a
worker that takes the place of one that died goes on from its report. What a killed worker counted in
its last second is missing in the counters (not in the records).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import orjson

from router.files import TEMPORARY_PREFIX
from router.journal.lookup import find_record
from router.server.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from router.records import RequestRecord

logger = logging.getLogger("router.server")

PUBLISH_INTERVAL_S = 1.0
STALE_S = 10.0
"""A worker whose report is older is not counted among those that run."""
_COUNTERS: tuple[tuple[str, ...], ...] = (
    ("journal", "unrecorded"),
    ("journal", "unlogged"),
    ("limits", "unchecked"),
    ("limits", "unsettled"),
)
"""Members of the health report that only grow."""
_SUMS: tuple[tuple[str, ...], ...] = (("in_flight",), ("journal", "backlog_bytes"))
"""Members of which there is so much in all."""


class Group:
    """One worker's place among the others."""

    def __init__(self, folder: Path, *, slot: int, workers: int) -> None:
        """`slot` is the place, which another worker may have had before; `workers` how many are to be."""
        self._folder = folder
        self._name = f"{slot}.json"
        self._workers = workers
        self._looking = asyncio.Lock()
        self._before = _read(folder / self._name)

    def begin(self, metrics: Metrics, health: Callable[[], dict[str, Any]]) -> None:
        """Report these counters and this health; go on from what an earlier worker in this place counted."""
        self._metrics, self._health = metrics, health
        if self._before is not None:
            metrics.add(self._before["metrics"])

    async def publish_forever(self) -> None:
        """Report once a second."""
        while True:
            self._publish()
            await asyncio.sleep(PUBLISH_INTERVAL_S)

    def leave(self) -> None:
        """Report for the last time."""
        self._publish(is_running=False)

    def health(self) -> dict[str, Any]:
        """The health report of all workers together."""
        return _merged(self._publish(), list(self._others()), self._workers)

    def metrics_text(self) -> str:
        """The counters of all workers, those that ended included."""
        own = self._publish()
        others = list(self._others())
        total = Metrics()
        total.add(own["metrics"])
        for report in others:
            total.add(report["metrics"])
        return total.text(_merged(own, others, self._workers))

    async def find_record(self, home: Path, request_id: str) -> RequestRecord | None:
        """The record of a request that any worker answered; one look at a time, as it reads files."""
        async with self._looking:
            return await asyncio.to_thread(find_record, home, request_id)

    def _publish(self, *, is_running: bool = True) -> dict[str, Any]:
        health = self._health()
        counted = self._before["counters"] if self._before is not None else {}
        report = {
            "reported_at": time.time(),
            "is_running": is_running,
            "counters": {
                ".".join(path): counted.get(".".join(path), 0) + _at(health, path) for path in _COUNTERS
            },
            "health": health,
            "metrics": self._metrics.dump(),
        }
        temporary = self._folder / f"{TEMPORARY_PREFIX}{self._name}"
        try:
            temporary.write_bytes(orjson.dumps(report))
            temporary.replace(self._folder / self._name)
        except OSError as error:  # the others know less of this worker; requests are served all the same
            logger.warning("a worker's report cannot be written: %s", error)
        return report

    def _others(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self._folder.glob("[0-9]*.json")):
            if path.name != self._name and (report := _read(path)) is not None:
                yield report


def _merged(own: Mapping[str, Any], others: list[dict[str, Any]], workers: int) -> dict[str, Any]:
    """The own health, with sums of all reports' counters, and of what runs in those that are fresh."""
    fresh = time.time() - STALE_S
    reports = [own, *others]
    running = [own, *(item for item in others if item["is_running"] and item["reported_at"] > fresh)]
    healths: list[dict[str, Any]] = [item["health"] for item in running]
    health: dict[str, Any] = {
        **healths[0],
        "journal": {**healths[0]["journal"]},
        "limits": {**healths[0]["limits"]},
        "breakers": {
            part: {name: what for item in reversed(healths) for name, what in item["breakers"][part].items()}
            for part in healths[0]["breakers"]
        },
        "workers": {"wanted": workers, "running": len(running)},
    }
    for path in _COUNTERS:
        _put(health, path, sum(item["counters"][".".join(path)] for item in reports))
    for path in _SUMS:
        _put(health, path, sum(_at(item, path) for item in healths))
    for part in ("journal", "limits"):
        health[part]["error"] = next((item[part]["error"] for item in healths if item[part]["error"]), None)
    if any(item["status"] != "ok" for item in healths):
        health["status"] = "degraded"
    return health


def _at(health: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = health
    for name in path:
        value = value[name]
    return value


def _put(health: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    into = health
    for name in path[:-1]:
        into = into[name]
    into[path[-1]] = value


def _read(path: Path) -> dict[str, Any] | None:
    try:
        report: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return report
