"""Erasing a person: no byte under the data folder says that they were there, and no bill changes.

In this order, so that a stop at any point is resumed by the next refresh: load what is pending, put
down a tombstone, rewrite every segment that holds the person (`removals` keeps what their requests
added to the rollups), clear damaged and set-aside files (`remains`), let the tables follow, copy the
build database and the published one anew, look for the id in every file, sign the certificate. Files
that people edit (keys, limits, policies) are not changed: where they name the person, they `remain`.

Records of the person in the open journal of a running router are sealed seconds later. The next
refresh compares late segments with the tombstones (`honour`) and rewrites them; records made after
the erasure are a new beginning and stay. Judgements whose request has expired can no longer be told
to be the person's; they go with their own period.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.erasure import certificates, leftovers, tombstones
from pipelines.erasure.config_mentions import mentions
from pipelines.erasure.persons import Doomed, columns, trace
from pipelines.erasure.search import search
from pipelines.erasure.tombstones import Key, Tombstone
from pipelines.errors import LegalHoldError
from pipelines.retention import removals
from pipelines.retention.holds import RetentionFile
from pipelines.retention.retention import catch_up
from pipelines.warehouse import publishing
from pipelines.warehouse.compliance import load_compliance
from pipelines.warehouse.sqlfiles import delete_equal
from pipelines.warehouse.warehouse import Warehouse
from router.errors import SegmentError
from router.journal.journal import Journal
from router.keys import audit_trail
from router.records import DATASETS, RequestRecord

if TYPE_CHECKING:
    from pipelines.erasure.certificates import Certificate
    from pipelines.erasure.persons import Trace
    from router.config import Settings


def preview(settings: Settings, user: str, *, organization: str | None = None) -> Trace:
    """What an erasure would remove of the lake as it is now; nothing is changed."""
    key = Key.throwaway()
    tombstone = Tombstone(person=key.hash(user), organization=organization, erased_at=datetime.now(UTC))
    found = trace(settings.lake, Doomed(tombstone, key, user))
    _refuse_if_held(settings, user, organization, found)
    return found


def erase(settings: Settings, user: str, *, organization: str | None = None) -> Certificate:
    """Erase a person, in one organisation or in all; LegalHoldError when a hold names them."""
    with Warehouse(settings) as warehouse:
        _seal_leftovers(settings)
        catch_up(warehouse)
        key, now = Key.of(settings), datetime.now(UTC)
        tombstone = Tombstone(person=key.hash(user), organization=organization, erased_at=now, moments=(now,))
        doomed = Doomed(tombstone, key, user)
        found = trace(settings.lake, doomed)
        _learn_from_tables(warehouse, doomed, found, user)
        _refuse_if_held(settings, user, organization, found)
        audit_trail.forget(settings.compliance_file, user, organization=organization)
        tombstone = _put_down(settings, tombstone, doomed)
        return _carry_out(warehouse, tombstone, Doomed(tombstone, key, user), user=user)


def honour(warehouse: Warehouse) -> list[Certificate]:
    """Erase what was loaded since of persons erased before, and finish erasures that were stopped."""
    done = []
    for tombstone in tombstones.standing(warehouse.settings):
        key = Key.of(warehouse.settings)
        if not tombstone.moments:
            late = _late_segments(warehouse, tombstone)
            doomed = Doomed(tombstone, key)
            if not late or not trace(warehouse.settings.lake, doomed, late).rows:
                if late:
                    last = warehouse.value("select max(loaded_at) from pipeline.load_ledger")
                    _note_honoured(warehouse, tombstone, last)
                continue
            tombstone = tombstone.model_copy(
                update={"moments": (datetime.now(UTC),), "requests": doomed.requests}
            )
            tombstone.write(warehouse.settings.erasures)
        done.append(_carry_out(warehouse, tombstone, Doomed(tombstone, key)))
    return done


def _carry_out(
    warehouse: Warehouse, tombstone: Tombstone, doomed: Doomed, *, user: str | None = None
) -> Certificate:
    """Everything after the tombstone; `user` is None where only the hash is known."""
    settings, now, started = warehouse.settings, tombstone.moments[-1], datetime.now(UTC)
    # Requests first: what they added to the rollups is computed with their judgements.
    for dataset in sorted(DATASETS, key=lambda name: name != RequestRecord.DATASET):
        removals.remove_everywhere(
            warehouse,
            dataset,
            doomed.goes(dataset),
            columns=columns(dataset),
            operation="erasure",
            now=now,
        )
    removed_files = leftovers.clear(warehouse, doomed, now)
    journals = leftovers.clean_journals(settings, doomed)
    load_compliance(warehouse)
    catch_up(warehouse)
    _note_honoured(warehouse, tombstone, started)  # what was sealed meanwhile is looked at next time
    hours = certificates.hours(warehouse, tombstone)
    others = _longer_ids(warehouse, user) if user else []
    warehouse.recreate()
    publishing.publish_warehouse(warehouse)
    warehouse.close()
    # Who is erased in one organisation may well stand in another.
    searched = None
    if user and tombstone.organization is None:
        searched = search(_roots(settings), [user], others=others)
    certificate = certificates.issue(
        settings,
        tombstone,
        hours=hours,
        removed_files=removed_files,
        rewritten_journals=journals,
        pending_journals=leftovers.pending_journals(settings, doomed.users),
        searched=searched,
        mentioned=mentions(settings, user, organization=tombstone.organization) if user else (),
    )
    tombstone.model_copy(update={"moments": ()}).write(settings.erasures)
    return certificate


def _refuse_if_held(settings: Settings, user: str, organization: str | None, trace: Trace) -> None:
    rules = RetentionFile.load(settings.retention_file)
    organizations = trace.organizations if organization is None else {organization}
    holds = rules.holds_on(organizations, user)
    if holds:
        raise LegalHoldError(
            f"`{user}` cannot be erased: {'; '.join(map(str, holds))}; lift the hold in"
            f" `{settings.retention_file}` first"
        )


def _learn_from_tables(warehouse: Warehouse, doomed: Doomed, found: Trace, user: str) -> None:
    """Requests that were loaded before their segment was damaged: their judgements are claimed too."""
    rows = warehouse.run("erasure/requests_of_user", user=user).fetchall()
    mine = [(name, where) for name, where in rows if doomed.organization in (None, where)]
    doomed.add_requests(name for name, _ in mine)
    found.organizations.update(where for _, where in mine)


def _put_down(settings: Settings, tombstone: Tombstone, doomed: Doomed) -> Tombstone:
    """Write the tombstone; it takes the place of earlier ones of the same person and organisation."""
    earlier = [
        other
        for other in tombstones.standing(settings)
        if (other.person, other.organization) == (tombstone.person, tombstone.organization)
    ]
    requests = {*doomed.requests, *(name for item in earlier for name in item.requests)}
    moments = (*(moment for item in earlier for moment in item.moments), *tombstone.moments)
    tombstone = tombstone.model_copy(update={"requests": tuple(sorted(requests)), "moments": moments})
    tombstone.write(settings.erasures)
    for other in earlier:
        tombstones.remove(settings, other)
    return tombstone


def _seal_leftovers(settings: Settings) -> None:
    """Turn what routers that are gone left in their journals into segments."""
    with contextlib.suppress(SegmentError):  # set aside as `.bad`, and looked into below
        journal = Journal(
            settings.home,
            seal_interval_s=settings.journal_seal_interval_s,
            max_bytes=settings.journal_max_bytes,
        )
        try:
            journal.seal_now()
        finally:
            journal.close()


def _late_segments(warehouse: Warehouse, tombstone: Tombstone) -> list[str]:
    """Segments loaded since the tombstone was last honoured that hold rows from before the erasure."""
    found = warehouse.run("erasure/late_segments", erased_at=tombstone.erased_at, name=tombstone.name)
    return [name for (name,) in found.fetchall()]


def _note_honoured(warehouse: Warehouse, tombstone: Tombstone, until: datetime) -> None:
    table = "pipeline.tombstones_honoured"
    with warehouse.transaction():
        warehouse.run(delete_equal(table, "name"), value=tombstone.name)
        warehouse.insert(table, [{"name": tombstone.name, "until": until}])


def _longer_ids(warehouse: Warehouse, user: str) -> list[str]:
    """Other persons whose id holds this one: they stay, and are no trace of the erased."""
    found = warehouse.run("erasure/longer_ids", user=user).fetchall()
    return [other for (other,) in found if other != user]


def _roots(settings: Settings) -> list[Path]:
    """The data folder, and Dagster's when it lies elsewhere."""
    elsewhere = os.environ.get("DAGSTER_HOME")
    return [settings.home] if not elsewhere else [settings.home, Path(elsewhere)]
