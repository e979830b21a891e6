"""Values of a row: numbers, moments and currencies, with errors that name the remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from pipelines.errors import ReconciliationError

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path

    from pipelines.reconciliation.exports.files import Row

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NUMBER = re.compile(r"-?\$?-?\d+(\.\d*)?([eE][+-]?\d+)?|-?\$?\.\d+")


@dataclass(slots=True, kw_only=True)
class Reading:
    """The facts of a file while its rows are read."""

    path: Path
    zone: tzinfo | None
    """The zone of the days to compare. None: not given, so UTC where the export is in UTC."""
    decimals: int = 0
    """The most decimals of an amount so far, without zeros at the end."""
    days: set[date] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)

    def day(self, value: Any, *, is_utc: bool = False) -> date:
        """The day of a moment (text, seconds since 1970) or a date, in the zone of the bill.

        `is_utc`: the export writes UTC without an offset.
        """
        found = self._day(value, is_utc=is_utc)
        self.days.add(found)
        return found

    def _day(self, value: Any, *, is_utc: bool) -> date:
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return datetime.fromtimestamp(int(value), UTC).astimezone(self.zone or UTC).date()
        if isinstance(value, date) and not isinstance(value, datetime):
            self._need_zone(value, is_utc=is_utc)
            return value
        if isinstance(value, str) and value.strip().isdigit():
            return self._day(int(value), is_utc=True)
        if isinstance(value, str) and _DAY.fullmatch(value.strip()):
            self._need_zone(value, is_utc=is_utc)
            return date.fromisoformat(value.strip())
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        except ValueError:
            raise ReconciliationError(
                f"`{self.path}` has the moment `{value!s:.40}`, which is neither ISO 8601 nor seconds since"
                " 1970: write 2026-11-23 or 2026-11-23T10:00:00Z"
            ) from None
        if moment.tzinfo is None:
            self._need_zone(value, is_utc=is_utc)
            if not is_utc:
                return moment.date()  # it is in the zone that the caller names
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(self.zone or UTC).date()

    def _need_zone(self, value: Any, *, is_utc: bool) -> None:
        if self.zone is None and not is_utc:
            raise ReconciliationError(
                f"`{self.path}` has the moment `{value}` with no offset, so its days could be those of any"
                " zone: add `--timezone UTC`, or the zone of the bill such as `--timezone Europe/Berlin`"
            )

    def usd(self, value: Any, *, per: int = 1, currency: Any = "usd") -> Decimal | None:
        """An amount in US dollars. None if the field is empty. `per`: its unit, 100 for cents."""
        amount = number(value, self.path)
        if amount is None:
            return None
        if str(currency or "usd").strip().lower() != "usd":
            raise ReconciliationError(
                f"`{self.path}` is in `{currency}`, and costs here are US dollars: ask the provider for the"
                " bill in USD, or convert its amounts and set the currency to USD"
            )
        dollars = amount / per
        exponent = dollars.normalize().as_tuple().exponent
        self.decimals = max(self.decimals, -int(exponent))
        return dollars

    def count(self, value: Any) -> int | None:
        """A whole number, or None if the field is empty."""
        amount = number(value, self.path)
        return None if amount is None else int(amount)

    def note(self, text: str) -> None:
        """Keep a sentence for the reader, once."""
        self.notes[text] = None


def number(value: Any, path: Path) -> Decimal | None:
    """A number. None if the field is empty."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    text = str(value).strip()
    if not _NUMBER.fullmatch(text):
        raise ReconciliationError(
            f"`{path}` has `{text:.40}` where a number belongs: write numbers such as 1234.5, without"
            " separators of thousands"
        )
    try:
        return Decimal(text.replace("$", ""))
    except InvalidOperation:
        raise ReconciliationError(f"`{path}` has `{text:.40}` where a number belongs") from None


def text(row: Row, *names: str) -> str | None:
    """The first of the fields that is not empty, as text."""
    for name in names:
        value = row.get(name)
        if value is not None and str(value).strip():
            return str(value).strip()
    return None


def is_true(value: Any) -> bool:
    """Whether a field says yes."""
    return str(value).strip().lower() in ("true", "1", "yes")
