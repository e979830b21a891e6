"""The mart `security_events_daily`, from the refusals that are still kept.

Security events have a period of their own. Retention seals the days that it removes in the lake before
it removes them. Those days keep their rows of the mart, and later days are computed from the table.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.warehouse.archive import OWN_PERIOD, archived_days, midnight
from pipelines.warehouse.sqlfiles import delete_between

if TYPE_CHECKING:
    from pipelines.warehouse.warehouse import Warehouse

MART = "security_events_daily"
FIRST_DAY = datetime(1970, 1, 1, tzinfo=UTC)
LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)


def build_security_events_daily(warehouse: Warehouse) -> int:
    """Compute the days that are not archived again, unless nothing changed. Return the changed rows."""
    sealed = archived_days(warehouse.settings.lake, MART)
    first = midnight(max(sealed) + timedelta(days=1)) if sealed else FIRST_DAY
    warehouse.run("marts/security_events_found", first=first)
    changed = warehouse.run("marts/security_events_changed", first=first).fetchone()
    count = int(changed[0]) if changed else 0
    if count:
        with warehouse.transaction():
            warehouse.run(delete_between(MART, OWN_PERIOD[MART]), start=first, end=LAST_DAY)
            warehouse.run("marts/security_events_daily")
    return count
