"""What was in flight when a process died stays charged, and nothing else does."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.erasure.search import search
from pipelines.flow import erase
from router.config import Settings
from router.journal.journal import encode
from router.limits.book import LimitBook
from router.limits.counters import Subjects
from router.limits.limits import Limits
from router.limits.reservations import ReservationLog
from router.records import new_id
from tests.pipelines.helpers import NOW, make_record, seal_records

if TYPE_CHECKING:
    from pathlib import Path

    from router.limits.counters import Account

USD = 10**12
PERSON = "person-4711@example.org"
BUDGETS = """
budgets:
  - {id: hard, scope: user, subject: "*", usd: 100, period: month, mode: hard}
  - {id: soft, scope: user, subject: "*", usd: 100, period: day, mode: soft}
"""


@pytest.fixture
def settings(home: Path) -> Settings:
    (home / "limits.yaml").write_text(BUDGETS)
    return Settings.load({}, home=home)


def accounts(home: Path, at: datetime | None = None) -> tuple[Account, ...]:
    rules = LimitBook.load(home / "limits.yaml").rules(Subjects(user=PERSON))
    assert rules is not None
    return rules.accounts(int((at or datetime.now(UTC)).timestamp() // 86_400))


def record_in_journal(home: Path, request_id: str, cost: str | None) -> None:
    folder = home / "journal" / "request_analytics"
    folder.mkdir(parents=True, exist_ok=True)
    record = make_record(datetime.now(UTC), id=request_id, user_id=PERSON)
    row = make_record(
        record.timestamp, id=request_id, user_id=PERSON, cost_usd=None if cost is None else Decimal(cost)
    )
    with (folder / "dead-1.jsonl").open("ab") as file:
        file.write(encode(row))


def spent(settings: Settings) -> int:
    """What the hard budget is charged when a router opens on the folder."""
    limits = Limits.open(settings)
    try:
        headroom = asyncio.run(limits.admit(Subjects(user=PERSON))).headroom
        assert headroom is not None
        return 100 * USD - headroom
    finally:
        limits.close()


def serve_and_die(home: str, ids: list[str]) -> None:
    """Reserve $1, $2, $4, … for the ids; settle, release, record some; be killed."""
    from pathlib import Path

    settings = Settings.load({}, home=Path(home))

    async def work() -> None:
        limits = Limits.open(settings)
        admissions = []
        for number, request_id in enumerate(ids):
            admission = await limits.admit(Subjects(user=PERSON))
            assert await limits.reserve(admission, request_id, 2**number * USD)
            admissions.append(admission)
        # 0 stays in flight without a record; 1 has its record and is not settled yet; 2 is done
        record_in_journal(Path(home), ids[1], "0.25")
        record_in_journal(Path(home), ids[2], "0.25")
        await limits.settle(admissions[2], USD // 4)
        # 3 is done at a cost that is not known; 4 was refused by its provider
        record_in_journal(Path(home), ids[3], None)
        await limits.settle(admissions[3], None)
        record_in_journal(Path(home), ids[4], None)
        await limits.release(admissions[4])
        # 5 fell back from an attempt that may have cost $3
        record_in_journal(Path(home), ids[5], "0.5")
        await limits.settle(admissions[5], USD // 2, unrecorded=3 * USD)
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(work())


def killed(target: Any, *arguments: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_process_leaves_its_worst_cases_charged(settings: Settings) -> None:
    """In flight, recorded, of unknown cost, beside a record: each counts once, at every start."""
    killed(serve_and_die, str(settings.home), [new_id()[0] for _ in range(6)])
    expected = (1 * 4 + 1 + 1 + 8 * 4 + 2 + 3 * 4) * USD // 4
    assert spent(settings) == expected
    assert spent(settings) == expected
    assert len(list((settings.home / "budgets").glob("*.log"))) == 1


def test_a_log_taken_over_but_not_removed_counts_once(settings: Settings) -> None:
    """A kill between taking a log over and removing it changes no amount."""
    folder = settings.home / "budgets"
    log = ReservationLog(folder)
    log.reserve(new_id()[0], 5 * USD, accounts(settings.home))
    content, name = log.path.read_bytes(), log.path.name
    log.settle("unknown", None, 0)
    log.close()
    heir = ReservationLog(folder)
    unlinked: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(heir.path), "unlink", lambda path, **_: unlinked.append(path.name))
        heir.adopt(lambda _: {})
        taken_over = heir.path.read_bytes()
    assert unlinked == [name]
    assert f"A {name}".encode() in taken_over
    heir.close()
    (folder / name).write_bytes(content)  # both stand, as after the kill
    heir.path.write_bytes(taken_over)
    assert spent(settings) == 5 * USD


def test_a_live_process_keeps_its_log(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """What another router holds is its own; that the budget is not shared is said."""
    log = ReservationLog(settings.home / "budgets")
    log.reserve(new_id()[0], 5 * USD, accounts(settings.home))
    assert spent(settings) == 0
    assert "another router counts budgets" in caplog.text
    log.close()
    assert spent(settings) == 5 * USD


def test_a_torn_or_foreign_line_hurts_only_itself(settings: Settings) -> None:
    """A log cut short by a full disk or edited by hand keeps its other lines."""
    log = ReservationLog(settings.home / "budgets")
    log.reserve(new_id()[0], 5 * USD, accounts(settings.home))
    log.close()
    content = log.path.read_bytes()
    log.path.write_bytes(b"R x y z\nC\n\xff\xfe\n" + content + b"R 0198 7000000000000 99")
    assert spent(settings) == 5 * USD


def test_a_clean_end_leaves_no_file(settings: Settings) -> None:
    """Everything settled at its record's cost: the records say it all."""
    limits = Limits.open(settings)

    async def work() -> None:
        admission = await limits.admit(Subjects(user=PERSON))
        await limits.reserve(admission, new_id()[0], USD)
        await limits.settle(admission, USD // 2)

    asyncio.run(work())
    limits.close()
    assert list((settings.home / "budgets").iterdir()) == []


def test_the_log_is_bounded_by_what_is_in_flight(settings: Settings) -> None:
    """Ten thousand requests of unknown cost leave one line; their sum stays."""
    log = ReservationLog(settings.home / "budgets", max_bytes=10_000)
    mine = accounts(settings.home)
    largest = 0
    for number in range(10_000):
        log.reserve(f"r{number}", 2, mine)
        log.settle(f"r{number}", None, 0)
        largest = max(largest, log._size)
    assert largest < 11_000
    log.close()
    assert len(log.path.read_bytes().splitlines()) == 1
    assert spent(settings) == 20_000


def test_charges_end_with_their_period(settings: Settings) -> None:
    """What is over is dropped when the log is written anew."""
    past = datetime.now(UTC) - timedelta(days=62)
    log = ReservationLog(settings.home / "budgets")
    log.reserve("old", 5 * USD, accounts(settings.home, past))
    log.settle("old", None, 0)
    log.close()
    assert not log.path.exists()


def test_a_full_disk_refuses_and_reserves_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be noted is not called: a restart would forget it."""
    from router.errors import LimitsUnavailableError

    limits = Limits.open(settings)

    async def work() -> None:
        admission = await limits.admit(Subjects(user=PERSON))
        with monkeypatch.context() as patch:
            patch.setattr("router.limits.reservations.os.write", lambda *_: 3)
            with pytest.raises(LimitsUnavailableError, match="cannot be written under budgets/"):
                await limits.reserve(admission, new_id()[0], USD)
        assert (await limits.admit(Subjects(user=PERSON))).headroom == 100 * USD
        assert await limits.reserve(admission, new_id()[0], USD)

    asyncio.run(work())
    limits.close()


def test_an_erased_person_stands_in_no_reservation_log(settings: Settings) -> None:
    """Accounts are named by a digest, so that erasing finds nothing of the person and their money stays."""
    log = ReservationLog(settings.home / "budgets")
    log.reserve(new_id()[0], USD, accounts(settings.home))
    seal_records(settings, [make_record(NOW, user_id=PERSON), make_record(NOW)])
    assert search([settings.home], [PERSON]).hits
    certificate = erase(settings, PERSON)
    assert certificate.searched is not None
    assert search([settings.home], [PERSON]).hits == {}
    assert log.path.exists()
    log.close()
    assert spent(settings) == USD
