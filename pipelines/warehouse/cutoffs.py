"""Takes back a cutoff of retention that lies in the future.

Retention sets its cutoff by a clock. If that clock was wrong, the load would take all traffic for
expired until that day comes. Days that it sealed stay closed: their rows are gone, and a fold of later
rows would lose them.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.warehouse import archive, sqlfiles

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse

SEALED = "usage_quarter_hourly"
"""The table whose archive tells the days that are sealed."""
logger = logging.getLogger("pipelines.warehouse")


def take_back_future_cutoff(warehouse: Warehouse) -> None:
    """Lower a cutoff after the present. Segments that it kept out of days without a seal load again."""
    now = datetime.now(UTC)
    expired_before = warehouse.value(sqlfiles.load("retention/expired_before"))
    if expired_before is None or expired_before <= now:
        return
    period = (now - timedelta(days=warehouse.settings.retention_days)).date()
    sealed = archive.part_names(warehouse.settings.lake, SEALED)
    after = (day + timedelta(days=1) for day in sealed if day < now.date())
    cutoff = archive.midnight(max([period, *after]))
    logger.warning(
        "retention ran under a wrong clock: its cutoff %s is in the future. It becomes %s, and later"
        " segments load again",
        expired_before,
        cutoff,
    )
    with warehouse.transaction():
        warehouse.run("retention/take_back_cutoff", cutoff=cutoff, now=now)
        warehouse.run("retention/take_back_expired", cutoff=cutoff)
        warehouse.run(sqlfiles.load("tables/clear", table="pipeline.settled_folders"))
