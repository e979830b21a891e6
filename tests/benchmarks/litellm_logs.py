"""A log of LiteLLM from file to report, against DuckDB that only reads the file.

    python tests/benchmarks/litellm_logs.py [--smoke] [--rows N] [--postgres [--metadata FILE]]

`--postgres` also puts the same rows into LiteLLM's own table on a PostgreSQL server of its own, and runs the
reports of LiteLLM's spend pages there and on our warehouse, in turns. Compare the ratios. LiteLLM stores some
10 kB of metadata with each row: `--metadata` names a file with one such JSON value, which each row gets.
Without it, rows have a few bytes.
"""

# ruff: noqa: E501, ISC004 - the lines of statements
from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from pipelines.importing.moving_in import moving_in
from pipelines.importing.spend_logs import import_logs
from pipelines.refresh import refresh
from pipelines.reports.periods import parse_moment
from router.config import Settings
from tests.postgres import PostgresServer

DAYS = 90
ROWS = """
select
    'chatcmpl-' || i as request_id, 'acompletion' as call_type, sha256('key-' || hash(i * 7) % 500) as api_key,
    (pt * ip + ct * op) / 1e6 as spend, pt + ct as total_tokens, pt as prompt_tokens, ct as completion_tokens,
    ts as "startTime", ts + to_milliseconds(dur) as "endTime", ts + to_milliseconds(dur // 3) as "completionStartTime",
    'provider' || m % 6 || '/model-' || m as model, sha256('model-' || m || hash(i) % 3) as model_id,
    'model-' || m as model_group, 'provider' || m % 6 as custom_llm_provider,
    'https://api.provider' || m % 6 || '.example/v1/' as api_base, 'user-' || u as "user", 'team-' || u % 40 as team_id,
    'cust-' || hash(i * 3) % 3000 as end_user, '{"status": "success"}' as metadata, 'False' as cache_hit,
    to_json(['task:' || ['chat', 'code', 'extract', 'summarise', 'translate', 'classify', 'math', 'rag'][
        1 + (hash(i * 5) % 8)::int]])::varchar as request_tags,
    uuid()::text as session_id, if(hash(i * 11) % 100 < 2, 'failure', 'success') as status,
    dur::int as request_duration_ms
from (
    select i, (hash(i) % 20)::int as m, (hash(i * 13) % 2000)::int as u, (50 + hash(i * 17) % 3000)::int as pt,
        (5 + hash(i * 19) % 800)::int as ct, 0.1 + (hash(i) % 20) * 0.4 as ip, 0.4 + (hash(i) % 20) * 1.6 as op,
        (200 + hash(i * 23) % 6000)::bigint as dur,
        timestamp '2026-08-24 00:00:00' + to_milliseconds((i * $days * 86400000.0 / $rows)::bigint) as ts
    from range($rows) t(i)
)
"""
REPORTS = {
    "cost per model per day": (
        "select date_trunc('day', \"startTime\"), model, sum(spend), sum(prompt_tokens), count(*)"
        ' from "LiteLLM_SpendLogs" group by 1, 2',
        "select day, model_selected, sum(cost_usd), sum(tokens_input), sum(requests)"
        " from task_cost_daily group by 1, 2",
    ),
    "cost per team": (
        'select team_id, sum(spend), count(*) from "LiteLLM_SpendLogs" group by 1',
        "select organization_id, sum(cost_usd), sum(requests) from usage_by_org_daily group by 1",
    ),
    "cost per tag": (
        'select tag, sum(spend), count(*) from "LiteLLM_SpendLogs", jsonb_array_elements_text(request_tags) tag'
        " group by 1",
        "select task_type, sum(cost_usd), sum(requests) from task_cost_daily group by 1",
    ),
    "last 7 days per model": (
        'select model, sum(spend), count(*) from "LiteLLM_SpendLogs"'
        " where \"startTime\" >= timestamp '2026-11-15' group by 1",
        "select model_selected, sum(cost_usd), sum(requests) from task_cost_daily"
        " where day >= date '2026-11-15' group by 1",
    ),
    "cost per end user": (
        'select end_user, sum(spend), count(*) from "LiteLLM_SpendLogs" group by 1',
        "select user_id, sum(cost_usd), count(*) from request_analytics group by 1",
    ),
}
"""The same question to LiteLLM's table and to our published warehouse."""


def timed(action: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def middle(action: Callable[[], object], rounds: int = 5) -> float:
    """The median of some calls, after one that warms up."""
    action()
    return statistics.median(timed(action) for _ in range(rounds))


def read_only(path: Path) -> None:
    """Every value of the file, read by DuckDB. A count alone would come from the file's statistics."""
    with duckdb.connect() as connection:
        connection.sql(
            "select bit_xor(hash(columns(*))) from read_parquet($1)", params=[str(path)]
        ).fetchall()


def size_of(folder: Path) -> int:
    """Bytes below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run(folder: Path, rows: int, days: int, *, with_postgres: bool, metadata: str) -> None:
    """Print the figures."""
    path = folder / "spend_logs.parquet"
    with duckdb.connect() as connection:
        connection.sql(ROWS, params={"rows": rows, "days": days}).write_parquet(str(path))
    settings = Settings.load({}, home=folder / "home")
    seconds = {
        "DuckDB reads the file": middle(lambda: read_only(path), rounds=3),
        "import": timed(lambda: import_logs(settings, str(path))),
        "refresh": timed(lambda: refresh(settings)),
        "report moving-in": timed(lambda: moving_in(settings, since=parse_moment("2026-08-01"))),
        "import again": timed(lambda: import_logs(settings, str(path))),
    }
    for name, value in seconds.items():
        print(f"{name:26}{value:9.2f} s")
    whole = seconds["import"] + seconds["refresh"] + seconds["report moving-in"]
    print(
        f"{'file to report':26}{whole:9.2f} s, {whole / seconds['DuckDB reads the file']:.0f} times DuckDB's reading"
    )
    print(f"{rows / seconds['import']:,.0f} rows a second imported")
    sizes = {"file": path.stat().st_size, "lake": size_of(settings.lake)}
    sizes["published warehouse"] = settings.warehouse_file.stat().st_size
    for name, size in sizes.items():
        print(f"{name:26}{size / 1e6:9.1f} MB")
    if with_postgres:
        compare(settings, path, folder, metadata)


def compare(settings: Settings, path: Path, folder: Path, metadata: str) -> None:
    """The same rows and questions in LiteLLM's table."""
    import psycopg

    with duckdb.connect() as connection:
        connection.sql("from read_parquet($1)", params=[str(path)]).write_csv(str(folder / "rows.csv"))
        names = connection.sql("from read_parquet($1)", params=[str(path)]).columns
    with PostgresServer() as server, psycopg.connect(server.create_database(), autocommit=True) as peer:
        peer.execute(_TABLE)
        columns = ", ".join(f'"{name}"' for name in names)
        peer.execute('create unlogged table staged (like "LiteLLM_SpendLogs" including defaults)')
        statement = f"copy staged ({columns}) from stdin (format csv, header)"
        with (folder / "rows.csv").open("rb") as file, peer.cursor().copy(statement) as copy:
            while block := file.read(1 << 20):
                copy.write(block)
        others = ", ".join(f'"{name}"' for name in names if name != "metadata")
        # Stored once, it is copied as it is compressed. Compressing it a million times takes an hour.
        peer.execute("create table template (metadata jsonb)")
        peer.execute("insert into template values (%s)", [metadata])
        peer.execute(_FILL.format(columns=others))
        peer.execute("drop table staged")
        peer.execute('vacuum analyze "LiteLLM_SpendLogs"')
        peer.execute("set jit = off")
        _questions(settings, peer)
        size = peer.execute(_SIZE).fetchall()[0][0]
    ours = size_of(settings.lake)
    print(f"PostgreSQL {size / 1e6:.0f} MB, our lake {ours / 1e6:.0f} MB: 1/{size / ours:.1f}")


def _answer(connection: Any, sql: str) -> object:
    return connection.execute(sql).fetchall()


def _questions(settings: Settings, peer: Any) -> None:
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as own:
        own.execute("set TimeZone = 'UTC'")
        ratios = []
        for name, (theirs, ours) in REPORTS.items():
            slow = middle(partial(_answer, peer, theirs))
            fast = middle(partial(_answer, own, ours))
            ratios.append(slow / fast)
            print(
                f"{name:26}{slow * 1e3:9.1f} ms PostgreSQL {fast * 1e3:9.1f} ms here {slow / fast:7.1f} times"
            )
        print(f"median {statistics.median(ratios):.1f} times, from {min(ratios):.1f} to {max(ratios):.1f}")


_FILL = """
insert into "LiteLLM_SpendLogs" ({columns}, metadata) select {columns}, template.metadata from staged, template
"""
_SIZE = "select pg_total_relation_size('\"LiteLLM_SpendLogs\"')"
_TABLE = """
create table "LiteLLM_SpendLogs" (
    request_id text primary key, call_type text not null, api_key text not null default '',
    spend double precision not null default 0, total_tokens int not null default 0,
    prompt_tokens int not null default 0, completion_tokens int not null default 0, "startTime" timestamp(3) not null,
    "endTime" timestamp(3) not null, request_duration_ms int, "completionStartTime" timestamp(3),
    model text not null default '', model_id text default '', model_group text default '',
    custom_llm_provider text default '', api_base text default '', "user" text default '', metadata jsonb default '{}',
    cache_hit text default '', cache_key text default '', request_tags jsonb default '[]', team_id text,
    organization_id text, end_user text, requester_ip_address text, messages jsonb default '{}',
    response jsonb default '{}', session_id text, status text, mcp_namespaced_tool_name text, agent_id text,
    proxy_server_request jsonb default '{}'
);
create index on "LiteLLM_SpendLogs" ("startTime");
create index on "LiteLLM_SpendLogs" ("startTime", request_id);
create index on "LiteLLM_SpendLogs" (end_user);
create index on "LiteLLM_SpendLogs" (session_id);
"""
"""LiteLLM's table with its indexes."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="2,000 rows of a day")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true", help="also measure LiteLLM's own table")
    parser.add_argument("--metadata", type=Path, help="a JSON value for each row of LiteLLM's table")
    arguments = parser.parse_args()
    metadata = "{}" if arguments.metadata is None else arguments.metadata.read_text()
    with tempfile.TemporaryDirectory() as folder:
        rows, days = (2_000, 1) if arguments.smoke else (arguments.rows, DAYS)
        run(Path(folder), rows, days, with_postgres=arguments.postgres, metadata=metadata)


if __name__ == "__main__":
    main()
