"""Faults that the router's memory shows: each with its part, its reason, and whether it stops requests."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from router.errors import JournalError, NoEligibleModelError, RequestError
from router.request.embeddings import EmbeddingRequest
from router.request.request import Request
from router.serving.admission import route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from router.serving.parts import Parts

PROBE = "2 + 2?"
DRAW = 0.5
MAX_SHOWN = 8
"""Models that a reason lists."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it must be."""

    part: str
    """`models`, `journal`, `disk`, `limits`, `configuration`, `scores`, `task classifier`, `warehouse`,
    `sessions`, `keys` or `load`."""
    reason: str
    is_blocking: bool = False
    """Whether no request can succeed until it is gone."""

    def __str__(self) -> str:
        return f"{self.part}: {self.reason}"

    def facts(self) -> dict[str, Any]:
        """For the health report."""
        return asdict(self)


def status_of(faults: Iterable[Fault]) -> dict[str, Any]:
    """The members `status`, `ready` and `faults` of a health report."""
    found = list(faults)
    return {
        "status": "degraded" if found else "ok",
        "ready": not any(fault.is_blocking for fault in found),
        "faults": [fault.facts() for fault in found],
    }


def faults_of(parts: Parts) -> Iterator[Fault]:
    """The faults now. It reads memory only, unless the last append to the journal failed."""
    yield from _journal(parts)
    yield from _models(parts)
    error = parts.limits.error
    if error is not None:
        yield limits_fault(
            str(error), on_error=parts.settings.limits_on_error, serves_away=parts.limits.serves_away
        )
    lost = getattr(parts.sessions, "error", None)  # of the stores that can lose sight of others
    if lost is not None:
        yield Fault("sessions", lost)
    history_error = parts.refresher.knowledge.state.history_error
    if history_error is not None:
        reason = f"the configuration in use is not in its history: {history_error}"
        yield Fault("history", f"{reason}. Records carry a hash that `config show` cannot resolve")
    for name, problem in parts.refresher.errors.items():
        yield Fault(name, f"{problem}. The last usable version stays in use")


def limits_fault(reason: str, *, on_error: str, serves_away: bool = False) -> Fault:
    """Limits cannot be checked: leases, and LIMITS_ON_ERROR, say what that means for requests."""
    if serves_away:
        return Fault("limits", f"{reason}. Requests are served within the leases of their budgets")
    if on_error == "refuse":
        return Fault("limits", reason, is_blocking=True)
    return Fault("limits", f"{reason}. Requests are served unchecked, as LIMITS_ON_ERROR says")


def _journal(parts: Parts) -> Iterator[Fault]:
    is_refusing = parts.settings.journal_on_error == "refuse"
    sink = parts.recorder.sink
    try:
        sink.check_writable()
    except JournalError as error:
        yield Fault("journal", str(error), is_blocking=is_refusing)
        return
    if sink.error is not None:
        yield Fault("journal", f"records are kept and not sealed: {sink.error}")


def _models(parts: Parts) -> Iterator[Fault]:
    knowledge = parts.refresher.knowledge
    models = knowledge.state.catalog.models
    candidates = models.keys() - knowledge.standing.keys()
    failing = {name: why for name, why in parts.breaker.failing().items() if name in candidates}
    if not candidates:
        yield Fault("models", f"no model can be asked: {_listed(knowledge.standing)}", is_blocking=True)
    elif len(failing) == len(candidates):
        yield Fault("models", f"every model that can be asked fails: {_listed(failing)}", is_blocking=True)
    else:
        if failing:
            yield Fault("models", f"{len(failing)} of {len(candidates)} models fail: {_listed(failing)}")
        refusal = _refusal(parts)
        if refusal is not None:
            yield refusal


def _refusal(parts: Parts) -> Fault | None:
    """The fault if a plain request is refused, and one for vectors too."""
    try:
        route(parts, Request(messages=[{"role": "user", "content": PROBE}]), draw=DRAW)
    except RequestError as error:
        if isinstance(error, NoEligibleModelError) and _embeds(parts):
            return None
        return Fault("models", str(error), is_blocking=True)
    return None


def _embeds(parts: Parts) -> bool:
    try:
        route(parts, EmbeddingRequest(input=PROBE), draw=DRAW)
    except RequestError:
        return False
    return True


def _listed(reasons: Mapping[str, str]) -> str:
    shown = [f"`{name}`: {reason}" for name, reason in list(reasons.items())[:MAX_SHOWN]]
    more = len(reasons) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
