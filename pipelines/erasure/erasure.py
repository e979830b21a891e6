"""Erases a person: no record under the data folder still names them, and no bill changes.

The steps run in this order, so that the next refresh can resume a stopped erasure: catch up (`flow`).
`begin` writes a tombstone. `remove_person` rewrites every segment that holds the person (`removals` keeps
their requests' share of the rollups) and clears damaged and set-aside files (`leftovers`). Catch up again,
so that the tables follow. `certify` writes new copies of both databases, looks for the id in every file
and writes the certificate. Files that people edit (keys, limits, policies) are not changed. If they name
the person, the certificate lists them as remaining. Other texts that equal the id are mentions (`judging`).

A running router seals the person's records in its open journal seconds later. The steps are repeated for
them a few times. The next refresh compares later segments with the tombstones (`resume`) and rewrites
them. Records from the erasure's moment on stay, and the certificate names their places (`later`). A
judgement of an expired request no longer shows its person, and is removed after its own period.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.configurations.history import load_configurations
from pipelines.copies.remaining import after_erasure
from pipelines.erasure import certificates, leftovers, tombstones
from pipelines.erasure.config_mentions import mentions
from pipelines.erasure.judging import judge
from pipelines.erasure.later import Later
from pipelines.erasure.persons import Doomed, columns, trace
from pipelines.erasure.search import search
from pipelines.erasure.tombstones import Key, Tombstone
from pipelines.errors import LegalHoldError
from pipelines.retention import removals
from pipelines.warehouse import linked, publishing
from pipelines.warehouse.compliance import load_compliance
from pipelines.warehouse.sqlfiles import delete_equal
from pipelines.warehouse.warehouse import Warehouse
from router.configuration.opening import open_source
from router.configuration.retention import RetentionFile
from router.errors import SegmentError
from router.journal.journal import Journal
from router.keys import audit_trail
from router.keys.opening import open_key_store
from router.records import DATASETS, RequestRecord

if TYPE_CHECKING:
    from pipelines.erasure.certificates import Certificate, RemovedFile
    from pipelines.erasure.persons import Trace
    from pipelines.erasure.search import Found
    from router.config import Settings


def preview(settings: Settings, user: str, *, organization: str | None = None) -> Trace:
    """Show what an erasure would remove from the lake now, without changing anything."""
    found = trace(settings.lake, Doomed.sought(user, organization))
    _refuse_if_held(settings, user, organization, found)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasing:
    """An erasure that has its tombstone."""

    tombstone: Tombstone
    doomed: Doomed
    user: str | None = None
    """The person's id. None if only its hash is known."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    removed_files: list[RemovedFile] = field(default_factory=list)
    journals: list[str] = field(default_factory=list)
    """Unreadable journals that were set aside, and are rewritten now."""


def seal_leftovers(settings: Settings) -> None:
    """Seal the journals of routers that have ended."""
    with contextlib.suppress(SegmentError):  # such a journal is set aside as `.bad` and cleaned later
        journal = Journal(
            settings.home,
            seal_interval_s=settings.journal_seal_interval_s,
            max_bytes=settings.journal_max_bytes,
        )
        try:
            journal.seal_now()
        finally:
            journal.close()


def begin(warehouse: Warehouse, user: str, organization: str | None, *, now: datetime) -> Erasing:
    """Write the person's tombstone. If a hold covers them, raise LegalHoldError and change nothing."""
    settings, key = warehouse.settings, Key.of(warehouse.settings)
    tombstone = Tombstone(person=key.hash(user), organization=organization, erased_at=now, moments=(now,))
    doomed = Doomed(tombstone, key, user)
    found = trace(settings.lake, doomed)
    _learn_from_tables(warehouse, doomed, found, user)
    _refuse_if_held(settings, user, organization, found)
    with contextlib.closing(open_key_store(settings)) as keys:
        keys.forget(user, organization)
    if organization is None:  # documents name a person without an organisation
        with contextlib.closing(open_source(settings)) as source:
            source.forget(user)
    _note_event(settings, tombstone, "request")
    tombstone = _put_down(settings, tombstone, doomed)
    return Erasing(tombstone=tombstone, doomed=Doomed(tombstone, key, user), user=user)


def resume(warehouse: Warehouse, tombstone: Tombstone) -> Erasing | None:
    """Resume an erasure that was stopped or has late segments. None if nothing is left to do."""
    key = Key.of(warehouse.settings)
    if not tombstone.moments:
        late = _late_segments(warehouse, tombstone)
        doomed = Doomed(tombstone, key)
        found = trace(warehouse.settings.lake, doomed, late) if late else None
        if found is None or not found.rows:
            if late:
                last = warehouse.value("select max(loaded_at) from pipeline.load_ledger")
                _note_honoured(warehouse, tombstone, last)
            return None
        tombstone = tombstone.model_copy(
            update={"moments": (datetime.now(UTC),), "requests": doomed.requests}
        )
        _note_event(warehouse.settings, tombstone, "late segments", rows=found.rows)
        tombstone.write(warehouse.settings.erasures)
    return Erasing(tombstone=tombstone, doomed=Doomed(tombstone, key))


def _note_event(settings: Settings, tombstone: Tombstone, cause: str, **facts: object) -> None:
    """Put the event on disk before anything is removed. It names the person by their hash only."""
    after = {
        "person": tombstone.person,
        "organization_id": tombstone.organization,
        "erased_at": tombstone.erased_at.isoformat(),
        "cause": cause,
        **facts,
    }
    event = audit_trail.new_event("person.erased", tombstone.name, before=None, after=after)
    audit_trail.note(settings.compliance_file, event)


def remove_person(warehouse: Warehouse, erasing: Erasing) -> None:
    """Remove the person from every file except the tables, which follow when the caller catches up."""
    doomed, now = erasing.doomed, erasing.tombstone.moments[-1]
    # Requests first: their share of the rollups is computed with their judgements.
    for dataset in sorted(DATASETS, key=lambda name: name != RequestRecord.DATASET):
        removals.remove_everywhere(
            warehouse,
            dataset,
            doomed.goes(dataset),
            columns=columns(dataset),
            operation="erasure",
            now=now,
        )
    erasing.removed_files.extend(leftovers.clear(warehouse, doomed, now))
    erasing.journals.extend(leftovers.clean_journals(warehouse.settings, doomed))
    load_configurations(warehouse, from_start=True)
    load_compliance(warehouse, from_start=True)


def is_left(warehouse: Warehouse, erasing: Erasing) -> bool:
    """Whether the lake holds the person again: a running router sealed their requests meanwhile."""
    return bool(trace(warehouse.settings.lake, erasing.doomed).rows)


def certify(warehouse: Warehouse, erasing: Erasing) -> Certificate:
    """Write both databases again, look for the id in every file, and write the certificate."""
    settings, tombstone, user = warehouse.settings, erasing.tombstone, erasing.user
    loaded = {name for (name,) in warehouse.run("erasure/loaded_segments").fetchall()}
    # The next run checks the segments that were sealed meanwhile.
    _note_honoured(warehouse, tombstone, erasing.started_at)
    hours = certificates.hours(warehouse, tombstone)
    others = _longer_ids(warehouse, user) if user else []
    linked.drop_at_next_publish(warehouse)
    warehouse.recreate()
    publishing.publish_warehouse(warehouse)
    warehouse.close()
    # A person who is erased in one organisation may still be in another.
    searched: Found | None = None
    mentioned: list[certificates.Mention] = []
    pending = leftovers.pending_journals(settings, erasing.doomed)
    named: set[str] = set()
    remaining = set(mentions(settings, user, organization=tombstone.organization)) if user else set()
    if user and tombstone.organization is None:
        searched = search(_roots(settings), [user], others=others)
        traces, mentioned = judge(settings, searched, user, pending=pending)
        later = Later(settings=settings, user=user, erased_at=tombstone.erased_at, loaded=loaded)
        sealed = later.pending(traces)
        named = later.explains(traces - sealed, searched.columns)
        pending += sorted(sealed)
        remaining |= traces - sealed - named
        mentioned = [item for item in mentioned if item.path not in remaining]
    removed = certificates.rewritings(settings, tombstone.moments)
    copies = after_erasure(settings, rows_removed=sum(item.rows_removed for item in removed))
    certificate = certificates.issue(
        settings,
        tombstone,
        hours=hours,
        removed_files=erasing.removed_files,
        rewritten_journals=erasing.journals,
        pending_journals=pending,
        later=named,
        searched=searched,
        remaining=remaining,
        mentions=mentioned,
        copies=[
            certificates.CopyState(target=copy.target, is_current=copy.problem is None, problem=copy.problem)
            for copy in copies
        ],
    )
    tombstone.model_copy(update={"moments": ()}).write(settings.erasures)
    return certificate


def _refuse_if_held(settings: Settings, user: str, organization: str | None, trace: Trace) -> None:
    rules = RetentionFile.load(settings.retention_file)
    organizations = trace.organizations if organization is None else {organization}
    holds = rules.holds_on(organizations, user)
    if holds:
        raise LegalHoldError(
            f"`{user}` cannot be erased: {'; '.join(map(str, holds))}. First lift the hold in"
            f" `{settings.retention_file}`"
        )


def _learn_from_tables(warehouse: Warehouse, doomed: Doomed, found: Trace, user: str) -> None:
    """Also claim the judgements of requests that were loaded before their segment was damaged."""
    rows = warehouse.run("erasure/requests_of_user", user=user).fetchall()
    mine = [(name, where) for name, where in rows if doomed.organization in (None, where)]
    doomed.add_requests(name for name, _ in mine)
    found.organizations.update(where for _, where in mine)


def _put_down(settings: Settings, tombstone: Tombstone, doomed: Doomed) -> Tombstone:
    """Write the tombstone. It replaces earlier ones of the same person and organisation."""
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
        tombstones.forget_tombstone(settings, other)
    return tombstone


def _late_segments(warehouse: Warehouse, tombstone: Tombstone) -> list[str]:
    """Segments with rows from before the erasure, loaded since the tombstone was last honoured."""
    found = warehouse.run("erasure/late_segments", erased_at=tombstone.erased_at, name=tombstone.name)
    return [name for (name,) in found.fetchall()]


def _note_honoured(warehouse: Warehouse, tombstone: Tombstone, until: datetime) -> None:
    table = "pipeline.tombstones_honoured"
    with warehouse.transaction():
        warehouse.run(delete_equal(table, "name"), value=tombstone.name)
        warehouse.insert(table, [{"name": tombstone.name, "until": until}])


def _longer_ids(warehouse: Warehouse, user: str) -> list[str]:
    """Ids of other persons that contain this id. They stay, and are not a trace of the erased person."""
    found = warehouse.run("erasure/longer_ids", user=user).fetchall()
    return [other for (other,) in found if other != user]


def _roots(settings: Settings) -> list[Path]:
    """The data folder, and Dagster's folder if it is elsewhere."""
    elsewhere = os.environ.get("DAGSTER_HOME")
    return [settings.home] if not elsewhere else [settings.home, Path(elsewhere)]
