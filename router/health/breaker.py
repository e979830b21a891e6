"""Breakers: a model or a provider that fails is left out for a while, after Envoy's outlier rules.

A model is ejected after several failures in a row, or if too large a share of a sliding window failed.
It stays out for a time that grows with each ejection. Then one request tries it: a success restores it,
a failure ejects it for longer. A whole provider is ejected if it refuses our key, or if several of its
models fail with no success in between. Only a limited share of the models may be out, and never the
last one: those ejected first stay out, the others serve in spite of their ejection.

Of a model or provider that another router ejected (`router.health.news`), one failure is enough.

Refusals (`bad_request`, `content_filter`) and `cancelled` say nothing about a model and are not counted. A
decision reads `view`, which takes no lock and reads the clock once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from math import inf
from random import random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from router.errors import TIMEOUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from router.catalog.catalog import Model
    from router.config import Settings

logger = logging.getLogger("router.health")

COUNTED = frozenset(
    {"attempt_timeout", "authentication", "bad_response", "connection", "model_gone", "overloaded",
     "rate_limited", "server_error", "stream_cut", "timeout"}
)  # fmt: skip
"""Error types that the provider causes, see `router.errors.ProviderError`."""
WINDOW_SLOTS = 10
CONFIRMED_AFTER_S = 10.0
"""A failure confirms another router's ejection if the last success here is so long ago. A model that has just
answered here may be out there for a fault of that router's network."""
PROBING = "it was ejected, and the request that tries it again is under way"
_BEGINNINGS = (
    "it is ejected",
    "it was ejected",
    "it is rate limited: its",
    "provider `",
    "several models of",
)
"""The beginnings of every reason of a breaker."""


def is_ejection(exclusion: str | None) -> bool:
    """Whether a candidate's exclusion is the reason of a breaker."""
    return exclusion is not None and exclusion.startswith(_BEGINNINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a model is ejected, and for how long."""

    consecutive_failures: int = 5
    failure_share: float = 0.25
    """A model is ejected if at least this share of the window's requests failed."""
    minimum_requests: int = 20
    """Fewest requests in the window for which the share counts."""
    window_s: float = 60.0
    base_ejection_s: float = 30.0
    """Times the number of ejections so far. Each healthy period of this length takes one off."""
    max_ejection_s: float = 300.0
    jitter: float = 0.1
    """An ejection lasts up to this share longer, so that routers do not all come back at once."""
    max_ejected_share: float = 0.5
    """Largest share of the served models that may be out; 0 turns ejection off."""
    probe_timeout_s: float = 120.0
    """A probe that never reports keeps its model out no longer than this."""
    fair_timeout_s: float = 0.0
    """A timeout counts against a model only if it had at least this long to answer."""

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
            # A little less than the first of several models gets, so that its timeout counts.
            fair_timeout_s=min(0.45 * settings.request_timeout_s, 0.9 * (settings.attempt_timeout_s or inf)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ejections:
    """The models that are left out at one moment. It is immutable."""

    epoch: int
    """It changes whenever `models` changes, so you can use it as a cache key."""
    models: Mapping[str, str]
    """Model to reason."""


class Breaker:
    """The health of the catalog's models, from the outcomes of their calls. It is safe for any thread.

    `models` with the availability_status `unavailable` are not watched. Those with `degraded` are
    ejected after half as many failures in a row.
    """

    def __init__(
        self,
        models: Iterable[Model],
        rules: BreakerRules | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = rules or BreakerRules()
        self._clock = clock
        self._lock = threading.Lock()
        self._models: dict[str, Model] = {}
        self._by_model: dict[str, Target] = {}
        self._by_provider: dict[str, Target] = {}
        """Providers of two or more models. The health of a provider's only model is the provider's health."""
        self._heard: dict[str, str] = {}
        """Targets that other routers ejected, by name, and why."""
        self._next_change = inf
        self._view = Ejections(epoch=0, models=MappingProxyType({}))
        self.watch(models)

    def watch(self, models: Iterable[Model]) -> None:
        """Watch these models from now on. Models that stay keep their state."""
        with self._lock:
            self._models = {model.id: model for model in models if model.availability_status != "unavailable"}
            self._by_model = {name: self._by_model.get(name) or Target() for name in self._models}
            providers = [model.provider for model in self._models.values()]
            shared = {name for name in providers if providers.count(name) > 1}
            self._by_provider = {name: self._by_provider.get(name) or Target() for name in shared}
            self._publish(self._clock())

    def view(self) -> Ejections:
        """The models that are left out now."""
        now = self._clock()
        if now >= self._next_change:
            with self._lock:
                self._publish(now)
        return self._view

    def failing(self) -> dict[str, str]:
        """Models whose latest calls all failed, whether or not the cap keeps them in service, and why.

        A model whose next request tries it again is not among them.
        """
        self.view()
        with self._lock:
            limit = (self.rules.consecutive_failures + 1) // 2
            return {
                model: target.reason
                for model in self._models
                for target in self._targets(model)
                if target.reason is not None
                and not target.is_on_probation
                and (target.consecutive >= limit or target.is_condemned or target.is_waiting)
            }

    def begin(self, model: str) -> bool:
        """Ask to start a call to the model; False when it must wait for another request's probe.

        If it returns True, you must call `record` with the outcome.
        """
        self.view()
        targets = self._targets(model)
        if not any(target.is_on_probation for target in targets):
            return True
        with self._lock:
            now = self._clock()
            trials = [target for target in targets if target.is_on_probation]
            if any(target.probe_until > now for target in trials):
                return model not in self._view.models  # the cap may keep it in service
            for target in trials:
                target.probe_until = now + self.rules.probe_timeout_s
            self._publish(now)
        return True

    def record(
        self,
        model: str,
        *,
        success: bool,
        error_type: str | None = None,
        latency_ms: float | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Record the outcome of a call. `error_type` is ProviderError's. Other types are the caller's."""
        with self._lock:
            now = self._clock()
            targets = self._targets(model)
            if not targets:
                return  # it has left the catalog
            if now >= self._next_change:
                self._publish(now)
            was_healthy = all(target.reason is None for target in targets)
            if success:
                self._succeed(model, targets, now)
            elif error_type not in COUNTED or self._is_unfair(model, error_type, latency_ms):
                for target in targets:
                    target.probe_until = 0.0  # this outcome says nothing: the next request is the probe
            else:
                self._fail(model, error_type or "", retry_after_s, now)
            if not was_healthy or any(target.reason is not None for target in targets):
                self._publish(now)

    def names(self) -> list[str]:
        """The models and providers that are watched, by the names that routers share."""
        with self._lock:
            return list(self._named())

    def ejected(self) -> dict[str, tuple[str, float]]:
        """The models and providers that are ejected for failures here: why, and for how many more seconds."""
        self.view()
        with self._lock:
            now = self._clock()
            return {
                name: (target.reason, target.until - now)
                for name, target in self._named().items()
                if target.reason is not None and not target.is_on_probation and target.until > now
            }

    def hear(self, reasons: Mapping[str, str]) -> None:
        """Take the ejections of other routers, in place of those heard before."""
        with self._lock:
            self._heard = dict(reasons)

    def snapshot(self) -> dict[str, Any]:
        """A report for people: the models that are out, why, and for how much longer."""
        view = self.view()
        with self._lock:
            now = self._clock()
            targets = {
                **{f"provider {name}": target for name, target in self._by_provider.items()},
                **self._by_model,
            }
            return {
                "ejected": dict(view.models),
                "ejected_elsewhere": dict(self._heard),
                "breakers": {
                    name: {
                        "reason": target.reason,
                        "state": "half_open" if target.is_on_probation else "open",
                        "remaining_s": round(max(target.until - now, 0.0), 1),
                        "ejections": target.level,
                    }
                    for name, target in targets.items()
                    if target.reason is not None
                },
            }

    def _named(self) -> dict[str, Target]:
        return {
            **{f"model `{name}`": target for name, target in self._by_model.items()},
            **{f"provider `{name}`": target for name, target in self._by_provider.items()},
        }

    def _targets(self, model: str) -> tuple[Target, ...]:
        known = self._models.get(model)
        if known is None:
            return ()
        provider = self._by_provider.get(known.provider)
        own = self._by_model[model]
        return (own,) if provider is None else (own, provider)

    def _is_unfair(self, model: str, error_type: str | None, latency_ms: float | None) -> bool:
        """Whether earlier tries left the model too little time for its timeout to count."""
        if error_type not in TIMEOUTS or latency_ms is None:
            return False
        known = self._models.get(model)
        own_s = known.attempt_timeout_s if known is not None else None
        return latency_ms < 1000.0 * min(self.rules.fair_timeout_s, 0.9 * (own_s or inf))

    def _succeed(self, model: str, targets: Iterable[Target], now: float) -> None:
        for target in targets:
            # An answer to a call from before the ejection does not end it. The answer to a probe does,
            # and so does the answer of a model that the cap keeps in service.
            if target.reason is not None and (target.is_on_probation or model not in self._view.models):
                target.restore(now)
                logger.info("%s is back: model `%s` answered", self._name_of(target, model), model)
            target.count(now, self.rules, success=True)

    def _fail(self, model: str, error_type: str, retry_after_s: float | None, now: float) -> None:
        own, *shared = self._targets(model)
        is_refused = error_type == "authentication"
        if error_type == "rate_limited" and retry_after_s:
            if not own.is_out() or own.is_on_probation:
                seconds = min(retry_after_s, self.rules.max_ejection_s)
                own.wait(now, seconds, f"it is rate limited: its provider asked to wait {seconds:g} s")
                self._log_ejection(own, model, now)
            for provider in shared:
                provider.probe_until = 0.0
            return
        own.count(now, self.rules, success=False)
        if own.is_on_probation or (own.reason is None and (is_refused or self._is_outlier(model, now))):
            is_confirmed = self._confirms(own, model, now)
            reason = _reason(own.consecutive, error_type, is_confirmed=is_confirmed)
            own.eject(now, self.rules, reason, is_condemned=is_refused)
            self._log_ejection(own, model, now)
        for provider in shared:
            self._fail_provider(model, provider, error_type, now)

    def _fail_provider(self, model: str, provider: Target, error_type: str, now: float) -> None:
        successes, _ = provider.in_window(now, self.rules)
        provider.count(now, self.rules, success=False)
        name, ejections = self._models[model].provider, provider.ejected_at
        is_refused = error_type == "authentication"
        if provider.is_on_probation:
            provider.eject(now, self.rules, f"provider `{name}` failed again: `{error_type}`")
            own = self._by_model[model]
            if own.reason is not None:  # so that another model makes the next probe of the provider
                own.until = max(own.until, provider.until + self.rules.base_ejection_s)
        elif provider.reason is None and is_refused and not successes:
            provider.eject(now, self.rules, f"provider `{name}` refuses our key", is_condemned=True)
        elif provider.reason is None and (
            self._confirms(provider, model, now) or self._is_down(name, provider)
        ):
            provider.eject(now, self.rules, f"several models of provider `{name}` fail: `{error_type}`")
        if provider.ejected_at != ejections:
            self._log_ejection(provider, model, now)

    def _name_of(self, target: Target, model: str) -> str:
        is_own = target is self._by_model[model]
        return f"model `{model}`" if is_own else f"provider `{self._models[model].provider}`"

    def _log_ejection(self, target: Target, model: str, now: float) -> None:
        seconds = target.until - now
        logger.warning("%s is left out for %.0f s: %s", self._name_of(target, model), seconds, target.reason)

    def _is_outlier(self, model: str, now: float) -> bool:
        target, rules = self._by_model[model], self.rules
        limit = rules.consecutive_failures
        if self._models[model].availability_status == "degraded":
            limit = (limit + 1) // 2
        if self._confirms(target, model, now):
            limit = 1
        successes, failures = target.in_window(now, rules)
        total = successes + failures
        return target.consecutive >= limit or (
            total >= rules.minimum_requests and failures >= rules.failure_share * total
        )

    def _confirms(self, target: Target, model: str, now: float) -> bool:
        """Whether a failure of the model confirms an ejection of the target by another router."""
        is_heard = self._name_of(target, model) in self._heard
        return is_heard and now - target.succeeded_at > CONFIRMED_AFTER_S

    def _is_down(self, name: str, provider: Target) -> bool:
        failing = [
            model
            for model, target in self._by_model.items()
            if self._models[model].provider == name and target.consecutive >= 2
        ]
        return provider.consecutive >= self.rules.consecutive_failures and len(failing) >= 2

    def _publish(self, now: float) -> None:
        """Apply the passage of time, and update the view."""
        targets = [*self._by_model.values(), *self._by_provider.values()]
        for target in targets:
            target.advance(now)
        self._next_change = min((target.next_change() for target in targets), default=inf)
        out = sorted(self._out(), key=lambda item: (not item.is_condemned, item.ejected_at, item.model))
        models = {item.model: item.reason for item in out[: self._most()]}
        if models != self._view.models:
            self._view = Ejections(epoch=self._view.epoch + 1, models=MappingProxyType(models))

    def _out(self) -> Iterator[_Out]:
        """Every model that is out, in the catalog's order."""
        for model in self._models:
            out = [target for target in self._targets(model) if target.is_out()]
            if out:
                first = min(out, key=lambda target: (not target.is_condemned, target.ejected_at))
                reason = PROBING if first.is_on_probation else first.reason or ""
                yield _Out(model, reason, first.is_condemned, first.ejected_at)

    def _most(self) -> int:
        """Most models that may be out: at least one, so that two models suffice, and never all."""
        if self.rules.max_ejected_share <= 0:
            return 0
        count = len(self._models)
        return min(max(int(self.rules.max_ejected_share * count), 1), max(count - 1, 0))


class _Out(NamedTuple):
    """A model that is out. If not all may be out, condemned models come first, then the earliest ejected."""

    model: str
    reason: str
    is_condemned: bool
    ejected_at: float


def _reason(consecutive: int, error_type: str, *, is_confirmed: bool) -> str:
    if is_confirmed:
        return f"it is ejected after `{error_type}` here and its ejection by another router"
    row = f"{consecutive} failures in a row, the last" if consecutive > 1 else "too many failures, the last"
    return f"it is ejected after {row} `{error_type}`"


@dataclass(slots=True)
class Target:
    """The recent outcomes and the ejections of one model, or of one provider.

    healthy ──failures──► ejected ──time──► on probation ──success──► healthy
                             ▲                   │
                             └─────failure───────┘   for longer
    """

    consecutive: int = 0
    slots: deque[list[int]] = field(default_factory=lambda: deque(maxlen=WINDOW_SLOTS))
    """[slot number, successes, failures], oldest first."""
    level: int = 0
    """Ejections so far, less one for each healthy period."""
    ejected_at: float = 0.0
    until: float = 0.0
    reason: str | None = None
    """Why it is out or on probation; None while it is healthy."""
    is_condemned: bool = False
    """Whether our key was refused. If not all may be out, condemned models come first."""
    is_waiting: bool = False
    """Whether it is out because its provider asked to wait."""
    is_on_probation: bool = False
    probe_until: float = 0.0
    """Until when a probe is awaited; 0 when none is in progress."""
    restored_at: float = 0.0
    succeeded_at: float = -inf

    def is_out(self) -> bool:
        return self.reason is not None and (not self.is_on_probation or self.probe_until > 0)

    def count(self, now: float, rules: BreakerRules, *, success: bool) -> None:
        self.consecutive = 0 if success else self.consecutive + 1
        if success:
            self.succeeded_at = now
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
        """Stay out as long as the provider asked. This is not a fault, so the level stays."""
        self._out(now, seconds, reason)
        self.is_waiting = True

    def _out(self, now: float, seconds: float, reason: str) -> None:
        self.ejected_at, self.until, self.reason = now, now + seconds, reason
        self.is_on_probation, self.probe_until, self.is_waiting = False, 0.0, False
        self.slots.clear()

    def restore(self, now: float) -> None:
        self.reason, self.is_on_probation, self.is_condemned = None, False, False
        self.probe_until, self.restored_at, self.consecutive = 0.0, now, 0
        self.slots.clear()

    def next_change(self) -> float:
        """The next moment at which the passage of time changes something."""
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
