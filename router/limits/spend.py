"""The recorded spend: from sealed segments of the lake and journals that are not sealed yet.

Journals are read before the lake. A record that is sealed meanwhile is then seen twice, counted once by
its id, and never missed. Only the days that count are read from the lake, and only the needed columns of
their files. Ids are read only in hours that the journals reach into. A record with an unknown cost adds
nothing here (see `reservations`).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, localcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.journal.places import REMOVALS, dated_folders, hour_folder, hour_of
from router.journal.reading import Rows, read_folders, read_removed, unsealed_records
from router.limits.periods import DAY_S, first_day, period_of, to_pico
from router.records import MONEY_SCALE, RequestRecord, moment_of
from router.sessions.sessions import owned_session

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from router.limits.counters import Scope
    from router.limits.periods import Period

    Place = tuple[Scope, Period, int]
    SpendKey = tuple[Scope, Period, int, str]

logger = logging.getLogger("router.limits")

COLUMNS: Mapping[Scope, tuple[str, ...]] = {
    "key": ("api_key_id",),
    "user": ("user_id",),
    "organization": ("organization_id",),
    "session": ("session_id", "api_key_id", "organization_id"),
}
"""The columns that name a scope's subject. A row without the first counts for no subject."""
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(slots=True, kw_only=True)
class Spend:
    """Pico-dollars by scope, period, the period's start (seconds since 1970) and subject."""

    amounts: dict[SpendKey, int] = field(default_factory=lambda: defaultdict(int))
    shared: dict[SpendKey, int] = field(default_factory=lambda: defaultdict(int))
    """The same of records that every host of a shared lake has. Empty for a lake of one host."""
    unreadable: list[str] = field(default_factory=list)
    """Damaged segments. Their records are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Which records of a shared lake are this host's."""

    since: datetime
    """Records of the hours before are in every host's lake."""
    writers: frozenset[str]
    """This host's journals. Of later hours, only their records are this host's."""


def read_spend(
    home: Path,
    wanted: Collection[tuple[Scope, Period]],
    *,
    without: Collection[str] = (),
    sharing: Sharing | None = None,
    now_s: float | None = None,
) -> Spend:
    """The spend of each subject of the wanted scopes in the wanted periods, current and later ones.

    `without` names requests that count elsewhere, whether or not they have a record by now.
    """
    spend = Spend()
    if not wanted:
        return spend
    today = int((time.time() if now_s is None else now_s) // DAY_S)
    first_days = {(scope, period): first_day(period, today) for scope, period in wanted}
    since = min(first_days.values())
    kinds = sorted({COLUMNS[scope] for scope, _ in wanted})
    columns = sorted({column for kind in kinds for column in kind})
    journals = _read_journals(home) | _unknown(without)

    def places(day: int, kind: tuple[str, ...]) -> list[Place]:
        return [
            (scope, period, period_of(period, day)[0])
            for (scope, period), first in first_days.items()
            if COLUMNS[scope] == kind and day >= first
        ]

    for record in journals.values():
        for kind in kinds:
            subject = _subject([record.subjects[column] for column in kind])
            if record.pico is not None and subject is not None:
                for place in places(record.day, kind):
                    spend.amounts[(*place, subject)] += record.pico
    # Days that count in the same periods are added up before Python sees a row.
    sums: dict[tuple[bool, tuple[str, ...], tuple[Place, ...]], list[Any]] = defaultdict(list)
    for day, folder in _days(home, since):
        for is_shared, hours, writers in _parts(folder, sharing):
            rows = _read_hours(hours, columns, journals, writers)
            spend.unreadable += rows.damaged
            for kind in kinds:
                parts = sums[is_shared, kind, tuple(places(day, kind))]
                parts.append(_sum_by(kind, rows.table))
                if kind == COLUMNS["organization"] and rows.removals:
                    # Erasing a person changes no bill, and gives no organisation its budget back.
                    removed = read_removed(home / "lake" / REMOVALS / folder.name, rows.removals)
                    parts += [_sum_by(kind, table) for table in removed]
    for (is_shared, kind, targets), tables in sums.items():
        amounts = spend.shared if is_shared else spend.amounts
        for subject, pico in _amounts(kind, tables):
            for place in targets:
                amounts[(*place, subject)] += pico
    if spend.unreadable:
        logger.error("budgets do not count damaged segments: %s", ", ".join(spend.unreadable))
    return spend


def find_costs(home: Path, ids: Collection[str]) -> dict[str, int | None]:
    """Recorded cost in pico-dollars (None: unknown) of the ids that have a record."""
    if not ids:
        return {}
    import pyarrow as pa
    import pyarrow.compute as pc

    found = {name: record.pico for name, record in _read_journals(home).items() if name in ids}
    value_set = pa.array(sorted(ids), pa.string())
    lake, dataset = home / "lake", RequestRecord.DATASET
    for folder in sorted({hour_folder(lake, dataset, moment) for moment in _moments(ids).values()}):
        table = read_folders([folder], ["id", "cost_usd"]).table
        table = table.filter(pc.is_in(table.column("id"), value_set=value_set))
        for name, cost in zip(
            table.column("id").to_pylist(), table.column("cost_usd").to_pylist(), strict=True
        ):
            found[name] = None if cost is None else to_pico(cost)
    return found


def _sum_by(kind: tuple[str, ...], table: Any) -> Any:
    """The cost of each subject. Rows without one count for no subject."""
    import pyarrow.compute as pc

    rows = table.filter(pc.is_valid(table.column(kind[0])))
    return rows.group_by(list(kind)).aggregate([("cost_usd", "sum")]).rename_columns([*kind, "cost_usd"])


def _amounts(kind: tuple[str, ...], parts: list[Any]) -> Iterator[tuple[str, int]]:
    import pyarrow as pa

    total = _sum_by(kind, pa.concat_tables(parts))
    with localcontext(prec=60):
        picos = [int(cost.scaleb(MONEY_SCALE)) for cost in total.column("cost_usd").to_pylist()]
    rows = zip(*(total.column(column).to_pylist() for column in kind), strict=True)
    for names, pico in zip(rows, picos, strict=True):
        subject = _subject(names)
        assert subject is not None  # noqa: S101 - `_sum_by` leaves such rows out
        yield subject, pico


def _subject(names: Sequence[str | None]) -> str | None:
    """The subject that the columns of a kind name. None when the first is None."""
    first, *owners = names
    if first is None or not owners:
        return first
    return owned_session(first, *owners)


@dataclass(frozen=True, slots=True)
class _Unsealed:
    """A record that lies in a journal."""

    moment: datetime
    day: int
    subjects: Mapping[str, str | None]
    pico: int | None


def _read_journals(home: Path) -> dict[str, _Unsealed]:
    records = {}
    for raw in unsealed_records(home, RequestRecord.DATASET):
        try:
            cost, moment = raw["cost_usd"], moment_of(raw["id"])
            records[raw["id"]] = _Unsealed(
                moment,
                int(moment.timestamp()) // DAY_S,
                {column: raw[column] for kind in COLUMNS.values() for column in kind},
                None if cost is None else to_pico(Decimal(cost)),
            )
        except (ValueError, KeyError, TypeError, ArithmeticError):
            continue  # a line that says no cost of a request
    return records


def _unknown(ids: Collection[str]) -> dict[str, _Unsealed]:
    """Entries that add nothing, and keep the records of these requests out."""
    blank = {column: None for kind in COLUMNS.values() for column in kind}
    return {
        name: _Unsealed(moment, int(moment.timestamp()) // DAY_S, blank, None)
        for name, moment in _moments(ids).items()
    }


def _moments(ids: Collection[str]) -> dict[str, datetime]:
    """When these requests arrived, without ids that no record has."""
    moments = {}
    for name in ids:
        with contextlib.suppress(ValueError):
            moments[name] = moment_of(name)
    return moments


def _days(home: Path, since: int) -> Iterator[tuple[int, Path]]:
    for day, folder in dated_folders(home / "lake" / RequestRecord.DATASET):
        if day.toordinal() - _EPOCH >= since:
            yield day.toordinal() - _EPOCH, folder


def _parts(folder: Path, sharing: Sharing | None) -> Iterator[tuple[bool, list[Path], frozenset[str] | None]]:
    """The hours of a day: whether every host has them, their folders, and the writers that count."""
    hours = sorted(folder.glob("hour=*"))
    if sharing is None:
        yield False, hours, None
        return
    first = hour_folder(folder.parents[1], RequestRecord.DATASET, sharing.since)
    old = [hour for hour in hours if (folder.name, hour.name) < (first.parent.name, first.name)]
    late = [hour for hour in hours if hour not in old]
    if old:
        yield True, old, None
    if late:
        yield False, late, sharing.writers


def _read_hours(
    hours: list[Path],
    columns: list[str],
    journals: Mapping[str, _Unsealed],
    writers: frozenset[str] | None,
) -> Rows:
    """Records of a day's hours with a known cost, without those that a journal still holds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    unsealed = {hour_of(item.moment) for item in journals.values()}
    places = {hour_folder(Path(), "", hour) for hour in unsealed}
    checked = [hour for hour in hours if Path(hour.parent.name, hour.name) in places]
    unchecked = [hour for hour in hours if hour not in checked]
    rows = read_folders(unchecked, [*columns, "cost_usd"], writers=writers)
    table, damaged, removals = rows
    if checked:
        late = read_folders(checked, [*columns, "cost_usd", "id"], writers=writers)
        is_unsealed = pc.is_in(late.table.column("id"), value_set=pa.array(sorted(journals), pa.string()))
        table = pa.concat_tables([table, late.table.filter(pc.invert(is_unsealed)).drop_columns("id")])
        damaged, removals = damaged + late.damaged, removals | late.removals
    return Rows(table.filter(pc.is_valid(table.column("cost_usd"))), damaged, removals)
