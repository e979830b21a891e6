"""Reports that the workers of one `intellirouter serve` share, so that each can answer for all.

Each worker writes a report into a shared folder, once a second and before it shows its counters. The
worker that answers adds its own report to the others' latest ones. It shows only counts that are in a
file, so that a counter never goes backwards from one worker's answer to another's. A worker that
replaces a dead one continues from its report. If a worker is killed, the counters miss its last
second, and the records do not.
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
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from router.records import RequestRecord

logger = logging.getLogger("router.server")

PUBLISH_INTERVAL_S = 1.0
STALE_S = 10.0
"""A worker with an older report does not count as running."""
_COUNTERS: tuple[tuple[str, ...], ...] = (
    ("journal", "unrecorded"),
    ("journal", "unlogged"),
    ("limits", "unchecked"),
    ("limits", "unsettled"),
)
"""Members of the health report that only grow."""
_SUMS: tuple[tuple[str, ...], ...] = (("in_flight",), ("journal", "backlog_bytes"))
"""Members that are added up over all workers."""


class Group:
    """One worker's place among the others."""

    def __init__(self, folder: Path, *, slot: int, workers: int) -> None:
        """`slot` is the place, which an earlier worker may have had. `workers` is the number configured."""
        self._folder = folder
        self._name = f"{slot}.json"
        self._workers = workers
        self._looking = asyncio.Lock()
        self._before = _read(folder / self._name)

    def begin(self, metrics: Metrics, health: Callable[[], dict[str, Any]]) -> None:
        """Report these counters and this health. Counts continue from an earlier worker in this place."""
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
        """The combined health report of all workers."""
        return _merged(self._publish(), list(self._others()), self._workers)

    def metrics_text(self) -> str:
        """The counters of all workers, including those that ended."""
        own = self._publish()
        others = list(self._others())
        total = Metrics()
        total.add(own["metrics"])
        for report in others:
            total.add(report["metrics"])
        return total.text(_merged(own, others, self._workers))

    async def find_record(self, home: Path, request_id: str) -> RequestRecord | None:
        """The record of a request that any worker answered. Searches read files, so they run one by one."""
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
        except OSError as error:  # the others know less of this worker, but requests are served
            logger.warning("a worker's report cannot be written: %s", error)
        return report

    def _others(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self._folder.glob("[0-9]*.json")):
            if path.name != self._name and (report := _read(path)) is not None:
                yield report


def _merged(own: Mapping[str, Any], others: list[dict[str, Any]], workers: int) -> dict[str, Any]:
    """The own health, with the counters of all reports and the current totals of fresh ones added up."""
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
        "exploration": {"usd_today": _added(item.get("exploration", {}) for item in healths)},
        "workers": {"wanted": workers, "running": len(running)},
    }
    for path in _COUNTERS:
        _put(health, path, sum(item["counters"][".".join(path)] for item in reports))
    for path in _SUMS:
        _put(health, path, sum(_at(item, path) for item in healths))
    for part in ("journal", "limits"):
        health[part]["error"] = next((item[part]["error"] for item in healths if item[part]["error"]), None)
    faults = {repr(fault): fault for item in healths for fault in item["faults"]}
    health["faults"] = list(faults.values())
    health["status"] = "degraded" if faults else "ok"
    health["ready"] = any(item["ready"] for item in healths)
    return health


def _added(parts: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The dollars of all workers. A worker of an older release does not report any."""
    total: dict[str, float] = {}
    for part in parts:
        for policy, usd in part.get("usd_today", {}).items():
            total[policy] = total.get(policy, 0.0) + usd
    return total


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
