"""Keeps knowledge fresh: it rereads configuration, scores and classifier when they change."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from router.decision.eligibility import standing_exclusions
from router.decision.exploration import ExplorationBudgets
from router.decision.knowledge import Knowledge
from router.errors import IntelliRouterError, ScoresError
from router.scores.board import ScoreBoard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from router.config import Settings
    from router.decision.state import State
    from router.scores.board import ScoreSnapshot
    from router.tasks.classifier import TaskClassifier

logger = logging.getLogger("router")

MAX_CLOCK_SKEW = timedelta(minutes=5)
"""A snapshot published further in the future than this means that a clock is wrong."""
MAX_AGE = timedelta(minutes=5)
"""Plans hold the prices of the moment they were made. After this long they are made again."""
Errors = dict[str, IntelliRouterError | OSError]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Source(Protocol[T_co]):
    """A source of something that others change: state, ScoreSource, ClassifierSource."""

    def load(self) -> T_co:
        """The current value; IntelliRouterError when it is unusable."""

    def version(self) -> object:
        """Changes when `load` would return something else. It is cheap enough to read every second."""


class _Watched(Generic[T]):
    """The last usable value of a source."""

    def __init__(self, source: Source[T], value: T, version: object = None) -> None:
        self.value = value
        self._source = source
        self._version = version

    def poll(self) -> bool:
        """Load the value if it changed, and return whether it did. An error leaves the value as it was."""
        version = self._source.version()
        if version == self._version:
            return False
        self.value = self._source.load()
        self._version = version
        return True


class Refresher:
    """Owns the router's knowledge, and a thread that renews it."""

    def __init__(
        self,
        state: Source[State],
        scores: Source[ScoreSnapshot | None],
        classifier: Source[TaskClassifier | None] | None,
        *,
        settings: Settings,
        variables: Mapping[str, str],
        reload_limits: Callable[[], bool],
        on_state: Callable[[State], None],
    ) -> None:
        """ConfigError when the configuration is not usable. Unusable scores are only reported.

        `variables` hold the providers' keys. `reload_limits` reads limits.yaml if it changed.
        `on_state` is called with each new state, the first too.
        """
        self._variables = variables
        self._environment = settings.environment
        self._on_state = on_state
        self._interval_s = settings.scores_refresh_interval_s
        version = state.version()  # before the load: a change in between is seen at the next poll
        self._state = _Watched(state, state.load(), version)
        self._scores: _Watched[ScoreSnapshot | None] = _Watched(_Checked(scores), None)
        self._classifier = None if classifier is None else _Watched(classifier, None)
        self._polls = {
            "limits": reload_limits,
            "configuration": self._state.poll,
            "scores": self._scores.poll,
        }
        if self._classifier is not None:
            self._polls["task classifier"] = self._classifier.poll
        self.errors: Errors = {}
        """Why older `limits`, `configuration`, `scores` or `task classifier` are in use, by name."""
        on_state(self._state.value)
        self._made_at = datetime.now(UTC)
        self._budgets = ExplorationBudgets()
        self.knowledge = self._know(None)
        self._lock = threading.Lock()  # one refresh at a time, by the thread or a caller
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._refresh_quietly()
        self._thread = threading.Thread(target=self._refresh_forever, name="score-refresh", daemon=True)
        self._thread.start()

    def refresh(self) -> bool:
        """Take what changed, and return whether anything did. An unusable part raises and stays as it was."""
        with self._lock:
            errors: Errors = {}
            changed = set()
            for name, poll in self._polls.items():
                try:
                    if poll():
                        changed.add(name)
                except (IntelliRouterError, OSError) as error:
                    errors[name] = error
            is_news = errors.keys() != self.errors.keys()
            is_old = datetime.now(UTC) - self._made_at > MAX_AGE
            for name in sorted(changed | (self.errors.keys() - errors.keys())):
                logger.info("%s taken: %s", name, self._described(name))
            self.errors = errors
            if "configuration" in changed:
                self._on_state(self._state.value)
            if changed or is_news or is_old:
                self._made_at = datetime.now(UTC)
                self.knowledge = self._know(self.knowledge)
            if errors:
                raise next(iter(errors.values()))
            return bool(changed)

    def wake(self) -> None:
        """Let the thread refresh now, since something changed."""
        self._wake.set()

    def close(self) -> None:
        """Stop the thread; the knowledge stays."""
        self._closing.set()
        self._wake.set()
        self._thread.join()

    def _know(self, earlier: Knowledge | None) -> Knowledge:
        state = self._state.value
        standing = standing_exclusions(state.catalog, self._variables)
        board = ScoreBoard(self._scores.value, state.catalog, excluded=standing)
        if earlier is not None:
            board.warm(state.policies.by_id, earlier.board)
        return Knowledge(
            state,
            board,
            standing=standing,
            environment=self._environment,
            classifier=self._classifier.value if self._classifier else None,
            note="; ".join(f"the newest {name} cannot be used" for name in self.errors) or None,
            budgets=self._budgets,
        )

    def _described(self, name: str) -> str:
        """Which version of a part is in use now."""
        if name == "configuration":
            state = self._state.value
            parts = f"{len(state.catalog.models)} models, {len(state.policies.by_id)} policies"
            return f"{state.config_hash}, {parts}"
        if name == "scores":
            snapshot = self._scores.value
            return (
                "none"
                if snapshot is None
                else f"snapshot {snapshot.snapshot_id} of {snapshot.as_of:%Y-%m-%dT%H:%MZ}"
            )
        return "the newest version is in use"

    def _refresh_forever(self) -> None:
        while True:
            self._wake.wait(self._interval_s)
            self._wake.clear()
            if self._closing.is_set():
                return
            self._refresh_quietly()

    def _refresh_quietly(self) -> None:
        # Serving never waits for analytics: an unusable part is reported, and the router keeps the old
        # one. `errors` shows in /health, and each record's reason names it.
        before = {name: str(error) for name, error in self.errors.items()}
        try:
            self.refresh()
        except (IntelliRouterError, OSError):
            for name, problem in self.errors.items():
                if before.get(name) != str(problem):
                    logger.error("%s not refreshed: %s", name, problem)


class _Checked:
    """A source of snapshots that refuses those from the future."""

    def __init__(self, source: Source[ScoreSnapshot | None]) -> None:
        self._source = source
        self.version = source.version

    def load(self) -> ScoreSnapshot | None:
        snapshot = self._source.load()
        if snapshot is not None and snapshot.published_at > datetime.now(UTC) + MAX_CLOCK_SKEW:
            raise ScoresError(
                f"score snapshot `{snapshot.snapshot_id}` says it was published at"
                f" `{snapshot.published_at.isoformat()}`, which is in the future: set the clock of this"
                " machine, or of the one that runs the pipelines, and run `intellirouter refresh`"
            )
        return snapshot
