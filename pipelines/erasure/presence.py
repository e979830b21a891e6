"""Whether an id of a person is known at all, so that a misspelt one gets no certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.erasure import leftovers, tombstones
from pipelines.erasure.persons import Doomed
from pipelines.erasure.search import search
from pipelines.erasure.tombstones import Key

if TYPE_CHECKING:
    from pipelines.erasure.persons import Trace
    from router.config import Settings


def is_known(settings: Settings, user: str, trace: Trace, *, organization: str | None = None) -> bool:
    """Whether the lake, a journal, a tombstone or any other file under the data folder shows the person.

    `trace` is their erasure's preview. With an organisation, other files do not count: they may show the
    person in another one.
    """
    pending = leftovers.pending_journals(settings, Doomed.sought(user, organization))
    if trace.rows or pending or _is_erased(settings, user):
        return True
    return organization is None and bool(search([settings.home], [user]).hits)


def _is_erased(settings: Settings, user: str) -> bool:
    """Whether an earlier erasure removed the person. It may be repeated."""
    if not (settings.erasures / "key").exists():
        return False
    person = Key.of(settings).hash(user)
    return any(item.person == person for item in tombstones.standing(settings))
