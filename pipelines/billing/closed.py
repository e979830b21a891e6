"""Closed bills: lines that never change again, in the lake.

    lake/bills/month=2026-11/<closing>.parquet   the lines, as `billing_records` has them
                             <closing>.json      whose bills, their bounds and terms, the SHA-256 of the lines

The rename of the JSON file closes the month: lines without it are not read. Its own SHA-256 is in the trail
of changes, in the event `bill.closed`. A line names no person, so that no erasure and no retention changes
it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.billing.accounts import CURRENCY, Bill
from pipelines.errors import FrozenBillError
from router.files import make_folder, sha256_of, write_atomically
from router.journal.places import BILLS
from router.journal.segments import parquet_bytes
from router.keys import audit_trail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipelines.billing.accounts import BillKey
    from router.config import Settings

FORMAT = "intellirouter.bill/1"
CLOSED = "bill.closed"
"""The action of the event."""
MONTH = "month="
_REMEDY = "restore it from a backup: a closed bill cannot be made again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """Bills that were closed together."""

    path: Path
    """The JSON file."""
    sha256: str
    """Of the JSON file."""
    bills: tuple[Bill, ...]
    restatements: frozenset[str]
    """Ids of the restatements that the lines hold already."""

    @property
    def lines(self) -> Path:
        return self.path.with_suffix(".parquet")


def read_closings(settings: Settings) -> list[Closing]:
    """Every closing, by month. FrozenBillError names a file that was changed."""
    return [_read(path) for path in files(settings)]


def files(settings: Settings) -> list[Path]:
    """The JSON files of all closings, by month."""
    return sorted((settings.lake / BILLS).glob(f"{MONTH}*/[!.]*.json"))


def closed_bills(closings: Sequence[Closing]) -> dict[BillKey, Bill]:
    """The closed bills, by organisation and month."""
    return {bill.key: bill for closing in closings for bill in closing.bills}


def read_lines(closing: Closing) -> list[dict[str, Any]]:
    """The lines as rows of `billing_records`."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.ParquetFile(closing.lines).read().to_pylist()
    return rows


def freeze(
    settings: Settings, bills: Sequence[Bill], lines: Any, *, restatements: Sequence[str], now: datetime
) -> Closing:
    """Write lines, a pyarrow Table, and close their bills, all of one month. A stop closes none or all."""
    month = bills[0].month
    folder = settings.lake / BILLS / f"{MONTH}{month}"
    make_folder(folder)
    stopped = unfinished(settings, month)
    content = parquet_bytes(lines)
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{now:%Y%m%dT%H%M%S}-{digest[:12]}.json"
    manifest = {
        "format": FORMAT,
        "month": month,
        "closed_at": now.isoformat(),
        "currency": CURRENCY,
        "sha256": digest,
        "lines": lines.num_rows,
        "bills": [_to_json(bill) for bill in bills],
        "restatements": sorted(restatements),
    }
    text = json.dumps(manifest, indent=1).encode()
    event = audit_trail.new_event(
        CLOSED,
        month,
        before=None,
        after={
            "path": str(path.relative_to(settings.home)),
            "manifest_sha256": hashlib.sha256(text).hexdigest(),
            "sha256": digest,
            "lines": lines.num_rows,
            "organizations": [bill.organization_id for bill in bills],
        },
    )
    lines_path = path.with_suffix(".parquet")
    try:
        write_atomically(lines_path, content)
        with audit_trail.recorded(settings.compliance_file, event):
            write_atomically(path, text)
    except BaseException:
        if not path.exists():
            lines_path.unlink(missing_ok=True)
        raise
    for left in stopped:  # removed last: until now the file explained its event in the trail
        if left != lines_path:
            left.unlink(missing_ok=True)
    return _read(path)


def unfinished(settings: Settings, month: str = "*") -> list[Path]:
    """Lines that a stopped close left. They are not read, and the next close removes them."""
    found = (settings.lake / BILLS).glob(f"{MONTH}{month}/[!.]*.parquet")
    return sorted(path for path in found if not path.with_suffix(".json").exists())


def _read(path: Path) -> Closing:
    try:
        text = path.read_bytes()
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise ValueError(f"its format is `{raw['format']}`")
        if sha256_of(path.with_suffix(".parquet")) != raw["sha256"]:
            raise ValueError(f"`{path.with_suffix('.parquet').name}` does not match its SHA-256")
        moment = datetime.fromisoformat(raw["closed_at"])
        return Closing(
            path=path,
            sha256=hashlib.sha256(text).hexdigest(),
            bills=tuple(_from_json(item, raw["month"], moment) for item in raw["bills"]),
            restatements=frozenset(raw["restatements"]),
        )
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise FrozenBillError(f"closed bill `{path}` cannot be used: {error}; {_REMEDY}") from error


def _to_json(bill: Bill) -> dict[str, Any]:
    return {
        "organization_id": bill.organization_id,
        "time_zone": bill.time_zone,
        "since": bill.since.isoformat(),
        "until": bill.until.isoformat(),
        "mark_up": None if bill.mark_up is None else f"{bill.mark_up:f}",
        "discount": None if bill.discount is None else f"{bill.discount:f}",
    }


def _from_json(raw: dict[str, Any], month: str, closed_at: datetime) -> Bill:
    terms = {name: None if raw[name] is None else Decimal(raw[name]) for name in ("mark_up", "discount")}
    return Bill(
        organization_id=raw["organization_id"],
        month=month,
        time_zone=raw["time_zone"],
        since=datetime.fromisoformat(raw["since"]),
        until=datetime.fromisoformat(raw["until"]),
        closed_at=closed_at,
        **terms,
    )
