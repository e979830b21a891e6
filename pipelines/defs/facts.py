"""The facts that a materialisation shows: rows, money, quality, and the last rows of the table.

Dagster draws a chart of every number over the runs. It keeps metadata after a person is erased, so no
column here can hold a user, a session, a prompt or a caller's own text. A fact costs milliseconds: a
count, a small mart, or the last hour of a large table.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.warehouse import linked, linked_views, sqlfiles
from router.records import EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.warehouse.warehouse import Warehouse

ROWS = "dagster/row_count"
"""All rows of the table: Dagster shows this number next to the asset's name."""
PREVIEWS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "request_analytics": (
        "timestamp",
        (
            "timestamp",
            "organization_id",
            "task_type",
            "model_selected",
            "provider",
            "tokens_input",
            "tokens_output",
            "cost_usd",
            "latency_ms",
            "success",
            "is_exploration",
        ),
    ),
    "feedback": ("created_at", ("created_at", "metric", "value", "source")),
    "usage_quarter_hourly": (
        "quarter_hour",
        ("quarter_hour", "organization_id", "task_type", "model_selected", "requests", "cost_usd"),
    ),
    "task_cost_daily": (
        "day",
        (
            "day",
            "organization_id",
            "task_type",
            "model_selected",
            "requests",
            "requests_with_cost",
            "cost_usd",
            "quality_mean",
        ),
    ),
    "usage_by_org_daily": (
        "day",
        ("day", "organization_id", "requests", "requests_with_cost", "cost_usd", "quality_mean"),
    ),
    "security_events_daily": ("day", ("day", "organization_id", "kind", "code", "refusals")),
    "score_changes": (
        "changed_at",
        ("changed_at", "task_type", "model", "quality_before", "quality_after", "z", "source"),
    ),
    "anomalies": (
        "detected_at",
        ("detected_at", "scope", "metric", "since", "ended_at", "expected", "seen"),
    ),
    "budget_status": (
        "as_of",
        (
            "budget_id",
            "organization_id",
            "period",
            "limit_usd",
            "spent_usd",
            "remaining_usd",
            "projected_usd",
        ),
    ),
    "model_prices": (
        "valid_from",
        ("valid_from", "model", "input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok"),
    ),
}
"""The moment and the safe columns of each table that shows its last rows."""
LARGE = ("request_analytics", "feedback", "usage_quarter_hourly")
"""Tables that grow with the traffic: their preview reads only the last hour."""
RECENT = timedelta(hours=1)
DIGITS = 6


def table_facts(
    warehouse: Warehouse, table: str, *, newest: datetime | None = None
) -> dict[str, dg.MetadataValue]:
    """All rows of a table, and its last ones. `newest` is the newest record's moment."""
    rows = linked.count(warehouse, table) if table in linked_views.ADDED else warehouse.count(table)
    facts: dict[str, dg.MetadataValue] = {ROWS: dg.MetadataValue.int(rows)}
    if table in PREVIEWS:
        moment, columns = PREVIEWS[table]
        start = EPOCH if table not in LARGE else (newest or datetime.now(UTC)) - RECENT
        file = sqlfiles.load("tables/last_rows", table=table, moment=moment, columns=columns)
        facts["last_rows"] = _shown(warehouse, file, start=start)
    return facts


def newest_request(warehouse: Warehouse) -> datetime | None:
    """The moment of the newest loaded request, from the ledger. None without any."""
    return lake_facts(warehouse)[1]


def lake_facts(warehouse: Warehouse) -> tuple[dict[str, dg.MetadataValue], datetime | None]:
    """The loaded segments of the lake with their rows, and the moment of the newest request if any."""
    row = _row(warehouse, "marts/shown_lake")
    moment = row.get("last_request_at")
    return _numbers(row), moment if isinstance(moment, datetime) else None


def loop_facts(warehouse: Warehouse, newest: datetime | None) -> dict[str, dg.MetadataValue]:
    """The scores by which the requests of the newest hour were decided."""
    if newest is None:
        return {}
    return _numbers(_row(warehouse, "marts/shown_loop", start=newest - RECENT))


def cost_facts(warehouse: Warehouse) -> dict[str, dg.MetadataValue]:
    """Requests, US dollars, requests of unknown cost and quality: the last day's, and those of 30 days."""
    return _numbers(_row(warehouse, "marts/shown_costs", today=datetime.now(UTC).date()))


def score_facts(warehouse: Warehouse) -> dict[str, dg.MetadataValue]:
    """Quality and cost over all models, and the most used rows."""
    rows = _shown(warehouse, sqlfiles.load("marts/shown_score_rows"))
    return _numbers(_row(warehouse, "marts/shown_scores")) | {"most_used_rows": rows}


def savings_facts(warehouse: Warehouse) -> dict[str, dg.MetadataValue]:
    """The saving in US dollars with its interval, or the reason why it is not known, and its rows."""
    rows = _shown(warehouse, sqlfiles.load("marts/shown_saving_rows"))
    return _numbers(_row(warehouse, "marts/shown_savings")) | {"rows": rows}


def table_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dg.MetadataValue:
    """Rows as the table that the UI opens."""
    schema = dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in columns])
    records = [
        dg.TableRecord({name: _text(value) for name, value in zip(columns, row, strict=True)}) for row in rows
    ]
    return dg.MetadataValue.table(records, schema=schema)


def _shown(warehouse: Warehouse, file: sqlfiles.SqlFile, **parameters: Any) -> dg.MetadataValue:
    found = warehouse.run(file, **parameters)
    columns = [item[0] for item in found.description or []]
    return table_of(columns, found.fetchall())


def _row(warehouse: Warehouse, file: str, **parameters: Any) -> dict[str, Any]:
    found = warehouse.run(file, **parameters)
    names = [item[0] for item in found.description or []]
    row = found.fetchone()
    return {} if row is None else dict(zip(names, row, strict=True))


def _numbers(row: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    """Numbers are charted. An unknown value has no entry, and so no point in the chart."""
    facts: dict[str, dg.MetadataValue] = {}
    for name, value in row.items():
        if isinstance(value, int):
            facts[name] = dg.MetadataValue.int(value)
        elif isinstance(value, float | Decimal):
            whole = isinstance(value, Decimal) and value == value.to_integral_value() and "usd" not in name
            facts[name] = (
                dg.MetadataValue.int(int(value))
                if whole
                else dg.MetadataValue.float(round(float(value), DIGITS))
            )
        elif value is not None:
            facts[name] = dg.MetadataValue.text(_text(value))
    return facts


def _text(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float | Decimal):
        return f"{round(value, DIGITS):f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
    return str(value)
