"""`Parts`: the long-lived objects that all requests of a router share."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from router.configuration.limits_in_force import LimitsInForce
from router.configuration.opening import open_router_state
from router.decision.refresh import Refresher
from router.decision.state import ConfiguredState
from router.health.breaker import Breaker, BreakerRules
from router.health.news import HealthNews
from router.journal.journal import Journal
from router.limits.limits import Limits
from router.providers.registry import Providers
from router.scores.board import ScoreFile
from router.serving.fallback import Retries
from router.serving.recording import Recorder
from router.sessions.opening import open_sessions
from router.sessions.sessions import close_connections
from router.tasks.classifier import ClassifierSource
from router.tasks.features import FeatureSpace, load_key
from router.telemetry import open_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from router.config import Settings
    from router.configuration.source import StateSource
    from router.serving.recording import Observer
    from router.sessions.sessions import SessionStore


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Objects that all requests share. They are safe for many threads and event loops."""

    settings: Settings
    refresher: Refresher
    """Holds the `knowledge` that decisions read, and renews it."""
    state: StateSource
    """The documents in force and their history."""
    limits: Limits
    sessions: SessionStore
    breaker: Breaker
    news: HealthNews | None
    """The exchange of ejections with other routers; None without Redis."""
    providers: Providers
    retries: Retries
    recorder: Recorder
    random: Random
    """For sampling, not for secrecy."""

    def close(self) -> None:
        """Stop the refresh, seal the journal and export the telemetry. You can call it twice."""
        if self.news is not None:
            self.news.close()
        self.refresher.close()
        if (close := getattr(self.state, "close", None)) is not None:
            close()
        self.limits.close()
        self.recorder.close()
        self.sessions.close()

    async def aclose_connections(self) -> None:
        """Close the connections of the running event loop."""
        await self.providers.aclose()
        await self.limits.aclose_connections()
        await close_connections(self.sessions)


def open_parts(
    settings: Settings,
    variables: Mapping[str, str],
    *,
    sessions: SessionStore | None,
    observers: Iterable[Observer],
    is_server: bool,
) -> Parts:
    """Open the parts of a router on the data folder. `variables` hold the providers' keys."""
    with ExitStack() as opened:
        journal = Journal(
            settings.home,
            seal_interval_s=settings.journal_seal_interval_s,
            max_bytes=settings.journal_max_bytes,
            sync=settings.journal_sync,
        )
        opened.callback(journal.close)
        features = _feature_space(settings)
        breaker = Breaker((), BreakerRules.of(settings))
        state = open_router_state(settings)
        if (close := getattr(state, "close", None)) is not None:
            opened.callback(close)
        limits = Limits.open(
            settings, None if settings.database_url is None else LimitsInForce(state, settings.home)
        )
        opened.callback(limits.close)
        limits.watch(journal.writer_id)
        refresher = Refresher(
            ConfiguredState(state, settings),
            ScoreFile(settings.scores_file),
            None if features is None else ClassifierSource(settings.classifier_file, features),
            settings=settings,
            variables=variables,
            reload_limits=limits.reload,
            on_state=lambda state: breaker.watch(state.catalog.models.values()),
        )
        opened.callback(refresher.close)
        if (listen := getattr(state, "listen", None)) is not None:
            listen(refresher.wake)
        if sessions is None:
            sessions = open_sessions(settings)
            opened.callback(sessions.close)
        news = None
        if settings.redis_url is not None:
            news = HealthNews(settings.redis_url.get_secret_value(), breaker)
            opened.callback(news.close)
            news.start()
        telemetry = open_telemetry(variables, environment=settings.environment, is_server=is_server)
        parts = Parts(
            settings=settings,
            refresher=refresher,
            state=state,
            limits=limits,
            sessions=sessions,
            breaker=breaker,
            news=news,
            providers=Providers(settings, variables),
            retries=Retries(settings.max_retries),
            recorder=Recorder(journal, settings, features=features, telemetry=telemetry, observers=observers),
            random=Random(settings.seed),  # noqa: S311 - sampling, not secrecy
        )
        opened.pop_all()
    return parts


def _feature_space(settings: Settings) -> FeatureSpace | None:
    """The feature space; None unless prompts are sampled or a classifier file exists."""
    if settings.task_sample_share == 0 and not settings.classifier_file.exists():
        return None
    return FeatureSpace(load_key(settings.features_key_file))
