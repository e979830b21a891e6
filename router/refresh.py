"""Keeping knowledge fresh: the configuration and the published scores, reread when they change."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from router.eligibility import standing_exclusions
from router.errors import IntelliRouterError, ScoresError
from router.knowledge import Knowledge
from router.scores import ScoreBoard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from router.scores import ScoreSnapshot, ScoreSource
    from router.state import State, StateSource

logger = logging.getLogger("router")

MAX_CLOCK_SKEW = timedelta(minutes=5)
"""A snapshot published later than this from now was made by a wrong clock, or ours is wrong."""
MAX_AGE = timedelta(minutes=5)
"""Plans hold the prices of the moment they were made; after this long they are made anew."""
Errors = dict[str, IntelliRouterError | OSError]


class Refresher:
    """Owns the router's knowledge, and a thread that renews it."""

    def __init__(
        self,
        state: StateSource,
        scores: ScoreSource,
        *,
        variables: Mapping[str, str],
        environment: str,
        interval_s: float,
        reload_limits: Callable[[], bool],
        on_state: Callable[[State], None],
    ) -> None:
        """ConfigError when the configuration is not usable at all; scores that are not are reported.

        `variables` hold the providers' keys, `environment` is the requests'. `reload_limits` reads
        limits.yaml if it changed. `on_state` hears of each new state, the first too.
        """
        self._state_source = state
        self._score_source = scores
        self._variables = variables
        self._environment = environment
        self._on_state = on_state
        self._reload_limits = reload_limits
        self._known_state: State | None = None
        self._interval_s = interval_s
        self._state_version = state.version()
        self._score_version: object = None
        self._made_at = datetime.now(UTC)
        self.errors: Errors = {}
        """Why the old `configuration` or the old `scores` were kept; empty when they were not."""
        self.knowledge = self._know(state.load(), None)
        self._lock = threading.Lock()  # one refresh at a time: the thread's, or a caller's
        self._closing = threading.Event()
        self._refresh_quietly()
        self._thread = threading.Thread(target=self._refresh_forever, name="score-refresh", daemon=True)
        self._thread.start()

    def refresh(self) -> bool:
        """Take what changed; whether anything did. What is unusable raises, and the old one is kept."""
        with self._lock:
            errors: Errors = {}
            try:
                are_limits_new = self._reload_limits()
            except (IntelliRouterError, OSError) as error:
                are_limits_new, errors["limits"] = True, error
            versions = self._state_source.version(), self._score_source.version()
            is_changed = are_limits_new or versions != (self._state_version, self._score_version)
            is_old = datetime.now(UTC) - self._made_at > MAX_AGE
            if not is_changed and not is_old:
                return False
            state, snapshot = self.knowledge.state, self.knowledge.board.snapshot
            if versions[0] != self._state_version:
                try:
                    state = self._state_source.load()
                    self._state_version = versions[0]
                except (IntelliRouterError, OSError) as error:
                    errors["configuration"] = error
            if versions[1] != self._score_version:
                try:
                    snapshot = _checked(self._score_source.load())
                    self._score_version = versions[1]
                except (IntelliRouterError, OSError) as error:
                    errors["scores"] = error
            is_news = errors.keys() != self.errors.keys()
            self.errors = errors
            if (
                is_news
                or is_old
                or state is not self.knowledge.state
                or snapshot is not self.knowledge.board.snapshot
            ):
                self.knowledge = self._know(state, snapshot)
            if errors:
                raise next(iter(errors.values()))
            return is_changed

    def close(self) -> None:
        """Stop the thread; the knowledge stays."""
        self._closing.set()
        self._thread.join()

    def _know(self, state: State, snapshot: ScoreSnapshot | None) -> Knowledge:
        if state is not self._known_state:
            self._on_state(state)
            self._known_state = state
        board = ScoreBoard(snapshot, state.catalog)
        board.warm(state.policies.by_id)
        self._made_at = datetime.now(UTC)
        return Knowledge(
            state,
            board,
            standing=standing_exclusions(state.catalog, self._variables),
            environment=self._environment,
            note="; ".join(f"the newest {name} cannot be used" for name in self.errors) or None,
        )

    def _refresh_forever(self) -> None:
        while not self._closing.wait(self._interval_s):
            self._refresh_quietly()

    def _refresh_quietly(self) -> None:
        # Serving never waits for analytics: what is unusable is reported and the router goes on
        # with what it has. `errors` shows in /health, and each record's reason names it.
        before = {name: str(error) for name, error in self.errors.items()}
        try:
            self.refresh()
        except (IntelliRouterError, OSError):
            for name, problem in self.errors.items():
                if before.get(name) != str(problem):
                    logger.error("%s not refreshed: %s", name, problem)


def _checked(snapshot: ScoreSnapshot | None) -> ScoreSnapshot | None:
    if snapshot is not None and snapshot.published_at > datetime.now(UTC) + MAX_CLOCK_SKEW:
        raise ScoresError(
            f"score snapshot `{snapshot.snapshot_id}` says it was published at"
            f" `{snapshot.published_at.isoformat()}`, which is to come: set this machine's clock, or the one"
            " of the machine that runs the pipelines, and run `intellirouter refresh`"
        )
    return snapshot
