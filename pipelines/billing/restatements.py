"""Changes of a bill after the fact: late records, corrected prices, a provider's own bill.

    lake/bills/restatements/<moment>-<digest>.json   rows of `billing_restatements`, with the SHA-256 in the
                                                     trail of changes, in the event `bill.restated`

`add` is the way in for every source. A row has the old and the new cost of a line, before mark-up or
discount. Until a month is closed, its bill holds the differences. Afterwards they are shown apart.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.errors import FrozenBillError
from router.catalog.prices import QUANTUM, ZERO_USD
from router.files import make_folder, write_atomically
from router.journal.places import BILLS
from router.keys import audit_trail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from router.config import Settings

FORMAT = "intellirouter.restatement/1"
RESTATED = "bill.restated"
"""The action of the event."""
FOLDER = "restatements"
_MONEY = ("old_usd", "new_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restatement:
    """The change of one line of a month. None: not known, or not said."""

    month: str
    """`2026-11`."""
    organization_id: str | None
    model: str | None
    price_id: str | None
    old_usd: Decimal | None
    """The cost before, in US dollars. None: unknown, or there was no such line."""
    new_usd: Decimal | None
    reason: str
    source: str
    """Its finder: `refresh`, or the command that wrote it."""
    provider: str | None = None
    service_tier: str | None = None
    old_requests: int | None = None
    new_requests: int | None = None

    @property
    def difference_usd(self) -> Decimal:
        """New less old, of the known costs."""
        return ((self.new_usd or ZERO_USD) - (self.old_usd or ZERO_USD)).quantize(QUANTUM)


def add(settings: Settings, rows: Sequence[Restatement], *, now: datetime | None = None) -> Path | None:
    """Keep restatements in the lake, and their digest in the trail. The next refresh loads them.

    None without rows. OSError if the disk refuses them: then nothing was written.
    """
    if not rows:
        return None
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    content = {
        "format": FORMAT,
        "restated_at": moment.isoformat(),
        "rows": [_to_json(row) for row in rows],
    }
    text = json.dumps(content, indent=1).encode()
    digest = hashlib.sha256(text).hexdigest()
    folder = settings.lake / BILLS / FOLDER
    make_folder(folder)
    path = folder / f"{moment:%Y%m%dT%H%M%S}-{digest[:12]}.json"
    event = audit_trail.new_event(
        RESTATED,
        ", ".join(sorted({row.month for row in rows})),
        before=None,
        after={
            "path": str(path.relative_to(settings.home)),
            "manifest_sha256": digest,
            "source": ", ".join(sorted({row.source for row in rows})),
            "rows": len(rows),
            "difference_usd": f"{sum((row.difference_usd for row in rows), ZERO_USD):f}",
        },
    )
    with audit_trail.recorded(settings.compliance_file, event):
        write_atomically(path, text)
    return path


def read_all(settings: Settings) -> list[dict[str, Any]]:
    """Every restatement as a row of `billing_restatements`, oldest first.

    FrozenBillError names a file that cannot be used.
    """
    return [row for path in files(settings) for row in _read(path)]


def files(settings: Settings) -> list[Path]:
    """The files of restatements, oldest first."""
    return sorted((settings.lake / BILLS / FOLDER).glob("[!.]*.json"))


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] != FORMAT:
            raise ValueError(f"its format is `{raw['format']}`")
        moment = datetime.fromisoformat(raw["restated_at"])
        rows = [_from_json(item) for item in raw["rows"]]
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise FrozenBillError(
            f"restatements `{path}` cannot be used: {error}; restore the file from a backup"
        ) from error
    return [
        {"id": f"{path.stem}-{number}", **_row(row), "restated_at": moment}
        for number, row in enumerate(rows, 1)
    ]


def _row(row: Restatement) -> dict[str, Any]:
    names = ("month", "organization_id", "model", "provider", "price_id", "service_tier")
    counts = ("old_requests", "new_requests", *_MONEY, "difference_usd", "reason", "source")
    return {name: getattr(row, name) for name in (*names, *counts)}


def _to_json(row: Restatement) -> dict[str, Any]:
    return {
        name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in asdict(row).items()
    }


def _from_json(raw: dict[str, Any]) -> Restatement:
    money = {name: None if raw[name] is None else Decimal(raw[name]) for name in _MONEY}
    return Restatement(**{**raw, **money})
