"""The price book: public list prices, as `intellirouter prices refresh` last found them.

`prices/book.json` in the data folder holds dated rows for each `provider/model`. Rows are added and
never rewritten or removed, so that the `price_id` of an old record can be looked up for good. A
price in catalog.yaml takes precedence over the book.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from router.catalog.prices import Price, Rates, ServiceTier, Tier, Window
from router.documents import REFUSAL
from router.errors import ConfigError, has_secret

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SCHEMA_VERSION = 1
BOOK_NAME = Path("prices") / "book.json"
"""Where the book lies in the data folder."""
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""The start of a price that is not dated."""
IN_USE = "rows in use"
"""The source of the part of a book that a catalog uses."""
_DIGEST = re.compile(r"^[0-9a-f]{8}(\.\d+)?$")
RATE_FIELDS = tuple(Rates.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """The book. A row is built only when it is asked for."""

    source: str
    """Where the latest rows come from: a package with its version, or a URL."""
    updated_at: datetime
    """When the source was last compared with the book."""
    content_hash: str
    """SHA-256 of the rows."""
    models: Mapping[str, Any]
    """`provider/model` to its rows as JSON values."""

    @classmethod
    def of(
        cls,
        rows: Mapping[str, tuple[Price, ...]],
        *,
        unlisted: frozenset[str],
        source: str,
        updated_at: datetime,
    ) -> PriceBook:
        """A book of `rows`. `unlisted` are the models that the source no longer names."""
        models = {
            ref: {"is_listed": ref not in unlisted, "rows": [row_to_json(price) for price in rows[ref]]}
            for ref in sorted(rows)
        }
        return cls(source=source, updated_at=updated_at, content_hash=_hash(models), models=models)

    @classmethod
    def read(cls, path: Path) -> PriceBook:
        """The book at `path`. ConfigError when it cannot be used, FileNotFoundError when absent."""
        return cls.parse(path.read_bytes(), path)

    @classmethod
    def parse(cls, content: bytes, path: Path) -> PriceBook:
        """The book of a file's content. Messages name `path`."""
        try:
            raw = orjson.loads(content)
            version = raw["schema_version"]
            if version != SCHEMA_VERSION:
                found = f" `{version}`" if isinstance(version, int) else ""
                raise ConfigError(
                    f"price book `{path}` has another schema version{found}, this release reads"
                    f" `{SCHEMA_VERSION}`: run the same release of the router and the pipelines"
                )
            book = cls(
                source=raw["source"],
                updated_at=datetime.fromisoformat(raw["updated_at"]),
                content_hash=raw["content_hash"],
                models=raw["models"],
            )
            if book.content_hash != _hash(book.models):
                fault = "does not match its own hash: it was changed after it was written"
            elif has_secret(book.source):
                fault = f"names a source that {REFUSAL}"
            else:
                return book
        except (ValueError, KeyError, TypeError) as error:
            fault = f"is corrupt ({type(error).__name__})"  # its text may quote the file
        raise ConfigError(f"price book `{path}` {fault}; {_REMEDY}")

    def prices(self, ref: str) -> tuple[Price, ...]:
        """The dated rows of `provider/model`, in order. Empty when the book does not know it."""
        entry = self.models.get(ref)
        return () if entry is None else tuple(_own_id(row_from_json(row)) for row in entry["rows"])

    def in_use(self, refs: Collection[str]) -> PriceBook | None:
        """The part of the book that `refs` name; None if it has none of them. Equal rows give equal parts."""
        models = {ref: self.models[ref] for ref in sorted(refs) if ref in self.models}
        if not models:
            return None
        return PriceBook(source=IN_USE, updated_at=ALWAYS, content_hash=_hash(models), models=models)

    def is_listed(self, ref: str) -> bool:
        """Whether the source still names the model."""
        return ref in self.models and bool(self.models[ref]["is_listed"])

    def nearest(self, ref: str) -> list[str]:
        """Names of the book that resemble `ref`."""
        name = ref.rpartition("/")[2]
        same_name = sorted(known for known in self.models if known.rpartition("/")[2] == name)
        return same_name[:3] or get_close_matches(ref, self.models, n=3, cutoff=0.6)

    def to_json(self) -> bytes:
        """The file's content."""
        head = {"schema_version": SCHEMA_VERSION, "source": self.source, "content_hash": self.content_hash}
        return orjson.dumps(head | {"updated_at": self.updated_at.isoformat(), "models": self.models})


def row_to_json(price: Price) -> dict[str, Any]:
    """A price row as JSON values. Money is text, so that no double rounds it."""
    row: dict[str, Any] = {"price_id": price.price_id, "start": price.start.isoformat(), **_rates(price)}
    if price.tiers:
        row["tiers"] = [_tier(tier) for tier in price.tiers]
    if price.windows:
        row["windows"] = [
            {
                "start_time_utc": window.start_time_utc.isoformat(),
                "end_time_utc": window.end_time_utc.isoformat(),
                **_rates(window),
                **({"tiers": [_tier(tier) for tier in window.tiers]} if window.tiers else {}),
            }
            for window in price.windows
        ]
    if price.service_tiers:
        row["service_tiers"] = {
            tier.name: {
                **_rates(tier),
                **({"tiers": [_tier(item) for item in tier.tiers]} if tier.tiers else {}),
            }
            for tier in price.service_tiers
        }
    return row


def content_digest(price: Price) -> str:
    """Eight hex digits of the row's rates: equal rates have one digest, however they were written."""
    row = {**row_to_json(price), "price_id": None, "start": None}
    return hashlib.sha256(orjson.dumps(_plain(row), option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]


def _plain(value: Any, name: str = "") -> Any:
    """The tree with each rate in its shortest form: `2.50` is `2.5`."""
    if isinstance(value, dict):
        return {key: _plain(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return f"{Decimal(value).normalize():f}" if name in RATE_FIELDS else value


def _own_id(price: Price) -> Price:
    """The row with the digest of its rates in its id. A row that was edited by hand is another row."""
    name, mark, rest = price.price_id.partition("#")
    digest = content_digest(price)
    # Ids of earlier releases have no digest, or the number of a revision.
    if not mark or not _DIGEST.match(rest) or rest.partition(".")[0] == digest:
        return price
    return replace(price, price_id=f"{name}#{digest}")


def row_from_json(row: Mapping[str, Any]) -> Price:
    """The reverse of `row_to_json`. ConfigError when it could not have written a value."""
    try:
        return Price(
            price_id=row["price_id"],
            start=datetime.fromisoformat(row["start"]),
            tiers=_tiers(row),
            windows=tuple(
                Window(
                    start_time_utc=time.fromisoformat(window["start_time_utc"]),
                    end_time_utc=time.fromisoformat(window["end_time_utc"]),
                    tiers=_tiers(window),
                    **_rates_of(window),
                )
                for window in row.get("windows", ())
            ),
            service_tiers=tuple(
                ServiceTier(name=name, tiers=_tiers(tier), **_rates_of(tier))
                for name, tier in row.get("service_tiers", {}).items()
            ),
            **_rates_of(row),
        )
    except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation) as error:
        fault = type(error).__name__
    raise ConfigError(f"a row of the price book is not usable ({fault}); {_REMEDY}")


_REMEDY = "move it away and run `intellirouter prices refresh` to write a new one"


def _rates(rates: Rates) -> dict[str, str | None]:
    values = {name: getattr(rates, name) for name in RATE_FIELDS}
    return {name: f"{value:f}" for name, value in values.items() if value is not None}


def _tier(tier: Tier) -> dict[str, Any]:
    return {"above_input_tokens": tier.above_input_tokens, **_rates(tier)}


def _tiers(row: Mapping[str, Any]) -> tuple[Tier, ...]:
    return tuple(
        Tier(above_input_tokens=tier["above_input_tokens"], **_rates_of(tier))
        for tier in row.get("tiers", ())
    )


def _rates_of(row: Mapping[str, Any]) -> dict[str, Any]:
    rates = {name: Decimal(row[name]) if name in row else None for name in RATE_FIELDS}
    if rates["input_usd_per_mtok"] is None:
        raise KeyError("input_usd_per_mtok")
    return rates


def _hash(models: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(models)).hexdigest()
