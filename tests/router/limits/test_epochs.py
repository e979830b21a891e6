"""Budgets hold although Redis lost its data: each host reports its spend again before any host gets more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from router.config import Settings
from router.errors import LimitsUnavailableError
from router.journal.journal import Journal
from router.limits import epochs, remote
from router.limits.counters import Subjects
from router.limits.hosts import HostFolder
from router.limits.leases import LeasedStore
from router.limits.limits import Limits
from router.limits.spend import read_spend
from router.records import new_id
from tests.crash.reporting import is_long, show
from tests.pipelines.helpers import make_record, seal_records
from tests.router.limits import flushes, loss_histories, rush
from tests.router.limits.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.limits.admission import Admission

USD = rush.USD
FIGURES = ("affordable", "served")
ADA = Subjects(user="ada", organization="acme")


class Host:
    """A data folder with one process, on one Redis."""

    def __init__(self, home: Path, url: str, *, recovery_s: float = 0.0, lake_url: str | None = None) -> None:
        if not (home / "limits.yaml").exists():
            home.mkdir(parents=True, exist_ok=True)
            (home / "limits.yaml").write_text(rush.BUDGETS)
        self.home = home
        self.journal = Journal(home, seal_interval_s=60, max_bytes=1 << 20)
        self.limits = Limits.open(
            Settings.load({}, home=home, redis_url=url, limits_recovery_s=recovery_s, lake_url=lake_url)
        )

    @property
    def epochs(self) -> epochs.Epochs:
        """The store's epochs."""
        found: epochs.Epochs = self.limits.store._inner._epochs  # type: ignore[attr-defined]
        return found

    def look(self) -> None:
        """Make contact with Redis, as the thread does every second."""
        self.epochs.look()

    async def begin(self, amount: int) -> Admission:
        """A request that is granted, and in flight."""
        request_id, at = new_id()
        admission = await self.limits.admit(ADA, at=at)
        assert await self.limits.reserve(admission, request_id, amount)
        return admission

    async def give_back(self) -> None:
        """Give back the process's leases, which others count as charged."""
        store = self.limits.store
        assert isinstance(store, LeasedStore)
        store._closing += store._leases.values()
        store._leases.clear()
        await store._close_all()

    def write(self, admission: Admission, cost: int) -> None:
        """Its record."""
        assert admission.request_id is not None
        self.journal.append(rush.record(admission.request_id, "ada", cost))

    async def spend(self, amount: int) -> None:
        """A whole request."""
        admission = await self.begin(amount)
        self.write(admission, amount)
        await self.limits.settle(admission, amount)

    async def left(self) -> int:
        """Pico-dollars left of the budget of $10, with nothing in a lease."""
        return (await self.limits.admit(ADA)).headroom or 0

    async def refuses(self, amount: int = USD) -> bool:
        """Whether the budget has no room."""
        request_id, at = new_id()
        return not await self.limits.reserve(await self.limits.admit(ADA, at=at), request_id, amount)

    def close(self) -> None:
        """End the process."""
        self.limits.close()
        self.journal.close()


class World:
    """Hosts on one Redis that loses its data."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self.folder = folder
        self.server = server
        self.hosts: list[Host] = []

    def host(self, name: str = "a", **how: Any) -> Host:
        """Another process, on the data folder of that name."""
        self.hosts.append(Host(self.folder / name, self.server.url, **how))
        return self.hosts[-1]

    def lose(self, loss: Any = "flush") -> None:
        """Lose all data, or what came after the last `save`."""
        flushes.lose(self.server, self.folder, loss)

    def save(self) -> None:
        """Make the snapshot that a restart reads."""
        with flushes.client(self.server) as client:
            client.save()

    def run(self, work: Any) -> None:
        """Run a coroutine, and close the connections."""

        async def main() -> None:
            try:
                await work
            finally:
                for host in self.hosts:
                    await host.limits.aclose_connections()

        asyncio.run(main())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A redis-server of the test's own."""
    reason = RedisServer.missing()
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.setattr(remote, "PROBE_INTERVAL_S", 0.0)
    with RedisServer(tmp_path) as server:
        made = World(tmp_path, server)
        yield made
        for host in made.hosts:
            host.close()


@pytest.mark.smoke
@pytest.mark.parametrize("loss", ["flush", "empty restart"])
def test_a_budget_that_two_hosts_used_up_stays_used_up(world: World, loss: str) -> None:
    """Neither knows of the other's spend, so the first waits until the second has reported."""
    one, other = world.host("a"), world.host("b")

    async def work() -> None:
        await one.spend(5 * USD)
        await other.spend(5 * USD)
        one.look()  # every second, from a thread of its own
        world.lose(loss)
        with pytest.raises(LimitsUnavailableError, match="1 host has yet to report"):
            await one.refuses()
        other.look()
        assert await one.refuses()
        assert await other.refuses()

    world.run(work())


def test_what_is_left_is_served_once_every_host_has_reported(world: World) -> None:
    """To the last cent, and no more."""
    one, other = world.host("a"), world.host("b")

    async def work() -> None:
        await one.spend(3 * USD)
        await other.spend(2 * USD)
        world.lose()
        one.look()
        other.look()
        await one.spend(4 * USD)
        await other.spend(USD)
        assert await one.refuses(1)

    world.run(work())


def test_a_restart_from_an_old_snapshot_forgets_nothing(world: World) -> None:
    """Redis answered for more calls than it knows of: who notices has every host report."""
    one, other = world.host("a"), world.host("b")

    async def work() -> None:
        await other.spend(2 * USD)
        world.save()
        await one.spend(5 * USD)
        world.lose("old snapshot")
        other.look()  # it lost nothing
        with contextlib.suppress(LimitsUnavailableError):
            await one.refuses(3 * USD)
        other.look()
        assert await one.left() == 3 * USD
        assert await other.left() == 3 * USD

    world.run(work())


def test_ten_processes_of_a_host_report_once(world: World) -> None:
    """Their data folder is one host."""
    processes = [world.host("a") for _ in range(10)]

    async def work() -> None:
        await processes[0].spend(2 * USD)
        world.lose()
        await asyncio.gather(*(asyncio.to_thread(process.look) for process in processes))
        for process in processes:
            assert await process.left() == 8 * USD

    world.run(work())


@pytest.mark.parametrize("is_recorded", [False, True])
def test_a_request_in_flight_counts_once(world: World, is_recorded: bool) -> None:
    """Whether or not its record was there when its host reported. A fallback's bill counts too."""
    one, other = world.host("a"), world.host("a")

    async def work() -> None:
        admission = await one.begin(5 * USD)
        if is_recorded:
            one.write(admission, 2 * USD)
        world.lose()
        other.look()
        assert await other.left() == (8 if is_recorded else 5) * USD
        if not is_recorded:
            one.write(admission, 2 * USD)
        await one.limits.settle(admission, 2 * USD)
        assert await other.left() == 8 * USD
        world.lose()
        assert await other.left() == 8 * USD

    world.run(work())


def test_bills_beyond_the_record_survive(world: World) -> None:
    """Attempts that may have been billed, and requests of unknown cost."""
    one = world.host("a")

    async def work() -> None:
        admission = await one.begin(3 * USD)
        one.write(admission, USD)
        await one.limits.settle(admission, USD, unrecorded=USD)
        unknown = await one.begin(2 * USD)
        await one.limits.settle(unknown, None)
        assert await one.left() == 6 * USD
        for _ in range(2):
            world.lose()
            assert await one.left() == 6 * USD

    world.run(work())


def test_what_a_killed_process_had_in_flight_survives(world: World) -> None:
    """Its log says so, also after another process took the log over."""
    one, other = world.host("a"), world.host("b")

    async def work() -> None:
        await one.begin(5 * USD)
        one.limits.close = lambda: None  # type: ignore[method-assign]
        log = one.limits._log
        assert log is not None
        os.close(log._descriptor)  # the kernel releases the lock
        log._descriptor = -1
        await one.limits.aclose_connections()
        heir = world.host("a")
        world.lose()
        heir.look()
        other.look()
        assert await other.left() == 5 * USD
        world.host("a")
        world.lose()
        heir.look()
        assert await heir.left() == 5 * USD

    world.run(work())


def test_a_reservation_that_the_report_missed_does_not_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host reports between the answer of Redis and the line in the log: the request is refused."""
    one, other = world.host("a"), world.host("a")

    async def work() -> None:
        await one.spend(USD)
        log = one.limits._log
        assert log is not None
        reserve = log.reserve

        def report_first(*arguments: Any) -> None:
            world.lose()
            other.look()
            reserve(*arguments)

        monkeypatch.setattr(log, "reserve", report_first)
        with pytest.raises(LimitsUnavailableError, match="Try again"):
            await one.begin(5 * USD)
        monkeypatch.undo()
        monkeypatch.setattr(remote, "PROBE_INTERVAL_S", 0.0)
        assert await other.left() == 9 * USD
        world.lose()
        assert await other.left() == 9 * USD

    world.run(work())


def test_a_lease_ends_with_its_epoch(world: World) -> None:
    """Each draw on it counts once, and requests draw nothing more once the host has reported."""
    one, other = world.host("a"), world.host("a")

    async def work() -> None:
        for _ in range(3):
            await one.spend(USD // 10)
        world.server.stop()
        drawn = await one.begin(USD // 10)
        done = await one.begin(USD // 10)
        one.write(done, USD // 10)
        await one.limits.settle(done, USD // 10)
        world.server.start()
        other.look()  # one has not noticed yet
        assert await other.left() == 95 * USD // 10
        world.server.stop()
        assert not one.limits.serves_away
        with pytest.raises(LimitsUnavailableError):
            await one.begin(USD // 10)
        world.server.start()
        one.look()
        one.write(drawn, USD // 20)
        await one.limits.settle(drawn, USD // 20)
        assert await other.left() == 10 * USD - 4 * USD // 10 - USD // 20

    world.run(work())


def test_a_new_redis_waits_for_hosts_that_may_make_contact(world: World) -> None:
    """A host that is new knows no other host, so time must pass; then it is refused no more."""
    old = world.host("a")

    async def work() -> None:
        await old.spend(10 * USD)
        world.lose()
        newcomer = world.host("b", recovery_s=0.5)
        with pytest.raises(LimitsUnavailableError, match="others may within 1 s") as caught:
            await newcomer.refuses()
        assert caught.value.retry_after_s == 1
        with pytest.raises(LimitsUnavailableError, match="hosts still report"):
            await newcomer.limits.balances(ADA)
        old.look()
        await asyncio.sleep(0.5)
        assert await newcomer.refuses()
        assert await newcomer.limits.balances(ADA)

    world.run(work())


def test_a_host_that_is_down_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """For an hour after it was seen, since only it knows its spend. Free requests and soft budgets go on."""
    one, other = world.host("a"), world.host("b")

    async def work() -> None:
        await other.spend(5 * USD)
        await one.spend(USD)
        one.look()
        world.lose()
        for _ in range(3):
            with pytest.raises(LimitsUnavailableError, match="yet to report"):
                await one.refuses()
        assert await one.limits.reserve(await one.limits.admit(ADA), "free", 0)
        monkeypatch.setattr(epochs, "KNOWN_S", 0)
        world.lose()
        assert await one.left() == 9 * USD

    world.run(work())


def test_a_host_that_comes_late_adds_its_spend(world: World) -> None:
    """New to a Redis that counts already, or back after its time."""
    one = world.host("a")

    async def work() -> None:
        await one.spend(USD)
        await one.give_back()
        late = world.host("b")
        late.journal.append(rush.record(new_id()[0], "ada", 2 * USD))
        assert await late.left() == 7 * USD
        assert await one.left() == 7 * USD

    world.run(work())


def test_a_copy_of_a_data_folder_does_not_report_what_is_counted(world: World) -> None:
    """A folder that moved to another disk has another id, and knows that it has reported."""
    one = world.host("a")

    async def work() -> None:
        await one.spend(2 * USD)
        await one.give_back()
        shutil.copytree(world.folder / "a", world.folder / "b")
        moved = world.host("b")
        assert await moved.left() == 8 * USD
        assert moved.epochs.host.id != one.epochs.host.id

    world.run(work())


def test_a_report_that_was_cut_is_finished(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next report charges nothing twice."""
    one = world.host("a")

    async def work() -> None:
        await one.spend(2 * USD)
        await one.begin(3 * USD)
        world.lose()
        run, calls = epochs.Epochs._eval, 0

        def fail_late(self: Any, client: Any, script: str, *rest: Any) -> Any:
            nonlocal calls
            answer = run(self, client, script, *rest)
            calls += "charged it" in script
            if calls == 1 and "charged it" in script:
                raise ConnectionResetError
            return answer

        monkeypatch.setattr(epochs.Epochs, "_eval", fail_late)
        with pytest.raises(LimitsUnavailableError):
            await one.left()
        assert await one.left() == 5 * USD

    world.run(work())


def test_a_budget_that_is_added_later_counts_every_hosts_spend(world: World) -> None:
    """Each host reports it once, when it first counts in it."""
    one, other = world.host("a"), world.host("b")
    more = rush.BUDGETS + '  - {id: new, scope: user, subject: "*", usd: 8, period: week, mode: hard}\n'

    async def work() -> None:
        await one.spend(2 * USD)
        await other.spend(3 * USD)
        for host in (one, other):
            (host.home / "limits.yaml").write_text(more)
            assert host.limits.reload()
            await host.left()
        assert await one.left() == 3 * USD
        await one.spend(USD)
        assert await other.left() == 2 * USD

    world.run(work())


def test_requests_that_count_elsewhere_are_left_out_of_the_spend(home: Path) -> None:
    """In a journal, in the lake, or in neither."""
    journal = Journal(home, seal_interval_s=60, max_bytes=1 << 20)
    ids = [new_id()[0] for _ in range(4)]
    for name in ids[:2]:
        journal.append(rush.record(name, "ada", USD))
    journal.close()
    journal = Journal(home, seal_interval_s=60, max_bytes=1 << 20)
    for name in ids[2:]:
        journal.append(rush.record(name, "ada", USD))
    spend = read_spend(home, [("user", "month")], without=[ids[0], ids[2], new_id()[0], "free"])
    journal.close()
    assert set(spend.amounts.values()) == {2 * USD}


def test_an_idle_host_makes_contact_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks it anything, and the others wait for its report."""
    monkeypatch.setattr(epochs, "CONTACT_S", 0.05)
    one, idle = world.host("a"), world.host("b")

    async def work() -> None:
        await idle.spend(5 * USD)
        await one.spend(5 * USD)
        idle.limits.watch(idle.journal.writer_id)
        world.lose()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert await one.refuses()
                break
            except LimitsUnavailableError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    world.run(work())


def test_no_history_of_losses_passes_a_budget() -> None:
    """Partitions, lost and late answers, and kills too. The module plays more from a shell."""
    outcomes = [loss_histories.play(seed) for seed in range(60)]
    assert max(outcome.ratio for outcome in outcomes) <= 1
    assert sum(outcome.losses for outcome in outcomes) > 100
    affordable, served = (sum(getattr(item, name)["whole"] for item in outcomes) for name in FIGURES)
    assert served > 0.8 * affordable


def test_the_histories_see_hosts_that_report_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a store that forgets everything passes budgets."""
    monkeypatch.setattr(loss_histories.Folder, "report", lambda _: ({}, 0))
    assert max(loss_histories.play(seed).ratio for seed in range(60)) > 1


def test_hosts_that_share_a_lake_count_its_records_once(world: World) -> None:
    """Also those of a host that is gone, and those that a host has fetched from another just now."""
    early, late = datetime.now(UTC) - timedelta(hours=3), world.folder / "gone"
    spent = 2 * USD if early.month == datetime.now(UTC).month else 0  # the budget is for a month
    settings = Settings.load({}, home=late)
    seal_records(settings, [make_record(early, user_id="ada", cost_usd=Decimal(2))])

    def fetch(source: Path) -> None:
        for home in {"a", "b", "c"} - {source.name}:
            shutil.copytree(source / "lake", world.folder / home / "lake", dirs_exist_ok=True)

    fetch(late)
    one, other = (world.host(name, lake_url="s3://bucket") for name in ("a", "b"))
    for host in (one, other):
        host.limits._opening.write_as(host.journal.writer_id)  # type: ignore[union-attr]

    async def work() -> None:
        assert await one.left() == 10 * USD - spent
        await one.spend(USD)
        await other.spend(USD)
        await asyncio.to_thread(one.journal.seal_now)
        fetch(one.home)
        for _ in range(2):
            world.lose()
            one.look()
            other.look()
            assert await one.left() == 8 * USD - spent
            assert await other.left() == 8 * USD - spent
        newcomer = world.host("c", lake_url="s3://bucket")
        assert await newcomer.left() == 8 * USD - spent

    world.run(work())


def test_a_host_that_cannot_read_its_spend_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the data folder and not Redis, and the host is waited for."""
    one = world.host("a")

    def fail(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    async def work() -> None:
        await one.spend(USD)
        world.lose()
        monkeypatch.setattr("router.limits.opening.read_spend", fail)
        for _ in range(2):
            with pytest.raises(LimitsUnavailableError, match="data folder cannot be read"):
                await one.left()
        monkeypatch.undo()
        assert await one.left() == 9 * USD

    world.run(work())


def test_a_host_remembers_its_epoch_and_other_hosts(tmp_path: Path) -> None:
    """All its processes at once, and the next start. A file that was cut names no host."""
    one, other = HostFolder(tmp_path), HostFolder(tmp_path)
    assert one.id == other.id
    assert one.epoch() != "0123456789abcdef"
    one.enter("0123456789abcdef")
    assert other.epoch() == "0123456789abcdef"
    assert not other.has_reported("0123456789abcdef")
    other.note_report("0123456789abcdef")
    assert HostFolder(tmp_path).has_reported("0123456789abcdef")
    one.remember({"x": 5_000_000_000})
    assert other.known() == {"x": 5_000_000_000}
    (tmp_path / "hosts").write_text('{"x": 50')
    assert other.known() == {}


def test_a_look_at_a_redis_that_is_away_fails_at_once(world: World) -> None:
    """A look that waited for another try would make contact too late after the start of Redis."""
    one = world.host("a")
    one.look()
    world.server.stop()
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(one.epochs._connections.failures):
            one.look()
    assert time.monotonic() - started < 0.5
    world.server.start()
    one.look()


def test_a_look_ends_the_wait(world: World) -> None:
    """Balances are whole again without a request that reserves."""
    one = world.host("a", recovery_s=0.1)

    async def work() -> None:
        with pytest.raises(LimitsUnavailableError, match="hosts still report"):
            await one.limits.balances(ADA)
        await asyncio.sleep(0.1)
        one.look()
        assert [balance.charged for balance in await one.limits.balances(ADA)] == [0, 0]

    world.run(work())


def test_a_request_that_was_served_unchecked_counts_once(world: World) -> None:
    """Its host reports while its cost is settled, and finds its record."""
    one = world.host("a")

    async def work() -> None:
        await one.spend(USD)
        world.server.stop()
        one.limits.on_error = "serve"
        request_id, at = new_id()
        admission = await one.limits.admit(Subjects(user="ada", organization="other"), at=at)
        assert await one.limits.reserve(admission, request_id, 2 * USD)
        assert one.limits.unchecked == 1
        world.server.start()
        one.write(admission, 2 * USD)
        await one.limits.settle(admission, 2 * USD)
        assert await one.left() == 7 * USD

    world.run(work())


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["flush", "empty restart", "old snapshot", None])
@pytest.mark.parametrize(("hosts", "processes"), [(1, 4), (2, 2)])
def test_a_thousand_requests_on_a_budget_for_ten(
    tmp_path: Path, loss: Any, hosts: int, processes: int
) -> None:
    """Redis loses its data at random, processes are killed: at most the budget, and all of it in the end."""
    for seed in range(5 if is_long() else 1):
        report = flushes.run(
            tmp_path / str(seed), hosts=hosts, processes=processes, loss=loss, seed=seed, kills=1
        )
        show(report)
        assert report.losses == 3
        assert report.most <= rush.BUDGET_USD * USD
        assert report.least_at_end > rush.BUDGET_USD * USD // 2
