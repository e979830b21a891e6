"""The doctor's check of the object store: whether it is there, and each host has its rounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.doctor.findings import error, warning
from pipelines.store.objects import Objects
from pipelines.store.rounds import last_rounds
from router.errors import IntelliRouterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.doctor.findings import Finding
    from router.config import Settings

LATE = timedelta(hours=1)
"""A host without a round for so long does not follow erasures, and its requests are missing elsewhere."""


def store(settings: Settings, *, now: datetime | None = None) -> Iterator[Finding]:
    """Name the hosts that have not been in line with the store for a while."""
    if settings.lake_url is None:
        return
    try:
        rounds = last_rounds(Objects.open(settings.lake_url))
    except IntelliRouterError as problem:
        yield error("the object store cannot be read", problem, "start it, or correct LAKE_URL")
        return
    moment = now or datetime.now(UTC)
    for item in rounds:
        if moment - datetime.fromisoformat(item.at) > LATE:
            yield warning(
                "a host does not share the lake",
                f"`{item.host}` had its last round at {item.at}",
                "start `intellirouter sync --every 60` there. If the host is gone, remove its object below"
                f" `{settings.lake_url}/hosts/`",
            )
    if not any(item.derives for item in rounds):
        yield warning(
            "no host publishes scores to the others",
            f"none of {len(rounds)} hosts derives for `{settings.lake_url}`",
            "run `intellirouter sync --derive --every 60` on the host of the jobs",
        )
