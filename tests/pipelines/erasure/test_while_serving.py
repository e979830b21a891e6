"""A person who goes on to send requests while they are erased: the erasure still ends."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines import flow
from pipelines.doctor import doctor
from pipelines.erasure import erasure
from pipelines.erasure.search import search
from pipelines.flow import erase
from pipelines.warehouse.warehouse import Warehouse
from router import Request, Router
from router.config import Settings
from router.providers.fake import FakeProvider
from tests.factories import write_catalog
from tests.pipelines.helpers import make_record, seal_records

NAME = "ada-lovelace"
"""Long enough for a search of texts: a shorter one can occur in any file by chance."""


def unfinished(settings: Settings) -> list[str]:
    """What the doctor says of erasures."""
    return [item.value for item in doctor.inspect(settings).findings if "erasure" in item.what]


def ids(settings: Settings, user: str = "ada") -> list[str]:
    """Ids of the person's rows, after a refresh."""
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
        found = warehouse.rows("select id from request_analytics where user_id = $user", user=user)
        return [name for (name,) in found]


def test_requests_that_are_sealed_during_an_erasure_are_erased(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of before the moment that reach the lake while the erasure works go too, at any step."""
    seal_records(settings, [make_record(user_id="ada"), make_record(user_id="bob")])
    for step in ("remove_person", "is_left", "certify"):
        real = getattr(erasure, step)

        def late(*arguments: object, real: object = real) -> object:
            seal_records(settings, [make_record(datetime.now(UTC) - timedelta(hours=1), user_id="ada")])
            return real(*arguments)  # type: ignore[operator]

        with monkeypatch.context() as patch:
            patch.setattr(erasure, step, late)
            certificate = erase(settings, "ada")
        assert certificate.remaining == (), step
        assert ids(settings) == [], step
        assert unfinished(settings) == [], step


def test_later_requests_are_named_and_stay(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records from the moment on are no trace of an unfinished erasure. Another erasure removes them."""
    seal_records(settings, [make_record(user_id="ada"), make_record(user_id="bob")])
    real = erasure.remove_person

    def while_it_works(*arguments: object) -> None:
        seal_records(settings, [make_record(datetime.now(UTC), user_id="ada")])
        real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(erasure, "remove_person", while_it_works)
        certificate = erase(settings, "ada")
    assert certificate.remaining == ()
    assert {name.partition("/")[0] for name in certificate.later} >= {"lake", "warehouse"}
    assert len(ids(settings)) == 1
    assert unfinished(settings) == []
    again = erase(settings, "ada")
    assert (again.remaining, again.later) == ((), ())
    assert ids(settings) == []


@pytest.mark.parametrize("is_sealed", [False, True], ids=["open", "sealed"])
def test_a_journal_that_begins_during_the_search_is_pending(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, is_sealed: bool
) -> None:
    """Also when its router seals it before the search is judged: the next refresh erases the person."""
    seal_records(settings, [make_record(user_id=NAME), make_record(user_id="bob")])
    journal = settings.home / "journal" / "request_analytics" / "0123456789ab-00000001.jsonl"
    real = search

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.write_text('{"id": "x", "user_id": "ada-lovelace"}\n')
        found = real(*arguments, **options)
        if is_sealed:
            journal.unlink()
            seal_records(settings, [make_record(datetime.now(UTC), user_id=NAME)])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(erasure, "search", meanwhile)
        certificate = erase(settings, NAME)
    assert certificate.remaining == ()
    assert certificate.pending_journals == (str(journal.relative_to(settings.home)),)
    journal.unlink(missing_ok=True)
    assert len(ids(settings, NAME)) == int(is_sealed)  # its record is of after the moment
    assert unfinished(settings) == []


@pytest.mark.slow
def test_a_router_that_serves_the_person_all_along(settings: Settings) -> None:
    """Requests without a pause from a running router leave nothing of before the moment."""
    models = {"models": {"small": {"answer": "a", "tokens_input": 10, "tokens_output": 1}}}
    with FakeProvider(models) as url:
        write_catalog(settings.home, ["small"], base_url=url)
        stop = threading.Event()
        with Router.open(home=settings.home, journal_seal_interval_s=0.2) as router:

            def serve() -> None:
                while not stop.is_set():
                    messages = [{"role": "user", "content": "hi"}]
                    router.complete_sync(Request(messages=messages, task_type="math", user_id="ada-lovelace"))
                    stop.wait(0.1)

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                certificate = erase(settings, "ada-lovelace")
            finally:
                stop.set()
                thread.join()
    assert certificate.remaining == ()
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
        (earliest,) = warehouse.rows(
            "select min(timestamp) from request_analytics where user_id = 'ada-lovelace'"
        )[0]
    assert earliest is None or earliest >= certificate.erased_at
    assert unfinished(settings) == []
