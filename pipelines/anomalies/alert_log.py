"""The alerts as files: each once, and the state of its delivery.

    alerts/alerts.jsonl       one line for each alert, written before anything is sent
    alerts/deliveries.jsonl   one line for each try to deliver one

An alert has an id that follows from its incident, so a refresh that was killed raises none twice. A line
that a kill tore is not counted, and cut off before the next line. No alert names a person.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.files import append_lines, locked, make_folder, whole_lines, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from router.config import Settings

OWNER_ONLY = 0o600
MOST_LINES = 20_000
"""A longer file is shortened to the newer half. Alerts that wait for delivery stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that a person should hear of."""

    id: str
    at: datetime
    kind: str
    """`budget` or `anomaly`."""
    text: str
    facts: Mapping[str, Any]
    to_webhook: bool = False
    """Whether a webhook was set when it was raised. Earlier alerts are not sent to a later webhook."""

    def line(self) -> dict[str, Any]:
        """As `alerts.jsonl` holds it."""
        return {
            "id": self.id,
            "at": self.at.astimezone(UTC).isoformat(),
            "kind": self.kind,
            "text": self.text,
            "to_webhook": self.to_webhook,
            "facts": dict(self.facts),
        }

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Alert:
        """The inverse of `line`."""
        return cls(**{**line, "at": datetime.fromisoformat(line["at"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A try to deliver an alert."""

    id: str
    at: datetime
    tries: int
    """Tries so far, this one included."""
    is_delivered: bool
    status: int | None = None
    """HTTP status of the answer. None without an answer."""
    problem: str | None = None
    next_at: datetime | None = None
    """When it is tried again. None if it was delivered, or is a dead letter."""

    @property
    def is_dead(self) -> bool:
        """Whether it is only tried again on request."""
        return not self.is_delivered and self.next_at is None

    def line(self) -> dict[str, Any]:
        """As `deliveries.jsonl` holds it."""
        return {
            "id": self.id,
            "at": self.at.astimezone(UTC).isoformat(),
            "tries": self.tries,
            "is_delivered": self.is_delivered,
            "status": self.status,
            "problem": self.problem,
            "next_at": None if self.next_at is None else self.next_at.astimezone(UTC).isoformat(),
        }

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Delivery:
        """The inverse of `line`."""
        next_at = line["next_at"]
        return cls(
            **{
                **line,
                "at": datetime.fromisoformat(line["at"]),
                "next_at": None if next_at is None else datetime.fromisoformat(next_at),
            }
        )


@dataclass(slots=True)
class AlertLog:
    """The two files of a data folder, locked while it is `opened`."""

    folder: Path
    alerts: dict[str, Alert] = field(default_factory=dict)
    """By id, in order."""
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    """The last one of each alert."""

    def add(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Write down those that are new, and return them. They are on disk then."""
        new = {alert.id: alert for alert in alerts if alert.id not in self.alerts}
        if new:
            _append(self.folder / "alerts.jsonl", (alert.line() for alert in new.values()))
            self.alerts |= new
        return list(new.values())

    def note(self, delivery: Delivery) -> None:
        """Write down a try."""
        _append(self.folder / "deliveries.jsonl", [delivery.line()])
        self.deliveries[delivery.id] = delivery

    def waiting(self) -> list[Alert]:
        """Alerts for the webhook that are neither delivered nor dead, the oldest first."""
        return [
            alert
            for alert in self.alerts.values()
            if alert.to_webhook
            and not (
                (last := self.deliveries.get(alert.id)) is not None and (last.is_delivered or last.is_dead)
            )
        ]

    def dead(self) -> list[Alert]:
        """Alerts that were tried as often as is useful."""
        return [
            alert
            for alert in self.alerts.values()
            if (last := self.deliveries.get(alert.id)) is not None and last.is_dead
        ]

    def counts(self) -> Counter[str]:
        """How many alerts are delivered, waiting and dead."""
        delivered = sum(last.is_delivered for last in self.deliveries.values())
        return Counter(delivered=delivered, waiting=len(self.waiting()), dead=len(self.dead()))


def folder_of(settings: Settings) -> Path:
    """Where the alerts of a data folder are."""
    return settings.home / "alerts"


@contextmanager
def opened(settings: Settings) -> Iterator[AlertLog]:
    """The log, for one process at a time."""
    folder = folder_of(settings)
    make_folder(folder)
    with locked(folder / "alerts.jsonl"):
        log = read(settings)
        if len(log.alerts) > MOST_LINES:
            _shorten(log)
        yield log


def read(settings: Settings) -> AlertLog:
    """The log as it is now, to look at."""
    folder = folder_of(settings)
    alerts = [Alert.of(line) for line in _lines(folder / "alerts.jsonl")]
    deliveries = [Delivery.of(line) for line in _lines(folder / "deliveries.jsonl")]
    return AlertLog(
        folder, {alert.id: alert for alert in alerts}, {delivery.id: delivery for delivery in deliveries}
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in _whole(path).splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # a line that an editor damaged: the others still count
            continue


def _append(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    append_lines(path, _encoded(lines), after=len(_whole(path)), mode=OWNER_ONLY)


def _whole(path: Path) -> bytes:
    try:
        return whole_lines(path.read_bytes())
    except FileNotFoundError:
        return b""


def _encoded(lines: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def _shorten(log: AlertLog) -> None:
    """Keep the newer half, and all that waits."""
    waiting = {alert.id for alert in log.waiting()}
    newer = list(log.alerts)[MOST_LINES // 2 :]
    kept = [alert for alert in log.alerts.values() if alert.id in {*waiting, *newer}]
    log.alerts = {alert.id: alert for alert in kept}
    log.deliveries = {name: last for name, last in log.deliveries.items() if name in log.alerts}
    for name, lines in (
        ("alerts.jsonl", [alert.line() for alert in kept]),
        ("deliveries.jsonl", [last.line() for last in log.deliveries.values()]),
    ):
        write_atomically(log.folder / name, _encoded(lines), mode=OWNER_ONLY)
