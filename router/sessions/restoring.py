"""Sessions from the records of their requests, where the sessions' own file is missing.

Records hold the model, the policy and the experiment of a request, and neither the preferences nor a
policy that was set without a request. So the file is the better source, and this is the second one.
Journals are read before the lake: a record that is sealed meanwhile is then seen twice, and never missed.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.journal.places import EVERY_HOUR, hour_folder, hour_of
from router.journal.reading import read_folders, unsealed_records
from router.records import RequestRecord, moment_of
from router.sessions.sessions import Session, owned_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COLUMNS = (
    "id",
    "session_id",
    "api_key_id",
    "organization_id",
    "operation",
    "success",
    "model_selected",
    "policy_id",
    "experiment_id",
    "variant",
    "shadow_model",
)


def recorded_sessions(
    home: Path, *, ttl_s: float, max_sessions: int, default_policy: str
) -> dict[str, tuple[Session, float]]:
    """Session and time of its last answer, by the name from `owned_session`. The latest ones count."""
    since = time.time() - ttl_s
    found: dict[str, tuple[Session, float]] = {}
    for row in _rows(home, since):
        answered = _answered(row, default_policy)
        if answered is None:
            continue
        owned, session, used_at = answered
        if used_at >= since and (owned not in found or found[owned][1] <= used_at):
            found[owned] = session, used_at
    latest = sorted(found.items(), key=lambda item: item[1][1])
    return dict(latest[-max_sessions:] if max_sessions else ())


def _rows(home: Path, since: float) -> Iterator[Mapping[str, Any]]:
    yield from list(unsealed_records(home, RequestRecord.DATASET))
    lake = home / "lake"
    first = hour_folder(lake, RequestRecord.DATASET, hour_of(datetime.fromtimestamp(max(since, 0.0), UTC)))
    # Paths are in the order of time.
    folders = [path for path in (lake / RequestRecord.DATASET).glob(EVERY_HOUR) if path >= first]
    if not folders:
        return  # without the lake, pyarrow is not loaded
    import pyarrow.compute as pc

    wanted = pc.field("session_id").is_valid() & pc.field("success")
    for batch in read_folders(sorted(folders), list(COLUMNS), where=wanted).table.to_batches():
        yield from batch.to_pylist()


def _answered(row: Mapping[str, Any], default_policy: str) -> tuple[str, Session, float] | None:
    try:
        is_turn = row["session_id"] is not None and row["success"] and row["operation"] == "chat"
        if not is_turn or row["model_selected"] is None:
            return None
        experiment, variant = row.get("experiment_id"), row.get("variant")
        treated_as = None
        if experiment is not None and variant is not None and row.get("shadow_model") is None:
            treated_as = (str(experiment), str(variant))
        session = Session(
            model=row["model_selected"],
            policy=None if row["policy_id"] == default_policy else row["policy_id"],
            treated_as=treated_as,
        )
        owned = owned_session(row["session_id"], row.get("api_key_id"), row.get("organization_id"))
        return owned, session, moment_of(row["id"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None  # a line that is not a request's
