"""The copy of the published warehouse in PostgreSQL. It has a job of its own, so that no refresh waits."""

# No `from __future__ import annotations`: Dagster reads the type of `context` when it is decorated.
import dagster as dg

from pipelines.copies.mirror import checked, is_current, mirror
from router.config import Settings


@dg.asset(deps=["published_warehouse"], group_name="publish", kinds={"postgres"})
def postgres_mirror(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """The tables of the published warehouse in the PostgreSQL server that MIRROR_URL names."""
    settings = Settings.load()
    if settings.mirror_url is None:
        return dg.MaterializeResult(metadata={"note": "MIRROR_URL is not set: nothing is copied"})
    result = mirror(settings)
    for note in result.notes:
        context.log.warning(note)
    checked(result)
    return dg.MaterializeResult(
        metadata={
            "target": result.target,
            "tables": result.tables,
            "rows": dg.MetadataValue.json(result.rows),
            "parts_copied": result.parts_copied,
            "parts_removed": result.parts_removed,
        }
    )


def waits() -> bool:
    """Whether there is a mirror, and it is older than the published warehouse."""
    return not is_current(Settings.load())
