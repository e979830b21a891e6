"""LiteLLM's spend logs become a lake of their own: each request once, and each fault by name."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import psycopg
import pytest
from click.testing import CliRunner

from pipelines.errors import ImportSourceError
from pipelines.importing.import_commands import COMMANDS
from pipelines.importing.lakes import ImportLake
from pipelines.importing.spend_logs import import_logs
from pipelines.lake.audit import audit
from pipelines.lake.reading import scan
from pipelines.refresh import refresh
from router.config import Settings
from tests.pipelines.helpers import make_record, seal_records

HASH = "ab" * 32
TYPES = {
    "spend": "double",
    "total_tokens": "int",
    "prompt_tokens": "int",
    "completion_tokens": "int",
    "startTime": "timestamp",
    "endTime": "timestamp",
    "completionStartTime": "timestamp",
    "request_duration_ms": "int",
}


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A row as LiteLLM writes it; `changes` replace columns."""
    values: dict[str, Any] = {
        "request_id": f"chatcmpl-{number}",
        "call_type": "acompletion",
        "api_key": HASH,
        "spend": 0.0125,
        "total_tokens": 150,
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "startTime": f"2026-11-0{1 + number % 9} 10:15:00.250",
        "endTime": f"2026-11-0{1 + number % 9} 10:15:02.250",
        "completionStartTime": f"2026-11-0{1 + number % 9} 10:15:00.750",
        "request_duration_ms": 2000,
        "model": "gpt-4o",
        "model_group": "main",
        "custom_llm_provider": "openai",
        "user": "owner",
        "metadata": json.dumps(
            {"additional_usage_values": {"prompt_tokens_details": {"cached_tokens": 40}}, "status": "success"}
        ),
        "cache_hit": "False",
        "request_tags": json.dumps(["task:billing", "urgent"]),
        "team_id": "team-a",
        "organization_id": "",
        "end_user": "ada",
        "messages": "{}",
        "session_id": "s1",
        "status": "success",
    }
    return {**values, **changes}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as a file of the format that its name says."""
    lines = "".join(json.dumps(item) + "\n" for item in rows)
    source = path.with_suffix(".source.jsonl")
    if path.suffix == ".jsonl":
        path.write_text(lines)
        return path
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
        return path
    source.write_text(lines)
    with duckdb.connect() as connection:
        columns = {name: TYPES.get(name, "varchar") for name in rows[0]}
        connection.read_json(str(source), columns=columns).create("rows")
        options = "format csv, header" if path.suffix == ".csv" else "format parquet"
        connection.execute(f"copy rows to '{path}' ({options})")
    return path


def stored(settings: Settings) -> list[dict[str, Any]]:
    """The records of the lake, by LiteLLM's id."""
    files = [str(segment.path) for segment in scan(settings.lake, "request_analytics").segments]
    if not files:
        return []
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        found = connection.sql("from read_parquet($1) order by provider_request_id", params=[files])
        return found.to_arrow_table().to_pylist()  # type: ignore[no-any-return]


def only(settings: Settings, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """The record of one row."""
    import_logs(settings, str(write(tmp_path / "one.jsonl", [row(**changes)])))
    (record,) = stored(settings)
    return record


@pytest.mark.smoke
@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl", "json"])
def test_each_format_gives_the_same_records(settings: Settings, tmp_path: Path, suffix: str) -> None:
    """Parquet, CSV, lines of JSON and an array of JSON are the same log."""
    done = import_logs(settings, str(write(tmp_path / f"logs.{suffix}", [row(1), row(2)])))
    assert (done.rows, done.added, done.segments, done.refused) == (2, 2, 2, 0)
    first, _ = stored(settings)
    assert str(first["timestamp"]) == "2026-11-02 10:15:00.250000+00:00"
    assert first["cost_usd"] == Decimal("0.0125")
    assert (first["tokens_input"], first["tokens_output"], first["tokens_cached_input"]) == (100, 50, 40)
    assert (first["latency_ms"], first["ttft_ms"], first["is_streaming"]) == (2000.0, 500.0, True)
    assert (first["organization_id"], first["user_id"]) == ("team-a", "ada")
    assert first["api_key_id"] == f"key_{HASH[:12]}"
    assert (first["model_requested"], first["model_selected"], first["provider"]) == (
        "main",
        "gpt-4o",
        "openai",
    )
    assert (first["task_type"], first["task_type_source"]) == ("billing", "caller")
    assert {item["key"]: item["value"] for item in first["tags"]} == {
        "task": "billing",
        "urgent": "true",
        "team": "team-a",
        "key_owner": "owner",
    }
    assert (first["environment"], first["strategy"], first["propensity"]) == ("litellm", "pinned", None)


def test_a_table_gives_the_same_records(settings: Settings, tmp_path: Path, postgres_url: str) -> None:
    """The table in PostgreSQL is read in place, and no copy of it stays."""
    columns = ", ".join(f'"{name}" {TYPES.get(name, "text")}' for name in row())
    columns = columns.replace("double", "double precision")
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f'create table "LiteLLM_SpendLogs" ({columns})'.encode())
        marks = ", ".join(["%s"] * len(row()))
        insert = f'insert into "LiteLLM_SpendLogs" values ({marks})'  # noqa: S608 - marks only
        server.execute(insert.encode(), list(row().values()))
    done = import_logs(settings, postgres_url)
    assert (done.added, done.refused) == (1, 0)
    assert "canary" not in done.source
    from_table = stored(settings)
    other = Settings.load({}, home=tmp_path / "other")
    import_logs(other, str(write(tmp_path / "one.parquet", [row()])))
    assert from_table == stored(other)
    assert [path.name for path in (settings.home / "imports").iterdir()] == []


def test_again_adds_nothing(settings: Settings, tmp_path: Path) -> None:
    """A request is known by its id, also in another format, at another moment and in another import."""
    rows = [row(1), row(2)]
    import_logs(settings, str(write(tmp_path / "logs.csv", rows)))
    before = stored(settings)
    moved = [{**item, "startTime": "2026-11-20 00:00:00", "endTime": "2026-11-20 00:00:01"} for item in rows]
    done = import_logs(settings, str(write(tmp_path / "logs.jsonl", [*moved, row(3)])))
    assert (done.added, done.known) == (1, 2)
    assert stored(settings)[:2] == before


def test_own_traffic_is_never_mixed(settings: Settings, tmp_path: Path) -> None:
    """A data folder with own requests is refused, and left as it is."""
    seal_records(settings, [make_record()])
    before = sorted(path for path in settings.home.rglob("*"))
    with pytest.raises(ImportSourceError, match="holds own traffic"):
        import_logs(settings, str(write(tmp_path / "logs.csv", [row()])))
    assert sorted(path for path in settings.home.rglob("*")) == before


BAD = {
    '"not": "closed"': "it is no JSON object",
    "[1, 2]": "it is no JSON object",
    json.dumps(row(11, request_id="")): "it has no `request_id`",
    json.dumps(row(12, startTime=None)): "it has no `startTime`",
    json.dumps(row(13, startTime="yesterday")): "`startTime` is `yesterday`, no moment",
    json.dumps(
        row(14, startTime="2999-01-01 00:00:00")
    ): "`startTime` is `2999-01-01 00:00:00`, in the future",
    json.dumps(row(15, spend=-0.5)): "`spend` is `-0.5`, below zero",
    json.dumps(row(16, spend="NaN")): "`spend` is `NaN`, no number",
    json.dumps(row(17, prompt_tokens=-3)): "`prompt_tokens` is `-3`, no count",
    json.dumps(row(18, completion_tokens="many")): "`completion_tokens` is `many`, no number",
    json.dumps(
        row(10, endTime="2026-11-01 00:00:00", request_duration_ms=None)
    ): "it ends at `2026-11-01 00:00:00`, before it starts",
    json.dumps(row(19, endTime=None, request_duration_ms=None)): "it has neither `request_duration_ms` nor a"
    " readable `endTime`",
}


def test_each_bad_row_is_named_and_hurts_only_itself(settings: Settings, tmp_path: Path) -> None:
    """Every cause names its line and its value. The lines around it are imported."""
    path = tmp_path / "logs.jsonl"
    lines = [json.dumps(row(1)), *BAD, "", json.dumps(row(2))]
    path.write_text("\n".join(lines) + "\n")
    done = import_logs(settings, str(path))
    assert [(fault.row, fault.cause) for fault in done.faults] == list(enumerate(BAD.values(), start=2))
    assert (done.rows, done.added, done.refused) == (len(BAD) + 2, 2, len(BAD))


def test_a_broken_line_of_csv_is_named(settings: Settings, tmp_path: Path) -> None:
    """A line with too few cells is left out by its number."""
    path = write(tmp_path / "logs.csv", [row(1), row(2)])
    header, first, second = path.read_text().splitlines()
    path.write_text(f"{header}\n{first}\nonly,three,cells\n{second}\n")
    done = import_logs(settings, str(path))
    assert (done.rows, done.added, done.refused) == (3, 2, 1)
    assert done.faults[0].row == 3
    assert "Expected Number of Columns" in done.faults[0].cause


def test_repeated_rows_count_once(settings: Settings, tmp_path: Path) -> None:
    """The first row of an id is the request."""
    rows = [row(1), row(1, spend=9.0), row(2)]
    done = import_logs(settings, str(write(tmp_path / "logs.jsonl", rows)))
    assert (done.added, done.duplicates) == (2, 1)
    assert [record["cost_usd"] for record in stored(settings)] == [Decimal("0.0125")] * 2


def test_a_zone_is_for_moments_without_one(settings: Settings, tmp_path: Path) -> None:
    """Naive moments are of the named zone. An offset in the text counts whatever the zone."""
    rows = [row(1), row(2, startTime="2026-11-03T10:15:00.250Z", endTime="2026-11-03T11:15:02.250+01:00")]
    import_logs(settings, str(write(tmp_path / "logs.jsonl", rows)), time_zone="Europe/Berlin")
    naive, exact = stored(settings)
    assert str(naive["timestamp"]) == "2026-11-02 09:15:00.250000+00:00"
    assert str(exact["timestamp"]) == "2026-11-03 10:15:00.250000+00:00"


@pytest.mark.parametrize(
    ("changes", "cost"),
    [
        ({"spend": None}, None),
        ({"spend": 0.0}, None),
        ({"spend": 0.0, "cache_hit": "True"}, Decimal(0)),
        ({"spend": 1e-05}, Decimal("0.00001")),
        ({"spend": 0.1}, Decimal("0.1")),
    ],
)
def test_an_unknown_spend_is_null(
    settings: Settings, tmp_path: Path, changes: dict[str, Any], cost: Decimal | None
) -> None:
    """A missing spend is unknown, and so is the 0 of a model without a price. A cached answer costs 0."""
    assert only(settings, tmp_path, **changes)["cost_usd"] == cost


def test_unknown_tokens_are_null(settings: Settings, tmp_path: Path) -> None:
    """LiteLLM's default of 0 tokens is no measurement. A failure names its error."""
    details = {
        "status": "failure",
        "error_information": {"error_class": "RateLimitError", "error_code": "429"},
    }
    record = only(
        settings, tmp_path, total_tokens=0, prompt_tokens=0, completion_tokens=0, spend=0.0, status="failure",
        metadata=json.dumps(details),
    )  # fmt: skip
    assert (record["tokens_input"], record["tokens_output"], record["usage_source"]) == (
        None,
        None,
        "unknown",
    )
    assert (record["success"], record["error_type"], record["status_code"]) == (False, "RateLimitError", 429)


def test_no_key_is_stored(settings: Settings, tmp_path: Path) -> None:
    """A log with keys in place of their hashes leaves no key in any file."""
    import_logs(settings, str(write(tmp_path / "logs.jsonl", [row(api_key="sk-canary-1234567890")])))
    for path in settings.home.rglob("*"):
        assert path.is_dir() or b"sk-canary" not in path.read_bytes(), path


def test_a_logged_text_gives_the_task(settings: Settings, tmp_path: Path) -> None:
    """Without a label, the rules of the router read the last message, if it was logged."""
    text = "def main():\n    pass\n\nWhy does this fail?"
    messages = json.dumps([{"role": "user", "content": [{"type": "text", "text": text}]}])
    record = only(settings, tmp_path, messages=messages, request_tags="[]")
    assert (record["task_type"], record["task_type_source"]) == ("code", "rule")
    assert b"Why does" not in b"".join(path.read_bytes() for path in settings.lake.rglob("*.parquet"))


def test_another_spelling_of_columns_is_read_and_strangers_are_named(
    settings: Settings, tmp_path: Path
) -> None:
    """`start_time` is `startTime`. A column that is not kept is named."""
    renamed = {
        {"startTime": "start_time", "endTime": "endtime"}.get(name, name): value
        for name, value in row().items()
    }
    done = import_logs(settings, str(write(tmp_path / "logs.jsonl", [{**renamed, "region": "eu"}])))
    assert (done.added, done.unread) == (1, ("region",))


@pytest.mark.parametrize("missing", ["request_id", "startTime"])
def test_a_log_without_its_key_columns_is_refused(settings: Settings, tmp_path: Path, missing: str) -> None:
    """The error names the missing column, and nothing is written."""
    values = {name: value for name, value in row().items() if name != missing}
    with pytest.raises(ImportSourceError, match=f"has no column `{missing}`"):
        import_logs(settings, str(write(tmp_path / "logs.csv", [values])))
    assert not settings.lake.exists()


def test_a_stopped_import_goes_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the sync, the next import moves the segments into the lake. Before it, nothing is left."""
    path = str(write(tmp_path / "logs.jsonl", [row(1), row(2)]))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("router.journal.segments.parquet_bytes", stop)
        with pytest.raises(KeyboardInterrupt):
            import_logs(settings, path)
    assert stored(settings) == []
    with monkeypatch.context() as patch:
        patch.setattr(ImportLake, "_move", stop)
        with pytest.raises(KeyboardInterrupt):
            import_logs(settings, path)
    assert stored(settings) == []
    done = import_logs(settings, path)
    assert (done.added, done.known, len(stored(settings))) == (0, 2, 2)
    third = import_logs(settings, str(write(tmp_path / "more.jsonl", [row(3)])))
    assert (third.added, len(stored(settings))) == (1, 3)
    breaks, chains = audit(settings.home)
    assert (len(chains.heads), breaks) == (2, [])


def test_a_refresh_gives_the_log_s_totals(
    settings: Settings, tmp_path: Path, instance: dg.DagsterInstance, query: Any
) -> None:
    """The rollups of the imported lake equal the spend, to the last digit, and rank no model."""
    rows = [row(number, spend=number / 1000) for number in range(1, 40)]
    import_logs(settings, str(write(tmp_path / "logs.parquet", rows)))
    result = refresh(settings, instance=instance)
    assert (result.success, result.rows["request_analytics"], result.violated) == (True, 39, frozenset())
    total = sum(Decimal(str(item["spend"])) for item in rows)
    assert query("select sum(cost_usd), sum(requests) from usage_hourly") == [(total, 39)]
    assert query("select distinct environment from request_analytics") == [("litellm",)]


def test_the_command_names_faults(tmp_path: Path) -> None:
    """The command prints the numbers, and each fault with its row."""
    path = tmp_path / "logs.jsonl"
    path.write_text(json.dumps(row(1)) + "\nbroken\n")
    done = CliRunner().invoke(
        COMMANDS[0], ["litellm-logs", str(path), "--home", str(tmp_path / "home")], catch_exceptions=False
    )
    assert "2 rows, 1 new requests in 1 segments" in done.output
    assert "row 2: it is no JSON object" in done.output


def test_an_unknown_zone_is_refused(tmp_path: Path) -> None:
    """A misspelt zone is an error of the option."""
    path = write(tmp_path / "logs.jsonl", [row(1)])
    command = ["litellm-logs", str(path), "--home", str(tmp_path / "home"), "--time-zone", "Europe/Wien"]
    done = CliRunner().invoke(COMMANDS[0], command)
    assert done.exit_code == 2
    assert "Europe/Wien" in done.output
