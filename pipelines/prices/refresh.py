"""Updates the price book: reads the source, adds plausible prices, and lists those that wait.

The router reads `prices/book.json`. `prices/pending.json` holds the prices that a person must accept.
"""

from __future__ import annotations

import fcntl
import logging
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from pipelines.errors import PriceSourceError, UnknownPriceChangeError
from pipelines.prices import source
from pipelines.prices.book import added, compare
from pipelines.prices.checks import Finding
from pipelines.warehouse.documents import follow_documents, share_prices
from router.catalog.price_book import PriceBook, row_from_json, row_to_json
from router.catalog.prices import price_at
from router.errors import ConfigError
from router.files import make_folder, write_atomically
from router.keys import audit_trail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipelines.prices.book import Change
    from pipelines.prices.source import Listing
    from router.catalog.prices import Price
    from router.config import Settings

PENDING_SCHEMA_VERSION = 1
logger = logging.getLogger("pipelines")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A price that waits for a person."""

    id: str
    ref: str
    found_at: datetime
    """When it was first seen."""
    findings: tuple[Finding, ...]
    price: Price
    standing: Price | None
    """The price in force meanwhile. None if the model has none."""

    @property
    def reason(self) -> str:
        """All findings in one line."""
        return "; ".join(f"{finding.kind}: {finding.detail}" for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricesResult:
    """The result of a refresh of the prices."""

    source: str
    models: int
    applied: int
    """Rows added to the book."""
    pending: tuple[Pending, ...]
    unlisted: int
    """Models whose prices are kept although the source no longer names them."""
    problem: str | None = None
    """Why the online source was not used. None if it was used, or is not configured."""


def refresh_prices(
    settings: Settings, *, now: datetime | None = None, listing: Listing | None = None
) -> PricesResult:
    """Compare the source with the book in force, and add plausible prices as new dated rows.

    Without a `listing` the source is PRICES_URL, else the installed genai-prices. The package's older data
    never replaces the site's: if the book came from the site and the site cannot be reached, the book is
    not changed. ConfigError if the book in force is corrupt.
    """
    moment = now or datetime.now(UTC)
    with _locked(settings):
        book = read_book(settings)
        problem = None
        if listing is None:
            listing, problem = _listing(settings, book)
        if listing is None:
            assert book is not None  # noqa: S101 - the package's data is refused only if there is a book
            return PricesResult(
                source=book.source,
                models=len(book.models),
                applied=0,
                pending=read_pending(settings),
                unlisted=sum(not book.is_listed(ref) for ref in book.models),
                problem=problem,
            )
        rows = {} if book is None else {ref: book.prices(ref) for ref in book.models}
        result = compare(rows, listing.rows, now=moment, max_factor=settings.prices_max_factor)
        seen = {item.id: item.found_at for item in read_pending(settings)}
        pending = tuple(_pending(change, seen.get(change.id, moment)) for change in result.held)
        new = PriceBook.of(result.rows, unlisted=result.unlisted, source=listing.name, updated_at=moment)
        # Write the book last: after a crash in between, the next refresh writes the list again.
        _write_pending(settings, pending)
        _write_book(settings, new)
        return PricesResult(
            source=listing.name,
            models=len(new.models),
            applied=len(result.applied),
            pending=pending,
            unlisted=len(result.unlisted),
            problem=problem,
        )


def accept(
    settings: Settings, ids: Sequence[str] | None, *, now: datetime | None = None
) -> tuple[Pending, ...]:
    """Put pending prices into force from now on. None accepts all of them.

    UnknownPriceChangeError if an id is not pending. Then no price is accepted.
    """
    moment = now or datetime.now(UTC)
    with _locked(settings):
        waiting = {item.id: item for item in read_pending(settings)}
        unknown = [name for name in ids or () if name not in waiting]
        if unknown:
            raise UnknownPriceChangeError(unknown[0], waiting)
        chosen = [waiting[name] for name in dict.fromkeys(waiting if ids is None else ids)]
        book = read_book(settings)
        if book is None or not chosen:
            return ()
        rows = {ref: book.prices(ref) for ref in book.models}
        events = []
        for item in chosen:
            standing = rows.get(item.ref, ())
            price = row_from_json(row_to_json(item.price))
            if standing and price.start < moment:
                price = row_from_json(row_to_json(price) | {"start": moment.isoformat()})
            rows[item.ref] = added(item.ref, standing, price)
            before = price_at(standing, moment)
            events.append(
                audit_trail.new_event(
                    "price.accepted",
                    item.ref,
                    before=None if before is None else row_to_json(before),
                    after={**row_to_json(price), "reason": item.reason},
                )
            )
        unlisted = frozenset(ref for ref in book.models if not book.is_listed(ref))
        new = PriceBook.of(rows, unlisted=unlisted, source=book.source, updated_at=book.updated_at)
        with audit_trail.recorded(settings.compliance_file, *events):
            _write_book(settings, new)
        taken = {item.id for item in chosen}
        _write_pending(settings, [item for item in waiting.values() if item.id not in taken])
        return tuple(chosen)


def read_book(settings: Settings) -> PriceBook | None:
    """The book in force. None if there is none yet."""
    follow_documents(settings)
    try:
        return PriceBook.read(settings.price_book_file)
    except FileNotFoundError:
        return None


def read_pending(settings: Settings) -> tuple[Pending, ...]:
    """The prices that wait for a person."""
    path = _pending_file(settings)
    try:
        raw = orjson.loads(path.read_bytes())
        return tuple(_from_json(item) for item in raw["pending"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError) as error:
        fault = type(error).__name__  # its text may quote the file
    raise ConfigError(f"`{path}` is corrupt ({fault}): remove it and run `intellirouter prices refresh`")


def _listing(settings: Settings, book: PriceBook | None) -> tuple[Listing | None, str | None]:
    """(The source to compare with, or None to keep the book. Why the online source was not used)."""
    if not settings.prices_url:
        return source.bundled(), None
    try:
        return source.online(settings.prices_url), None
    except PriceSourceError as error:
        logger.warning("%s", error)
        came_from_site = book is not None and book.source.startswith(("http://", "https://"))
        return None if came_from_site else source.bundled(), str(error)


def _pending(change: Change, found_at: datetime) -> Pending:
    return Pending(
        id=change.id,
        ref=change.ref,
        found_at=found_at,
        findings=change.findings,
        price=change.price,
        standing=change.standing,
    )


def _to_json(item: Pending) -> dict[str, Any]:
    return {
        "id": item.id,
        "ref": item.ref,
        "found_at": item.found_at.isoformat(),
        "findings": [asdict(finding) for finding in item.findings],
        "price": row_to_json(item.price),
        "standing": None if item.standing is None else row_to_json(item.standing),
    }


def _from_json(raw: dict[str, Any]) -> Pending:
    return Pending(
        id=raw["id"],
        ref=raw["ref"],
        found_at=datetime.fromisoformat(raw["found_at"]),
        findings=tuple(Finding(**finding) for finding in raw["findings"]),
        price=row_from_json(raw["price"]),
        standing=None if raw["standing"] is None else row_from_json(raw["standing"]),
    )


def _write_book(settings: Settings, book: PriceBook) -> None:
    write_atomically(settings.price_book_file, book.to_json())
    share_prices(settings)


def _write_pending(settings: Settings, pending: Sequence[Pending]) -> None:
    content = {"schema_version": PENDING_SCHEMA_VERSION, "pending": [_to_json(item) for item in pending]}
    write_atomically(_pending_file(settings), orjson.dumps(content, option=orjson.OPT_INDENT_2))


def _pending_file(settings: Settings) -> Path:
    return settings.price_book_file.with_name("pending.json")


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Lock the price files against another writer: the daily job, or a person who accepts a price."""
    folder = settings.price_book_file.parent
    make_folder(folder)
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
