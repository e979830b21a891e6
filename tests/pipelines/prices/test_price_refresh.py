"""The price book is refreshed by adding rows; what looks wrong waits for a person."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import dagster as dg
import orjson
import pytest
from click.testing import CliRunner

from pipelines.defs.prices import price_book
from pipelines.errors import UnknownPriceChangeError
from pipelines.prices import source
from pipelines.prices.book import added
from pipelines.prices.price_commands import prices_command
from pipelines.prices.refresh import accept, read_book, read_pending, refresh_prices
from pipelines.prices.source import Listing
from pipelines.warehouse.registry import load_model_registry
from router.catalog.catalog import Catalog
from router.catalog.price_book import ALWAYS, BOOK_NAME, PriceBook, content_digest
from router.catalog.prices import Price, Tier, price_at
from router.config import Settings
from router.errors import ConfigError
from router.keys.audit_trail import read_events
from tests.factories import write_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipelines.warehouse.warehouse import Warehouse

DAY = timedelta(days=1)
START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder whose prices come from the installed package."""
    return Settings.load({}, home=tmp_path / "data", prices_url="")


def price(input_rate: str, output_rate: str, start: datetime = ALWAYS, **changes: Any) -> Price:
    """A row as a source says it."""
    return Price(
        price_id="source",
        start=start,
        input_usd_per_mtok=Decimal(input_rate),
        output_usd_per_mtok=Decimal(output_rate),
        **changes,
    )


def tier(input_rate: str) -> Tier:
    """What holds above five tokens of input."""
    return Tier(above_input_tokens=5, input_usd_per_mtok=Decimal(input_rate), output_usd_per_mtok=None)


def listing(**rows: Price | tuple[Price, ...]) -> Listing:
    """A source that lists `p/<name>` for each row given."""
    listed = {f"p/{name}": row if isinstance(row, tuple) else (row,) for name, row in rows.items()}
    return Listing(name="test", is_online=False, rows=listed)


def rows_of(settings: Settings, name: str) -> tuple[Price, ...]:
    """The book's rows of `p/<name>`."""
    book = read_book(settings)
    assert book is not None
    return book.prices(f"p/{name}")


def rate_at(settings: Settings, name: str, at: datetime) -> Decimal | None:
    """The input rate in force."""
    row = price_at(rows_of(settings, name), at)
    return None if row is None else row.input_usd_per_mtok


def bare(row: Price) -> str:
    """A row's id without the digest of its rates."""
    return row.price_id.partition("#")[0]


def test_a_price_that_returns_is_a_row_of_its_own() -> None:
    """Rates and a start that an earlier row has too get an id of their own."""
    rows: tuple[Price, ...] = ()
    for rate in ("2", "3", "2"):
        rows = added("p/m", rows, price(rate, "2", START))
    assert [row.input_usd_per_mtok for row in rows] == [2, 3, 2]
    assert len({row.price_id for row in rows}) == 3
    assert rows[2].price_id == f"{rows[0].price_id}.2"


def test_a_row_that_was_edited_by_hand_is_another_row(settings: Settings) -> None:
    """The id of a book's row says its rates, also where a person wrote other rates and the hash anew."""
    refresh_prices(settings, now=START, listing=listing(m=price("1", "2")))
    (before,) = rows_of(settings, "m")
    path = settings.home / BOOK_NAME
    book = PriceBook.read(path)
    models = orjson.loads(orjson.dumps(book.models))
    (name,) = models
    models[name]["rows"][0]["input_usd_per_mtok"] = "5"
    edited = replace(book, models=models, content_hash=hashlib.sha256(orjson.dumps(models)).hexdigest())
    path.write_bytes(edited.to_json())
    (after,) = rows_of(settings, "m")
    assert after.input_usd_per_mtok == 5
    assert (bare(after), after.price_id) != (bare(before), before.price_id)
    assert after.price_id == f"{bare(before)}#{content_digest(after)}"


@pytest.mark.smoke
def test_a_change_adds_a_row_from_its_discovery_on(settings: Settings) -> None:
    """What a moment before the discovery cost stays; the old row keeps its id."""
    refresh_prices(settings, now=START, listing=listing(m=price("1", "2")))
    refresh_prices(settings, now=START + DAY, listing=listing(m=price("1.5", "2")))
    old, new = rows_of(settings, "m")
    assert (bare(old), bare(new)) == ("book/p/m@always", "book/p/m@2026-11-02T00:00:00Z")
    assert [row.price_id for row in (old, new)] == [
        f"{bare(row)}#{content_digest(row)}" for row in (old, new)
    ]
    assert rate_at(settings, "m", START + DAY - timedelta(seconds=1)) == Decimal(1)
    assert rate_at(settings, "m", START + DAY) == Decimal("1.5")


def test_a_price_that_starts_later_starts_when_the_source_says(settings: Settings) -> None:
    """An announced price is a row with its own start; told again it is no change."""
    today = price("1", "2")
    for day in range(3):
        announced = listing(m=(today, price("2", "2", START + 5 * DAY)))
        result = refresh_prices(settings, now=START + day * DAY, listing=announced)
        assert result.applied == (2 if day == 0 else 0)
    assert [row.start for row in rows_of(settings, "m")] == [ALWAYS, START + 5 * DAY]


def test_a_withdrawn_announcement_is_overruled_by_a_row(settings: Settings) -> None:
    """Two rows with one start have ids of their own, and the later one holds."""
    today = price("1", "2")
    later = START + 5 * DAY
    refresh_prices(settings, now=START, listing=listing(m=(today, price("2", "2", later))))
    refresh_prices(settings, now=START + DAY, listing=listing(m=today))
    rows = rows_of(settings, "m")
    assert [bare(row) for row in rows] == ["book/p/m@always", *["book/p/m@2026-11-06T00:00:00Z"] * 2]
    assert len({row.price_id for row in rows}) == 3
    assert rate_at(settings, "m", later) == Decimal(1)


@pytest.mark.smoke
def test_a_past_is_not_rewritten(settings: Settings) -> None:
    """A price that the source dates back starts at its discovery all the same."""
    refresh_prices(settings, now=START, listing=listing(m=price("1", "2")))
    backdated = listing(m=(price("1", "2"), price("2", "2", START - 30 * DAY)))
    refresh_prices(settings, now=START + DAY, listing=backdated)
    assert [row.start for row in rows_of(settings, "m")] == [ALWAYS, START + DAY]


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (price("3.01", "6"), "moved"),
        (price("0.33", "2"), "moved"),
        (price("1", "2", cached_input_usd_per_mtok=Decimal("0.9")), "moved"),
        (price("0", "2"), "zero"),
        (price("2", "1"), "swapped"),
        (price("1001", "2000"), "absurd"),
        (price("0.000001", "0.000002"), "absurd"),
        (price("1", "2", request_usd=Decimal(11)), "absurd"),
        (
            price("1", "2", tiers=(tier("0"),)),
            "zero",
        ),
    ],
)
def test_an_implausible_price_waits(settings: Settings, wrong: Price, kind: str) -> None:
    """It is named with its reason, and the price in force stays in force until it is accepted."""
    right = price("1", "2", cached_input_usd_per_mtok=Decimal("0.1"))
    refresh_prices(settings, now=START, listing=listing(m=right))
    for day in (1, 2):
        result = refresh_prices(settings, now=START + day * DAY, listing=listing(m=wrong))
        (pending,) = result.pending
        assert kind in {finding.kind for finding in pending.findings}
        assert pending.found_at == START + DAY
        assert len(rows_of(settings, "m")) == 1
    accept(settings, [pending.id], now=START + 3 * DAY)
    assert read_pending(settings) == ()
    assert rate_at(settings, "m", START + 3 * DAY - timedelta(seconds=1)) == Decimal(1)
    assert rate_at(settings, "m", START + 3 * DAY) == wrong.input_usd_per_mtok
    result = refresh_prices(settings, now=START + 4 * DAY, listing=listing(m=wrong))
    assert (result.applied, result.pending) == (0, ())


@pytest.mark.smoke
def test_a_factor_is_a_setting(tmp_path: Path) -> None:
    """PRICES_MAX_FACTOR says how far a price may move by itself."""
    strict = Settings.load({}, home=tmp_path, prices_url="", prices_max_factor=1.1)
    refresh_prices(strict, now=START, listing=listing(m=price("1", "2")))
    assert refresh_prices(strict, now=START + DAY, listing=listing(m=price("1.2", "2"))).pending


def test_a_first_cached_price_is_no_move(settings: Settings) -> None:
    """A rate that is told for the first time comes into force by itself; one that vanishes waits."""
    cached = price("1", "2", cached_input_usd_per_mtok=Decimal("0.1"))
    refresh_prices(settings, now=START, listing=listing(m=price("1", "2")))
    assert refresh_prices(settings, now=START + DAY, listing=listing(m=cached)).applied == 1
    assert refresh_prices(settings, now=START + 2 * DAY, listing=listing(m=price("1", "2"))).pending


def test_a_corrected_price_stops_waiting(settings: Settings) -> None:
    """When the source mends itself nobody has to be asked."""
    refresh_prices(settings, now=START, listing=listing(m=price("1", "2")))
    assert refresh_prices(settings, now=START + DAY, listing=listing(m=price("9", "9"))).pending
    result = refresh_prices(settings, now=START + 2 * DAY, listing=listing(m=price("1", "2")))
    assert (result.applied, result.pending) == (0, ())


def test_a_new_model_with_an_implausible_price_has_none(settings: Settings) -> None:
    """Not known is better than wrong; accepted, it holds from its own start."""
    refresh_prices(settings, now=START, listing=listing(m=price("0", "0")))
    assert rows_of(settings, "m") == ()
    accept(settings, None, now=START + DAY)
    assert rate_at(settings, "m", START) == Decimal(0)


def test_a_vanished_model_keeps_its_price(settings: Settings) -> None:
    """The book still prices it, and says that the source does not."""
    refresh_prices(settings, now=START, listing=listing(m=price("1", "2"), n=price("1", "2")))
    result = refresh_prices(settings, now=START + DAY, listing=listing(n=price("1", "2")))
    book = read_book(settings)
    assert book is not None
    assert (result.unlisted, book.is_listed("p/m"), book.is_listed("p/n")) == (1, False, True)
    assert rate_at(settings, "m", START + DAY) == Decimal(1)


def test_accepting_what_does_not_wait_changes_nothing(settings: Settings) -> None:
    """An unknown id is an error that lists what waits, and the others are not accepted either."""
    refresh_prices(settings, now=START, listing=listing(m=price("0", "0")))
    (pending,) = read_pending(settings)
    with pytest.raises(UnknownPriceChangeError, match=pending.id):
        accept(settings, [pending.id, "p/m@nothing"])
    assert read_pending(settings) == (pending,)


def test_the_installed_package_fills_a_book_that_the_catalog_reads(settings: Settings) -> None:
    """The whole data passes through the file: a model is priced by its own name."""
    result = refresh_prices(settings, now=START)
    assert result.applied > 2000
    assert len(result.pending) < 50
    path = write_catalog(settings.home, [{"id": "mine", "price_ref": "openai/gpt-4o"}])
    rows = source.bundled().rows["openai/gpt-4o"]
    assert Catalog.load(path).models["mine"].prices == rows
    again = refresh_prices(settings, now=START + DAY)
    assert (again.applied, len(again.pending)) == (0, len(result.pending))


class Site(BaseHTTPRequestHandler):
    """A site of prices."""

    body = b""

    def do_GET(self) -> None:
        """Answer with the class's body."""
        self.send_response(200 if self.body else 503)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a site that lists one model."""
    model = {"id": "m", "match": {"equals": "m"}, "prices": {"input_mtok": 1.25, "output_mtok": 2}}
    content = [{"id": "p", "name": "P", "api_pattern": "p", "models": [model]}]
    monkeypatch.setattr(Site, "body", orjson.dumps(content))
    with HTTPServer(("127.0.0.1", 0), Site) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/data.json"
        server.shutdown()
        thread.join()


def test_the_site_is_read_and_its_book_is_not_taken_back(
    settings: Settings, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The online prices win; when the site fails later, the book stays as the site left it."""
    online = settings.model_copy(update={"prices_url": site})
    assert refresh_prices(online, now=START).source == site
    assert rate_at(settings, "m", START) == Decimal("1.25")
    for broken in (b"", b"[]", b"{", b'[{"id": 5}]'):
        monkeypatch.setattr(Site, "body", broken)
        result = refresh_prices(online, now=START + DAY)
        assert (result.source, result.models, result.applied) == (site, 1, 0)
        assert site in (result.problem or "")


def test_a_site_that_never_answered_leaves_the_installed_prices(settings: Settings) -> None:
    """A closed network has prices on its first day, and is told why they are the package's."""
    closed = settings.model_copy(update={"prices_url": "http://127.0.0.1:9/data.json"})
    result = refresh_prices(closed, now=START)
    assert result.source.startswith("genai-prices ")
    assert result.models > 2000
    assert "PRICES_URL" in (result.problem or "")


def test_the_asset_warns_of_what_waits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job's check passes with a warning's severity, and names each price."""
    monkeypatch.setenv("INTELLIROUTER_HOME", str(settings.home))
    monkeypatch.setenv("PRICES_URL", "")
    zero = listing(m=price("0", "0"))
    monkeypatch.setattr("pipelines.prices.source.bundled", lambda: zero)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([price_book], instance=instance)
    (check,) = result.get_asset_check_evaluations()
    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "p/m@" in str(check.metadata["pending"].value)


def test_a_person_lists_and_accepts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """`prices refresh`, `pending`, `accept` and `list` on one data folder."""
    monkeypatch.setenv("PRICES_URL", "")
    listed = listing(m=price("1", "2"), zero=price("0", "0"))
    monkeypatch.setattr("pipelines.prices.source.bundled", lambda: listed)
    settings.home.mkdir()
    home = str(settings.home)

    def run(*words: str) -> str:
        done = CliRunner().invoke(prices_command, [*words, "--home", home], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "1 new prices in force, 1 wait" in run("refresh")
    (waiting,) = orjson.loads(run("pending", "--format", "json"))
    assert waiting["reason"].startswith("zero")
    assert "p/zero: in force" in run("accept", waiting["id"])
    assert orjson.loads(run("pending", "--format", "json")) == []
    (event,) = read_events(settings.compliance_file)
    assert (event.action, event.subject, event.before) == ("price.accepted", "p/zero", None)
    assert (event.after["input_usd_per_mtok"], event.after["reason"][:4]) == ("0", "zero")
    write_catalog(settings.home, [{"id": "mine", "price_ref": "p/m"}])
    (mine,) = orjson.loads(run("list", "--format", "json"))
    name = mine["price_id"].partition("#")[0]
    assert (mine["model"], name, mine["input_usd_per_mtok"]) == ("mine", "book/p/m@always", 1)
    assert [row["model"] for row in orjson.loads(run("list", "p/", "--format", "json"))] == ["p/m", "p/zero"]
    refused = CliRunner().invoke(prices_command, ["accept", "--home", home])
    assert refused.exit_code == 2


def test_a_changed_book_is_refused(settings: Settings) -> None:
    """A book that was edited by hand is named, with the remedy; nothing is priced from it."""
    refresh_prices(settings, now=START, listing=listing(m=price("1", "2")))
    path = settings.price_book_file
    path.write_bytes(path.read_bytes().replace(b'"1"', b'"9"'))
    with pytest.raises(ConfigError, match=r"book\.json.*does not match its own hash.*prices refresh"):
        read_book(settings)
    path.write_bytes(b"{")
    with pytest.raises(ConfigError, match=r"book\.json.*corrupt"):
        read_book(settings)


def test_the_warehouse_keeps_the_rows_that_records_name(settings: Settings, warehouse: Warehouse) -> None:
    """A price that left the catalog can still be looked up by its price_id."""
    tiered = price("1", "2", tiers=(tier("3"),))
    refresh_prices(settings, now=START, listing=listing(m=replace(tiered, price_id="x")))
    write_catalog(settings.home, [{"id": "mine", "price_ref": "p/m"}])
    load_model_registry(warehouse)
    write_catalog(settings.home, [{"id": "other"}])
    load_model_registry(warehouse)
    ((price_id, model, tiers),) = warehouse.rows("select price_id, model, tiers from model_prices")
    assert (price_id.partition("#")[0], model) == ("book/p/m@always", "mine")
    assert orjson.loads(tiers) == [{"above_input_tokens": 5, "input_usd_per_mtok": "3"}]
