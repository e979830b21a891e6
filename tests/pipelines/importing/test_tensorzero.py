"""TensorZero's tables as records and feedback: exact, once, and with each row that is left out named."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pipelines.errors import ImportSourceError
from pipelines.importing.import_commands import COMMANDS
from pipelines.importing.tensorzero import import_tables
from router.config import Settings
from router.journal.places import EVERY_HOUR
from tests.pipelines.helpers import id_at

if TYPE_CHECKING:
    from collections.abc import Iterator

AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
_numbers: Iterator[int] = itertools.count()


def new_id(hours: float = 0) -> str:
    """A UUIDv7 some hours after AT. Later ones are larger."""
    return id_at(AT + timedelta(hours=hours, milliseconds=next(_numbers)))


def inference(**changes: Any) -> dict[str, Any]:
    """A row of ChatInference."""
    return {
        "id": new_id(), "function_name": "draft_email", "variant_name": "gpt", "episode_id": new_id(),
        "processing_time_ms": 900, "ttft_ms": None, "tags": [("user_id", "ada"), ("team", "a")],
        "input": "{}", **changes,
    }  # fmt: skip


def call(of: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A row of ModelInference."""
    return {
        "id": new_id(), "inference_id": of["id"], "model_name": "gpt-4o", "model_provider_name": "openai",
        "input_tokens": 100, "output_tokens": 20, "response_time_ms": 800, "ttft_ms": None, "cached": False,
        "finish_reason": "stop", "cost": Decimal("0.000450000"), **changes,
    }  # fmt: skip


def judgement(of: str, **changes: Any) -> dict[str, Any]:
    """A row of FloatMetricFeedback."""
    return {"id": new_id(1), "target_id": of, "metric_name": "rating", "value": 0.5, "tags": [], **changes}


TAGS = pa.map_(pa.string(), pa.string())


def dump(folder: Path, **tables: list[dict[str, Any]]) -> Path:
    """A folder with a Parquet file for each table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        table = pa.Table.from_pylist([{key: row[key] for key in row if key != "tags"} for row in rows])
        if rows and "tags" in rows[0]:
            table = table.append_column("tags", pa.array([row["tags"] for row in rows], TAGS))
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def stored(settings: Settings, dataset: str, columns: str) -> list[tuple[Any, ...]]:
    """Columns of a dataset in the lake, by its moment."""
    files = [str(path) for path in settings.lake.glob(f"{dataset}/{EVERY_HOUR}/*.parquet")]
    if not files:
        return []
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        moment = "timestamp" if dataset == "request_analytics" else "created_at"
        return connection.read_parquet(files).order(moment).project(columns).fetchall()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder for imports."""
    return Settings.load({}, home=tmp_path / "home")


@pytest.mark.smoke
def test_an_inference_becomes_a_request(settings: Settings, tmp_path: Path) -> None:
    """The calls of an inference are added up, and the model that answered last is the one that served."""
    whole = inference()
    calls = [call(whole, model_name="small", cost=Decimal("0.000050000")), call(whole)]
    found = import_tables(settings, dump(tmp_path / "dump", ChatInference=[whole], ModelInference=calls))
    assert (found.rows, found.added, found.refused, found.without_cost) == (1, 1, 0, 0)
    columns = (
        "id, task_type, user_id, session_id, model_decided, model_selected, provider, tokens_input, cost_usd,"
        " latency_ms, tags"
    )
    (row,) = stored(settings, "request_analytics", columns)
    assert row[:-1] == (
        whole["id"], "draft_email", "ada", whole["episode_id"], "small", "gpt-4o", "openai", 200,
        Decimal("0.0005"), 900.0,
    )  # fmt: skip
    assert {tag["key"]: tag["value"] for tag in row[-1]} == {"team": "a", "variant": "gpt"}


def test_what_is_unknown_stays_unknown(settings: Settings, tmp_path: Path) -> None:
    """A sum of which a part is unknown is NULL. An answer from TensorZero's own cache cost nothing."""
    partly, cached, plain = inference(), inference(), inference()
    calls = [
        call(partly, cost=None, output_tokens=None), call(partly), call(cached, cached=True, cost=None),
        call(plain),
    ]  # fmt: skip
    dump(tmp_path / "dump", ChatInference=[partly, cached, plain], ModelInference=calls)
    assert import_tables(settings, tmp_path / "dump").without_cost == 1
    found = stored(settings, "request_analytics", "cost_usd, tokens_output, price_id")
    assert found == [
        (None, None, None),
        (Decimal(0), 20, "tensorzero"),
        (Decimal("0.00045"), 20, "tensorzero"),
    ]


def test_feedback_comes_along(settings: Settings, tmp_path: Path) -> None:
    """A metric named as quality scores models; an episode of one request is that request."""
    one, two = inference(), inference()
    floats = [
        judgement(one["id"], value=0.75),
        judgement(two["episode_id"], value=0.25, tags=[("tensorzero::human_feedback", "true")]),
    ]
    booleans = [judgement(one["id"], metric_name="solved", value=True)]
    dump(
        tmp_path / "dump", ChatInference=[one], JsonInference=[two], ModelInference=[call(one), call(two)],
        FloatMetricFeedback=floats, BooleanMetricFeedback=booleans,
    )  # fmt: skip
    found = import_tables(settings, tmp_path / "dump", quality="rating")
    assert (found.judgements, found.judgements_added, found.refused) == (3, 3, 0)
    assert set(stored(settings, "feedback", "request_id, metric, value, source")) == {
        (one["id"], "quality", 0.75, "program"),
        (two["id"], "quality", 0.25, "user"),
        (one["id"], "solved", 1.0, "program"),
    }


def test_a_second_import_adds_nothing(settings: Settings, tmp_path: Path) -> None:
    """Ids are TensorZero's own. A later dump adds its new rows, and judgements of known requests."""
    one, two = inference(), inference()
    first = dump(
        tmp_path / "dump", ChatInference=[one, one], ModelInference=[call(one)],
        FloatMetricFeedback=[judgement(one["id"])],
    )  # fmt: skip
    assert (import_tables(settings, first).added, import_tables(settings, first).added) == (1, 0)
    later = [judgement(one["id"]), judgement(two["id"])]
    dump(
        tmp_path / "dump", ChatInference=[one, two], ModelInference=[call(one), call(two)],
        FloatMetricFeedback=later,
    )  # fmt: skip
    found = import_tables(settings, first)
    assert (found.added, found.judgements_added) == (1, 2)
    assert len(stored(settings, "request_analytics", "id")) == 2
    assert len(stored(settings, "feedback", "feedback_id")) == 3


def test_ids_may_be_bytes(settings: Settings, tmp_path: Path) -> None:
    """ClickHouse writes a UUID as 16 bytes."""
    one = inference()
    calls = [call(one)]
    folder = tmp_path / "dump" / "ChatInference"
    folder.mkdir(parents=True)
    rows = [{name: value for name, value in one.items() if name != "tags"}]
    binary = bytes.fromhex(one["id"].replace("-", ""))
    table = pa.Table.from_pylist(rows)
    table = table.set_column(0, "id", pa.array([binary], pa.binary(16)))
    pq.write_table(table, folder / "part-0.parquet")
    dump(tmp_path / "dump", ModelInference=calls)
    assert import_tables(settings, tmp_path / "dump").added == 1
    assert stored(settings, "request_analytics", "id") == [(one["id"],)]


FAULTS: list[tuple[str, dict[str, Any], dict[str, Any] | None, str]] = [
    ("no id of time", {"id": "6b1e2f3a-9c0d-4e5f-8a7b-0123456789ab"}, {}, "no UUIDv7"),
    ("the future", {"id": id_at(datetime(2040, 1, 1, tzinfo=UTC))}, {}, "in the future"),
    ("no function", {"function_name": ""}, {}, "no `function_name`"),
    ("no calls", {}, None, "no row in ModelInference"),
    ("a negative cost", {}, {"cost": Decimal("-0.100000000")}, "below zero"),
    ("negative tokens", {}, {"input_tokens": -5}, "`input_tokens` is `-5`"),
    ("no time", {"processing_time_ms": None}, {"response_time_ms": None}, "neither `processing_time_ms`"),
]


@pytest.mark.parametrize(("changes", "of_call", "cause"), [item[1:] for item in FAULTS], ids=lambda _: "")
def test_a_row_that_is_no_request_is_named(
    settings: Settings, tmp_path: Path, changes: dict[str, Any], of_call: dict[str, Any] | None, cause: str
) -> None:
    """The others are imported."""
    good, bad = inference(), inference(**changes)
    calls = [call(good), *([] if of_call is None else [call(bad, **of_call)])]
    found = import_tables(settings, dump(tmp_path / "dump", ChatInference=[good, bad], ModelInference=calls))
    assert (found.added, found.refused) == (1, 1)
    (fault,) = found.faults
    assert (fault.table, fault.row, cause in fault.cause) == ("ChatInference", 2, True), fault


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"value": 7.5}, "not from 0 to 1"),
        ({"value": float("nan")}, "not from 0 to 1"),
        ({"target_id": id_at(AT)}, "no request of the dump"),
        ({"metric_name": ""}, "no `metric_name`"),
    ],
)
def test_a_judgement_that_is_none_is_named(
    settings: Settings, tmp_path: Path, changes: dict[str, Any], cause: str
) -> None:
    """The request is imported all the same."""
    one = inference()
    dump(
        tmp_path / "dump", ChatInference=[one], ModelInference=[call(one)],
        FloatMetricFeedback=[judgement(one["id"], **changes)],
    )  # fmt: skip
    found = import_tables(settings, tmp_path / "dump")
    assert (found.added, found.judgements_added, found.refused) == (1, 0, 1)
    assert cause in found.faults[0].cause


def test_a_judgement_of_several_requests_is_named(settings: Settings, tmp_path: Path) -> None:
    """A judgement here is of one request."""
    one = inference()
    two = inference(episode_id=one["episode_id"])
    dump(
        tmp_path / "dump", ChatInference=[one, two], ModelInference=[call(one), call(two)],
        FloatMetricFeedback=[judgement(one["episode_id"])],
    )  # fmt: skip
    (fault,) = import_tables(settings, tmp_path / "dump").faults
    assert "an episode of 2 requests" in fault.cause


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ("empty", "lacks ChatInference"),
        ("damaged", "cannot be read"),
        ("other columns", "no column `inference_id`"),
        ("away", "does not exist"),
    ],
)
def test_another_folder_is_refused(settings: Settings, tmp_path: Path, spoilt: str, message: str) -> None:
    """With the reason, and nothing is written."""
    one = inference()
    folder = dump(tmp_path / "dump", ChatInference=[one], ModelInference=[call(one)])
    if spoilt == "damaged":
        (folder / "ModelInference.parquet").write_bytes(b"PAR1 no Parquet")
    elif spoilt == "other columns":
        dump(folder, ModelInference=[{"id": "a", "model": "b"}])
    elif spoilt == "empty":
        (folder / "ChatInference.parquet").unlink()
    else:
        folder = folder if spoilt == "damaged" else tmp_path / "elsewhere"
    command = ["tensorzero-logs", str(folder), "--home", str(settings.home)]
    done = CliRunner().invoke(COMMANDS[0], command)
    assert isinstance(done.exception, ImportSourceError), done.output
    assert message in str(done.exception)
    assert not settings.lake.exists()


def test_the_command_says_what_it_left_out(settings: Settings, tmp_path: Path) -> None:
    """Tables and columns that are not kept are named, and so are those that the dump lacks."""
    one = inference()
    folder = dump(
        tmp_path / "dump", ChatInference=[one], ModelInference=[call(one)],
        CommentFeedback=[{"id": new_id(), "value": "fine"}],
    )  # fmt: skip
    command = ["tensorzero-logs", str(folder), "--home", str(settings.home)]
    done = CliRunner().invoke(COMMANDS[0], command, catch_exceptions=False)
    assert "the dump lacks JsonInference, BooleanMetricFeedback, FloatMetricFeedback" in done.output
    assert "not kept: CommentFeedback, ChatInference.input" in done.output
