"""No rollup's statement uses anything that one engine alone knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlglot

from pipelines.errors import EngineError
from pipelines.rollups import spark_sql
from pipelines.rollups.tables import HOURLY
from pipelines.warehouse import linked_views, sqlfiles
from router.records import DATASETS

START = datetime(2026, 10, 25, 1, tzinfo=UTC)
BOUNDS = {"start": START, "end": START + timedelta(hours=1)}


@pytest.mark.parametrize("table", HOURLY)
def test_a_statement_can_be_written_for_spark(table: str) -> None:
    """Every rollup's statement has only compared syntax, and no parameter is left open."""
    text = sqlfiles.load(f"rollups/{table}").text
    query = spark_sql.translated(text, {**BOUNDS, **HOURLY[table]}, decimals={"cost_usd"})
    assert ":" not in query.replace("01:00:00.000000+00:00", "").replace("02:00:00.000000+00:00", "")
    sqlglot.parse_one(query, read="spark")


@pytest.mark.parametrize("dataset", ["request_analytics", "feedback"])
def test_columns_of_every_schema_version_can_be_written_for_spark(dataset: str) -> None:
    """Files of earlier versions are read with the defaults of the contract."""
    statements = [sqlfiles.load(f"rollups/{table}").text for table in HOURLY]
    mentioned = set[str]().union(*map(spark_sql.names_in, statements))
    for version in range(1, DATASETS[dataset].SCHEMA_VERSION + 1):
        for name, text in linked_views.expressions(dataset, version).items():
            if name in mentioned:
                assert spark_sql.column(name, text).endswith(f" AS {name}")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("select md5_number_lower(id) from feedback", "md5_number_lower"),
        ("select a from x union all by name select a from y", "union by name"),
        ("select a from x union select a from y", "distinct rows"),
        ("select * exclude (a) from x", "star"),
        ("select a // 20 from x", "IntDiv"),
        ("select 1.5 * value from feedback", "decimal among doubles"),
        ("select greatest(latency_ms, 0.001) from x", "decimal among doubles"),
        ("select cast(a as hugeint) from x", "INT128"),
        ("select try_cast(a as uuid) from x", "TryCast"),
        ("select list_sum(a) from x", "list_sum"),
        ("select quantile_cont(a, 0.5) from x", "PercentileCont"),
        ("select sum(distinct a) from x", "Distinct"),
        ("select a from x qualify row_number() over (order by a) = 1", "Qualify"),
        ("select a from x order by a limit 3", "Limit"),
        ("select a from x group by all", "group by all"),
        ("select a, sum(b) from x group by rollup (a)", "rollup"),
        ("select x.a from x asof join y on x.a >= y.a", "asof"),
        ("select x.a from x semi join y on x.a = y.a", "semi"),
        ("select first(a) from x", "First"),
        ("select avg(a) from x", "Avg"),
        ("select a from range(3) as x", "Range"),
    ],
)
def test_what_was_not_compared_is_refused(query: str, named: str) -> None:
    """The refusal names the syntax, before any engine sees the statement."""
    with pytest.raises(EngineError, match="were not compared") as refusal:
        spark_sql.translated(query, {}, decimals=())
    assert named.lower() in str(refusal.value).lower()


def test_a_sum_of_integers_is_one_of_decimals() -> None:
    """A sum of integers beyond 64 bits would wrap around on some engines. Decimals stay as they are."""
    query = spark_sql.translated("select sum(a), sum(cost_usd) from x", {}, decimals={"cost_usd"})
    assert query == "SELECT SUM(CAST(a AS DECIMAL(38, 0))), SUM(cost_usd) FROM x"


def test_parameters_are_of_one_type_on_every_engine() -> None:
    """A moment is UTC, and a float is a double: without a cast it would be a decimal."""
    at = datetime(2026, 10, 25, 6, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    query = spark_sql.translated(
        "select $at, $gamma, $block", {"at": at, "gamma": 1.02, "block": 20}, decimals=()
    )
    moment = "CAST('2026-10-25 01:00:00.000000+00:00' AS TIMESTAMP)"
    assert query == f"SELECT {moment}, CAST('1.02' AS DOUBLE), 20"


def test_a_text_that_is_no_sql_is_refused() -> None:
    """The error is one line."""
    with pytest.raises(EngineError) as refusal:
        spark_sql.translated("select from where (", {}, decimals=())
    assert "\n" not in str(refusal.value)
