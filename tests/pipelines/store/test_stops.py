"""A round that stops before or after any of its calls to the store loses and doubles nothing."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from obstore.store import MemoryStore

from pipelines.lake import compaction
from pipelines.store.objects import Objects
from tests.pipelines.store.conftest import HOUR_LATER, Host

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CALLS = ("create", "put", "swap", "read", "keys", "remove")


class Stopped(BaseException):
    """The process ends here."""


class StoppingObjects(Objects):
    """Objects that stop the process at one call."""

    stop_at: int | None = None
    """The call before which it stops; half of one more: after it."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return super().__getattribute__("_counted")(found) if name in CALLS else found

    def _counted(self, action: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            number = next(self._numbers)
            if self.stop_at == number * 2:
                raise Stopped
            found = action(*arguments, **named)
            if self.stop_at == number * 2 + 1:
                raise Stopped
            return found

        return call

    def stop(self, at: int | None) -> None:
        """Stop at this point of the calls that follow. None: nowhere."""
        self._numbers = itertools.count()
        self.stop_at = at


def play(folder: Path, stop_at: int | None, *, stopped: str) -> bool:
    """A story of three hosts in which one round stops. Returns whether it did."""
    store = MemoryStore()
    plain = Objects(store, "memory:///")
    stopping = StoppingObjects(store, "memory:///")
    stopping.stop(None)
    hosts = {
        name: Host(folder / name, stopping if name == stopped else plain, derives=name == "jobs")
        for name in ("a", "b", "jobs")
    }
    expected = {*hosts["a"].serve(segments=2), *hosts["b"].serve()}
    for name in ("a", "b", "jobs"):
        hosts[name].sync()
    expected |= {*hosts["a"].serve()}
    (hosts["jobs"].settings.home / "scores").mkdir(exist_ok=True)
    hosts["jobs"].settings.scores_file.write_text("{}")
    compaction.compact(hosts["jobs"].settings.lake, now=HOUR_LATER)
    stopping.stop(stop_at)
    is_stopped = False
    try:
        hosts[stopped].sync()
    except Stopped:
        is_stopped = True
    stopping.stop(None)
    for name in ("b", "jobs", "a", "b", "jobs", "a", "b"):
        host = Host(folder / name, plain, derives=name == "jobs")
        assert host.sync().segments.problems == []
    for name in hosts:
        assert hosts[name].ids() == dict.fromkeys(expected, 1), (name, stop_at)
        assert hosts[name].faults() == [], (name, stop_at)
        assert hosts[name].settings.scores_file.read_text() == "{}"
    return is_stopped


@pytest.mark.parametrize("stopped", ["a", "jobs"])
def test_a_stop_at_a_call_is_survived(tmp_path: Path, stopped: str) -> None:
    """Before some calls of a round, and after others."""
    for at in range(1, 60, 13):
        play(tmp_path / f"{at}", at, stopped=stopped)


@pytest.mark.slow
@pytest.mark.parametrize("stopped", ["a", "jobs"])
def test_a_stop_at_any_call_is_survived(tmp_path: Path, stopped: str) -> None:
    """Before each call of a round, and after it, until the round has no more of them."""
    points = itertools.count()
    while play(tmp_path / f"{(at := next(points))}", at, stopped=stopped):
        pass
    assert at > 20
