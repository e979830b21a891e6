"""Documents have the older document's shape, and a target follows the warehouse."""

from __future__ import annotations

import contextlib
import itertools
import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipelines import flow
from pipelines.copies.copy_commands import export_group
from pipelines.copies.documents import export_documents
from pipelines.errors import CopyError
from pipelines.reports.reports import query
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.configuration.folder import StateFolder
from router.configuration.watching import look
from router.errors import ConfigError
from router.records import Candidate
from tests.factories import write_catalog
from tests.pipelines.copies.mongo import MongoServer
from tests.pipelines.helpers import NOW, make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from router.records import Record

CANARY = "canary-mongo-password"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    """A server with an empty database."""
    with MongoServer(tmp_path / "mongo") as started:
        yield started


@pytest.fixture
def refresh(settings: Settings) -> Callable[..., None]:
    """Seals records, if there are any, and publishes."""

    def run(*records: Record) -> None:
        if records:
            seal_records(settings, records)
        with Warehouse(settings) as warehouse:
            flow.run_refresh(warehouse)

    return run


def requests(count: int, **changes: Any) -> list[Record]:
    """Requests over several parts of the documents."""
    return [
        make_record(
            NOW + timedelta(minutes=11 * number),
            user_id=f"u{number % 2}",
            cost_usd=Decimal("0.000032") + number * Decimal("0.000000000001"),
            **changes,
        )
        for number in range(count)
    ]


def total(documents: list[dict[str, Any]]) -> Decimal:
    """The exact sum of the documents' costs."""
    return sum(
        (Decimal(repr(item["performance_metrics"]["cost_usd"])) for item in documents), start=Decimal(0)
    )


def test_a_document_has_the_named_shape(
    settings: Settings, refresh: Callable[..., None], tmp_path: Path
) -> None:
    """Nesting, names and values of a document, with the weights of the configuration that decided."""
    write_catalog(settings.home, ["gpt-4o-mini", "gpt-4o", "claude-3-haiku", "tiny"])
    seen = look(StateFolder(settings.home), settings)
    assert seen.version is not None
    request = make_record(
        user_id="user_456",
        config_hash=seen.version.config_hash,
        model_selected="gpt-4o-mini",
        reason="cost optimization",
        candidates=[
            Candidate(model="gpt-4o-mini", is_eligible=True),
            Candidate(model="gpt-4o", is_eligible=True),
            Candidate(model="tiny", is_eligible=False, exclusion="it is too small"),
            Candidate(model="claude-3-haiku", is_eligible=True),
        ],
        tokens_input=20,
        tokens_output=45,
        cost_usd=Decimal("0.000032"),
        latency_ms=850.0,
    )
    refresh(request)
    file = tmp_path / "documents.jsonl"
    export_documents(settings, str(file))
    assert json.loads(file.read_text()) == {
        "_id": request.id,
        "timestamp": f"{NOW:%Y-%m-%dT%H:%M:%S}.000Z",
        "user_id": "user_456",
        "routing_decision": {
            "selected_model": "gpt-4o-mini",
            "reason": "cost optimization",
            "alternatives_considered": ["gpt-4o", "claude-3-haiku"],
            "decision_factors": {"cost_weight": 0.1, "quality_weight": 1.0},
        },
        "performance_metrics": {
            "cost_usd": 0.000032,
            "latency_ms": 850.0,
            "tokens": {"input": 20, "output": 45},
        },
    }


def test_unknown_values_are_null(settings: Settings, refresh: Callable[..., None], tmp_path: Path) -> None:
    """Cost, tokens, model and weights that are not known are null, and no zero."""
    refresh(
        make_record(model_selected=None, cost_usd=None, tokens_input=None, tokens_output=None, user_id=None)
    )
    export_documents(settings, str(tmp_path / "d.jsonl"))
    document = json.loads((tmp_path / "d.jsonl").read_text())
    assert document["user_id"] is None
    assert document["routing_decision"]["selected_model"] is None
    assert document["routing_decision"]["decision_factors"] is None
    assert document["performance_metrics"]["cost_usd"] is None
    assert document["performance_metrics"]["tokens"] == {"input": None, "output": None}


@pytest.mark.smoke
def test_a_second_export_leaves_the_file(
    settings: Settings, refresh: Callable[..., None], tmp_path: Path
) -> None:
    """The same warehouse gives the same bytes, and a file with them is not touched."""
    refresh(*requests(5))
    file = tmp_path / "documents.jsonl"
    first = export_documents(settings, str(file))
    before = (file.read_bytes(), file.stat().st_ino)
    second = export_documents(settings, str(file))
    assert (first.documents, first.written, second.written, second.removed) == (5, 5, 0, 0)
    assert (file.read_bytes(), file.stat().st_ino) == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["documents.jsonl"]


def test_a_file_follows_an_erasure(settings: Settings, refresh: Callable[..., None], tmp_path: Path) -> None:
    """The next export drops the person's documents and counts them."""
    refresh(*requests(6))
    file = tmp_path / "documents.jsonl"
    export_documents(settings, str(file))
    flow.erase(settings, "u1")
    result = export_documents(settings, str(file))
    assert (result.documents, result.written, result.removed) == (3, 0, 3)
    assert b'"u1"' not in file.read_bytes()


def test_an_erasure_names_exported_documents(
    settings: Settings, refresh: Callable[..., None], tmp_path: Path
) -> None:
    """A target is named as remaining until it was exported to again, and not before it holds anyone."""
    refresh(*requests(4))
    file = tmp_path / "documents.jsonl"
    export_documents(settings, str(file))
    assert flow.erase(settings, "nobody").remaining == ()
    certificate = flow.erase(settings, "u1")
    assert certificate.remaining == (str(file),)
    assert flow.erase(settings, "u1").remaining == (str(file),)
    export_documents(settings, str(file))
    assert flow.erase(settings, "u1").remaining == ()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("documents.json", "ends in `.jsonl`"),
        ("postgresql://u:canary-mongo-password@h/d", "cannot be exported to `postgresql://`"),
        ("missing/documents.jsonl", "cannot be written: No such file"),
    ],
)
def test_a_wrong_target_is_refused(
    target: str, message: str, settings: Settings, refresh: Callable[..., None], tmp_path: Path
) -> None:
    """The error says which targets there are, and shows no password."""
    refresh(*requests(1))
    place = target if "://" in target else str(tmp_path / target)
    with pytest.raises((ConfigError, CopyError), match=message) as caught:
        export_documents(settings, place)
    assert CANARY not in str(caught.value)


def test_a_file_of_another_program_is_left(
    settings: Settings, refresh: Callable[..., None], tmp_path: Path
) -> None:
    """A file that holds no documents is not overwritten."""
    refresh(*requests(1))
    (tmp_path / "mine.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(ConfigError, match="holds no request documents"):
        export_documents(settings, str(tmp_path / "mine.jsonl"))
    assert (tmp_path / "mine.jsonl").read_text() == '{"a": 1}\n'


def test_a_server_holds_the_documents_of_the_file(
    settings: Settings, refresh: Callable[..., None], server: MongoServer, tmp_path: Path
) -> None:
    """Both targets hold the same documents, with costs that sum to the warehouse's last digit."""
    refresh(*requests(7))
    export_documents(settings, server.url)
    export_documents(settings, str(tmp_path / "d.jsonl"))
    held = server.documents()
    assert held == [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    ((expected,),) = query(settings, "select sum(cost_usd) from request_analytics").rows()
    assert total(held) == expected


def test_a_second_export_writes_nothing(
    settings: Settings, refresh: Callable[..., None], server: MongoServer
) -> None:
    """Only parts that differ are written, and the documents stay the same."""
    refresh(*requests(7))
    first = export_documents(settings, server.url)
    before = server.documents()
    second = export_documents(settings, server.url)
    assert (first.written, second.written, second.removed) == (7, 0, 0)
    assert server.documents() == before
    refresh(*requests(2, task_type="code"))
    assert export_documents(settings, server.url).documents == 9
    assert len(server.documents()) == 9


def test_a_server_follows_erasure_and_retention(
    settings: Settings, refresh: Callable[..., None], server: MongoServer
) -> None:
    """Documents of an erased person and of expired requests are deleted."""
    old = [make_record(NOW - timedelta(days=100)), *requests(6)]
    refresh(*old)
    export_documents(settings, server.url)
    assert flow.erase(settings, "u1").remaining == (
        f"mongodb://127.0.0.1:{server.port}/intellirouter.request_documents",
    )
    export_documents(settings, server.url)
    assert {item["user_id"] for item in server.documents()} == {"u0"}
    with Warehouse(settings) as warehouse:
        flow.retain(warehouse, now=NOW + timedelta(hours=3))
    refresh()
    assert export_documents(settings, server.url).documents == len(server.documents()) == 3


def _stopping(patch: pytest.MonkeyPatch, stop: int) -> Callable[[], int]:
    """Stops before the n-th call to a collection. Returns the number of calls so far."""
    from pymongo.collection import Collection

    calls = itertools.count(1)
    made = [0]

    def stopped(name: str) -> Callable[..., Any]:
        method = getattr(Collection, name)

        def call(*arguments: Any, **named: Any) -> Any:
            made[0] = next(calls)
            if made[0] == stop:
                raise KeyboardInterrupt
            return method(*arguments, **named)

        return call

    for name in ("find_one", "replace_one", "bulk_write", "find", "delete_many", "delete_one"):
        patch.setattr(Collection, name, stopped(name))
    return lambda: made[0]


def test_an_export_goes_on_where_it_was_stopped(
    settings: Settings, refresh: Callable[..., None], server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at any command to the server, the next export leaves every document once."""
    refresh(*requests(5))
    export_documents(settings, server.url)
    expected = server.documents()
    import pymongo

    with pymongo.MongoClient[dict[str, Any]](server.url) as client:
        for stop in range(1, 40):
            client.intellirouter.request_documents.delete_many({})
            client.intellirouter.request_documents_parts.delete_many({})
            with monkeypatch.context() as patch:
                commands = _stopping(patch, stop)
                with contextlib.suppress(KeyboardInterrupt):
                    export_documents(settings, server.url)
            export_documents(settings, server.url)
            assert server.documents() == expected, stop
            if commands() < stop:
                break
        else:
            pytest.fail("the export sends more commands than were stopped")


def test_a_collection_of_another_program_is_left(
    settings: Settings, refresh: Callable[..., None], server: MongoServer
) -> None:
    """A collection with documents and without our ledger is not touched."""
    import pymongo

    refresh(*requests(1))
    with pymongo.MongoClient[dict[str, Any]](server.url) as client:
        client.intellirouter.orders.insert_one({"_id": "1", "item": "tea"})
    with pytest.raises(CopyError, match="holds documents that no export has written"):
        export_documents(settings, server.url, collection="orders")
    assert server.documents("orders") == [{"_id": "1", "item": "tea"}]
    assert export_documents(settings, server.url).documents == 1


def test_a_document_that_is_too_large_is_named(
    settings: Settings, refresh: Callable[..., None], server: MongoServer
) -> None:
    """Documents over the server's bound are left out and named; all others are there."""
    large = make_record(reason="x" * (17 << 20))
    refresh(large, make_record(), *requests(3))
    result = export_documents(settings, server.url)
    assert (result.documents, len(server.documents())) == (4, 4)
    with pytest.raises(CopyError, match=f"1 documents are not in .*`{large.id}`: 178.* bytes"):
        result.raise_if_refused()


def test_a_server_that_is_away_is_named_without_its_password(
    settings: Settings, refresh: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the server and says that the next export goes on."""
    monkeypatch.setattr("pipelines.copies.mongodb.TIMEOUT_MS", 200)
    refresh(*requests(1))
    with pytest.raises(CopyError, match=r"`mongodb://127.0.0.1:9/x.* the next export goes on") as caught:
        export_documents(settings, f"mongodb://ada:{CANARY}@127.0.0.1:9/x")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["mongodb://ada:{}@", "mongodb://a:{}@h:port/x", "mongodb://a:{}%zz@h/x"],
)
def test_a_url_that_cannot_be_read_shows_no_password(
    url: str, settings: Settings, refresh: Callable[..., None]
) -> None:
    """The driver's message may quote the URL, ours does not."""
    refresh(*requests(1))
    with pytest.raises(ConfigError) as caught:
        export_documents(settings, url.format(CANARY))
    assert CANARY not in str(caught.value)


def test_the_command_prints_its_counts(
    settings: Settings, refresh: Callable[..., None], tmp_path: Path
) -> None:
    """`export documents --to FILE` says where documents went, and how many."""
    refresh(*requests(2))
    words = ["documents", "--home", str(settings.home), "--to", str(tmp_path / "d.jsonl")]
    answer = CliRunner().invoke(export_group, words)
    assert answer.exit_code == 0
    assert answer.output == f"{tmp_path / 'd.jsonl'}: 2 documents, 2 written, 0 removed\n"
