"""The doctor's check of the mirror in PostgreSQL: whether it is there, and holds the segments of the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.copies.postgres import Target, checked_url
from pipelines.doctor.findings import error, warning
from pipelines.errors import CopyError
from router.errors import IntelliRouterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

    from pipelines.doctor.findings import Finding
    from router.config import Settings

UNDEFINED_TABLE = "42P01"
_FOLLOW = "run `intellirouter refresh`, then `intellirouter mirror`"


def mirror(settings: Settings, wanted: Mapping[str, Set[str]]) -> Iterator[Finding]:
    """Compare the mirror's ledger with the segments whose rows it should hold, by dataset."""
    if settings.mirror_url is None:
        return
    try:
        url = checked_url(settings.mirror_url.get_secret_value())
        with Target(url, settings.mirror_schema, lock_wait_s=None) as target:
            held = {dataset: _held(target, dataset) for dataset in wanted}
            shown = target.shown
    except IntelliRouterError as problem:
        yield error(
            "the mirror cannot be read",
            problem,
            "start its server, or correct MIRROR_URL. Until then its readers see old rows, erased ones too",
        )
        return
    for dataset, names in wanted.items():
        if lacking := names - held[dataset]:
            yield warning(
                "the mirror is behind the lake",
                f"`{shown}` lacks {len(lacking)} segments of `{dataset}`, the last is `{max(lacking)}`",
                _FOLLOW,
            )
        if gone := held[dataset] - names:
            yield warning(
                "the mirror holds rows that were erased, expired or merged",
                f"`{shown}` holds {len(gone)} such segments of `{dataset}`, the last is `{max(gone)}`",
                _FOLLOW,
            )


def _held(target: Target, dataset: str) -> set[str]:
    """The segments that the copy of a table holds. None before the first run of the mirror."""
    try:
        with target.transaction(f"read the ledger of `{dataset}`"):
            return {part for part, *_ in target.run("known_parts", dataset)}
    except CopyError as problem:
        if problem.sqlstate == UNDEFINED_TABLE:
            return set()
        raise
