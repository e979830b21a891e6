"""The copy in PostgreSQL equals the published warehouse, whatever happens to either."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipelines import flow
from pipelines.copies.kinds import mended_json
from pipelines.copies.mirror import is_current
from pipelines.lake import compaction
from pipelines.warehouse.warehouse import Warehouse, set_aside
from tests.pipelines.helpers import NOW, make_feedback, make_log, make_record, seal_records
from tests.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.records import Record
    from tests.pipelines.copies.conftest import Mirrored


def traffic(count: int = 20, at: datetime = NOW, **changes: Any) -> list[Record]:
    """Requests of two users over two hours, each with its log and a judgement."""
    found: list[Record] = []
    for number in range(count):
        request = make_record(
            at + timedelta(minutes=6 * (number % 20)),
            user_id=f"u{number % 2}",
            cost_usd=Decimal("0.000000000001") * (number + 1) + Decimal("0.3"),
            **changes,
        )
        found += [request, make_log(request, ip_address="10.0.0.1"), make_feedback(request, 0.7)]
    return found


@pytest.mark.smoke
def test_the_copy_equals_the_warehouse(mirrored: Mirrored) -> None:
    """Every table of the published warehouse has a copy with the same counts and the same exact sums."""
    seal_records(mirrored.settings, traffic())
    mirrored.refresh()
    result = mirrored.mirror()
    assert result.rows["request_analytics"] == 20
    assert mirrored.differences() == {}
    assert mirrored.totals_of_tables().keys() == {
        name for (name,) in mirrored.ask("select table_name from copied_tables")
    }
    assert is_current(mirrored.settings)


def test_a_second_run_changes_nothing(mirrored: Mirrored) -> None:
    """Without news no row is written, and no row of the copy has a new version."""
    seal_records(mirrored.settings, traffic())
    mirrored.refresh()
    mirrored.mirror()
    before = mirrored.ask("select xmin, ctid, id from request_analytics order by id")
    result = mirrored.mirror()
    assert (result.rows, result.parts_copied, result.parts_removed) == ({}, 0, 0)
    assert mirrored.ask("select xmin, ctid, id from request_analytics order by id") == before


def test_columns_have_the_types_of_postgresql(mirrored: Mirrored) -> None:
    """Ids are uuid, moments timestamptz, money and tokens numeric, nested values jsonb, addresses inet."""
    seal_records(mirrored.settings, traffic(2))
    mirrored.refresh()
    mirrored.mirror()
    kinds = {
        f"{table}.{column}": kind
        for table, column, kind in mirrored.ask(
            "select table_name, column_name, data_type from information_schema.columns"
            " where table_schema = 'analytics'"
        )
    }
    expected = {
        "request_analytics.id": "uuid",
        "request_analytics.timestamp": "timestamp with time zone",
        "request_analytics.cost_usd": "numeric",
        "request_analytics.tokens_input": "numeric",
        "request_analytics.candidates": "jsonb",
        "request_analytics.tags": "jsonb",
        "request_analytics.user_id": "text",
        "request_logs.ip_address": "inet",
        "request_logs.request_data": "jsonb",
        "request_logs.id": "uuid",
        "feedback.request_id": "uuid",
        "feedback.value": "double precision",
        "usage_hourly.requests": "bigint",
        "usage_hourly.tokens_output": "numeric",
        "models.capabilities": "jsonb",
        "task_cost_daily.day": "date",
    }
    assert {name: kinds[name] for name in expected} == expected


def test_new_rows_are_copied_by_their_segment(mirrored: Mirrored) -> None:
    """A run after a new segment writes the rows of that segment, and none of the others."""
    seal_records(mirrored.settings, traffic(20))
    mirrored.refresh()
    mirrored.mirror()
    seal_records(mirrored.settings, traffic(3, NOW + timedelta(hours=5)))
    mirrored.refresh()
    result = mirrored.mirror()
    assert {name: result.rows[name] for name in ("request_analytics", "request_logs", "feedback")} == {
        "request_analytics": 3,
        "request_logs": 3,
        "feedback": 3,
    }
    assert mirrored.differences() == {}


def test_merged_segments_go_there_too(mirrored: Mirrored) -> None:
    """After a compaction each row belongs to the merged segment, once, and no reader missed a row."""
    for _ in range(3):
        seal_records(mirrored.settings, traffic(4))
    mirrored.refresh()
    mirrored.mirror()
    compaction.compact(mirrored.settings.lake, now=NOW + timedelta(days=2))
    mirrored.refresh()
    mirrored.mirror()
    segments = "select segment, count(*) from request_analytics group by segment order by segment"
    assert mirrored.ask(segments) == mirrored.ask_warehouse(segments)
    assert mirrored.differences() == {}


def test_expired_rows_leave_the_copy(mirrored: Mirrored) -> None:
    """Retention's rows are gone from the copy, and rollups stay."""
    seal_records(mirrored.settings, traffic(6, NOW - timedelta(days=100)))
    seal_records(mirrored.settings, traffic(4))
    mirrored.refresh()
    mirrored.mirror()
    with Warehouse(mirrored.settings) as warehouse:
        flow.retain(warehouse, now=NOW + timedelta(hours=3))
    mirrored.refresh()
    result = mirrored.mirror()
    assert result.parts_removed > 0
    assert mirrored.ask("select count(*) from request_analytics") == [(4,)]
    assert mirrored.ask("select sum(requests) from usage_hourly") == [(10,)]
    assert mirrored.differences() == {}


def test_a_rebuild_leaves_the_copy_equal(mirrored: Mirrored) -> None:
    """A warehouse built again from the lake has the same parts, so that raw rows are not copied again."""
    seal_records(mirrored.settings, traffic(6))
    mirrored.refresh()
    mirrored.mirror()
    set_aside(mirrored.settings.build_file)
    mirrored.refresh()
    assert "request_analytics" not in mirrored.mirror().rows
    assert mirrored.differences() == {}


def test_an_erasure_waits_for_the_copy(mirrored: Mirrored) -> None:
    """When `erase` returns, the copy holds no row of the person, and the certificate says so."""
    seal_records(mirrored.settings, traffic(10))
    mirrored.refresh()
    mirrored.mirror()
    certificate = flow.erase(mirrored.settings, "u1")
    assert certificate.remaining == ()
    assert [copy.is_current for copy in certificate.copies] == [True]
    for table in ("request_analytics", "request_logs"):
        assert ("u1",) not in mirrored.ask(f"select distinct user_id from {table}")  # noqa: S608
    assert mirrored.ask("select count(*) from feedback") == [(5,)]
    assert mirrored.differences() == {}


def test_texts_that_postgresql_cannot_hold_are_mended(mirrored: Mirrored) -> None:
    """NUL and half a surrogate pair become U+FFFD. Everything around them stays."""
    request = make_record(user_id="a\x00b")
    data = r'{"a": "x\u0000y", "b": "\ud83d\ude00", "d": "\\u0000"}'
    log = make_log(request, request_data=data, ip_address="fe80::1%eth0", user_agent="curl\x00")
    odd = make_record()
    logs = [log, make_log(odd, ip_address="testclient", request_data="not json")]
    seal_records(mirrored.settings, [request, odd, *logs])
    mirrored.refresh()
    mirrored.mirror()
    assert mirrored.ask("select user_id from request_analytics where id = $1", request.id) == [("a\ufffdb",)]
    ((held, address, agent),) = mirrored.ask(
        "select request_data, cast(ip_address as text), user_agent from request_logs where request_id = $1",
        request.id,
    )
    assert held == {"a": "x\ufffdy", "b": "\U0001f600", "d": r"\u0000"}
    assert (address, agent) == ("fe80::1/128", "curl\ufffd")
    assert mirrored.ask(
        "select ip_address, request_data from request_logs where request_id = $1", odd.id
    ) == [(None, "not json")]


def test_half_a_surrogate_pair_is_replaced() -> None:
    """Whole pairs and escaped backslashes stay as they are."""
    texts = pa.array([r'"\ud83d!"', r'"\udc00\ud83d\ude00"', r'"\\ud83d"', None, "1"])
    assert mended_json(texts).to_pylist() == [
        r'"\ufffd!"',
        r'"\ufffd\ud83d\ude00"',
        r'"\\ud83d"',
        None,
        "1",
    ]


def test_a_row_that_is_refused_holds_back_its_part_only(mirrored: Mirrored) -> None:
    """A judgement of an id that is no UUID stays away with its segment; the error names the segment."""
    request = make_record()
    seal_records(mirrored.settings, [request, make_feedback(request, 1.0)])
    seal_records(mirrored.settings, [make_feedback(request, 0.5, request_id="not-an-id")])
    mirrored.refresh()
    with pytest.raises(Exception, match=r"1 parts were not copied .*feedback/.*SQLSTATE 22P02") as caught:
        mirrored.mirror()
    assert "not-an-id" not in str(caught.value)
    assert mirrored.ask("select count(*) from request_analytics") == [(1,)]
    assert mirrored.ask("select count(*) from feedback") == [(1,)]
    assert not is_current(mirrored.settings)


def test_a_reader_reads_and_writes_nothing(mirrored: Mirrored, postgres_server: Any) -> None:
    """A login role that is a member of the readers' role selects, and cannot delete."""
    import psycopg

    seal_records(mirrored.settings, traffic(2))
    mirrored.refresh()
    mirrored.mirror()
    database = mirrored.url.rpartition("/")[2]
    manual = (ROOT / "pipelines" / "README.md").read_text()
    statements = re.search(r"<!-- test: reader -->\n```sql\n(.*?)```", manual, re.DOTALL)
    assert statements is not None
    mirrored.ask(
        statements[1]
        .replace("intellirouter_reader", mirrored.settings.mirror_reader)
        .replace("ana ", f"ana_{database} ")
    )
    url = f"postgresql://ana_{database}:change-me@127.0.0.1:{postgres_server.port}/{database}"
    with psycopg.connect(url) as reader:
        assert reader.execute("select count(*), 1.0 / 0 from request_analytics").fetchall() == [(2, None)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        mirrored.ask("delete from request_analytics", url=url)


def test_a_new_column_is_added_and_filled(mirrored: Mirrored) -> None:
    """A column that a release adds comes to the copy without a moment in which rows are missing."""
    seal_records(mirrored.settings, traffic(4))
    mirrored.refresh()
    mirrored.mirror()
    # As if the copy were made by the release before the column.
    mirrored.ask("alter table request_analytics drop column latency_ms")
    mirrored.ask(
        "update copied_tables set columns = columns - 'latency_ms' where table_name = 'request_analytics'"
    )
    assert mirrored.mirror().rows == {"request_analytics": 4}
    assert mirrored.differences() == {}


def test_a_full_run_copies_everything_again(mirrored: Mirrored) -> None:
    """Rows that a hand changed or removed in the copy are right after `--full`."""
    seal_records(mirrored.settings, traffic(4))
    mirrored.refresh()
    mirrored.mirror()
    mirrored.ask("delete from request_analytics where user_id = 'u1'")
    mirrored.ask("update usage_hourly set requests = 7")
    mirrored.mirror(full=True)
    assert mirrored.differences() == {}


def test_a_table_that_the_warehouse_lost_is_dropped(mirrored: Mirrored) -> None:
    """A copy of a table that is published no more would keep persons for ever."""
    seal_records(mirrored.settings, traffic(2))
    mirrored.refresh()
    mirrored.mirror()
    mirrored.ask("create table old_mart (user_id text)")
    mirrored.ask("insert into copied_tables (table_name, columns) values ('old_mart', '{}')")
    mirrored.mirror()
    assert mirrored.ask("select to_regclass('analytics.old_mart')") == [(None,)]


def test_the_schema_is_the_settings(mirrored_with: Callable[..., Mirrored]) -> None:
    """MIRROR_SCHEMA=public lets queries name tables without a schema, and an empty reader makes no role."""
    mirrored = mirrored_with(MIRROR_SCHEMA="public", MIRROR_READER="")
    seal_records(mirrored.settings, traffic(2))
    mirrored.refresh()
    mirrored.mirror()
    assert mirrored.ask("select count(*) from request_analytics", path="public") == [(2,)]


def test_the_facts_say_which_warehouse_was_copied(mirrored: Mirrored) -> None:
    """A newer published file, or another target, makes the mirror stale."""
    seal_records(mirrored.settings, traffic(2))
    mirrored.refresh()
    assert not is_current(mirrored.settings)
    mirrored.mirror()
    facts = json.loads(mirrored.settings.mirror_facts_file.read_bytes())
    assert datetime.fromisoformat(facts["mirrored_at"]) <= datetime.now(UTC)
    assert "canary" not in json.dumps(facts)
    seal_records(mirrored.settings, traffic(2, NOW + timedelta(hours=9)))
    mirrored.refresh()
    assert not is_current(mirrored.settings)
