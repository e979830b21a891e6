"""catalog.yaml and policies.yaml: bad files are refused with the place and the remedy."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path

import pytest

from router.catalog.catalog import EXAMPLE_FILE, Catalog, Model
from router.catalog.price_book import ALWAYS, PriceBook, content_digest
from router.catalog.prices import Price, Usage, cost
from router.errors import ConfigError
from router.policies.policy import Policies
from tests.factories import write_catalog


def load(tmp_path: Path, text: str) -> Catalog:
    """The catalog of `text`."""
    path = tmp_path / "catalog.yaml"
    path.write_text(text)
    return Catalog.load(path)


PROVIDERS = "providers: {p: {kind: openai, base_url: 'http://h/v1'}}\n"


def priced(*changes: str) -> str:
    """A catalog of one model with one price row, of which some fields are replaced or added."""
    row = {"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}
    row |= dict(change.split(": ", 1) for change in changes)
    text = ", ".join(f"{name}: {value}" for name, value in row.items())
    return PROVIDERS + f"models: [{{id: m, provider: p, prices: [{{{text}}}]}}]"


def tier(above: int) -> str:
    """A tier."""
    return f"{{above_input_tokens: {above}, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}"


def window(start: str, end: str, quote: str = "'") -> str:
    """A window."""
    times = f"start_time_utc: {quote}{start}{quote}, end_time_utc: {quote}{end}{quote}"
    return f"{{{times}, input_usd_per_mtok: 3, output_usd_per_mtok: 4}}"


def write_book(tmp_path: Path, **rows: Price) -> None:
    """A price book of `p/<name>` beside the catalog."""
    book = PriceBook.of(
        {f"p/{name}": (row,) for name, row in rows.items()},
        unlisted=frozenset(),
        source="test",
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "book.json").write_bytes(book.to_json())


def listed(price_id: str = "book/p/m@always", start: datetime = ALWAYS) -> Price:
    """A row of the book."""
    return Price(
        price_id=price_id, start=start, input_usd_per_mtok=Decimal(7), output_usd_per_mtok=Decimal(8)
    )


@pytest.mark.smoke
def test_the_example_is_usable(tmp_path: Path) -> None:
    """What `intellirouter init` writes loads, with exact prices."""
    catalog = load(tmp_path, EXAMPLE_FILE.read_text())
    (price,) = catalog.models["gpt-4o-mini"].prices
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (Decimal("0.15"), Decimal("0.60"))


@pytest.mark.smoke
def test_a_missing_catalog_says_how_to_get_one(tmp_path: Path) -> None:
    """An empty data folder names the file and the command that writes it."""
    with pytest.raises(ConfigError, match=r"catalog\.yaml.*intellirouter init"):
        Catalog.load(tmp_path / "catalog.yaml")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("providers: [", "not valid YAML"),
        ("", "providers: is missing"),
        (PROVIDERS + "models: [{id: m, provider: q}]", "unknown provider `q`: known: `p`"),
        (
            PROVIDERS + "models: [{id: m, provider: p}]\naliases: {n: q}",
            "`n` names the unknown model `q`: known: `auto`",
        ),
        (
            PROVIDERS + "models: [{id: m, provider: p}]\naliases: {m: auto}",
            "`m` is the name of a model already",
        ),
        (
            "providers: {p: {kind: cohere, base_url: 'http://h'}}\nmodels: []",
            "'openai', 'anthropic', 'azure', 'gemini' or 'bedrock'",
        ),
        (PROVIDERS + "models: [{id: m, provider: p}, {id: m, provider: p}]", "`m` is taken"),
        (PROVIDERS + "models: [{id: auto, provider: p}]", "`auto` is the router's"),
        (PROVIDERS + "models: [{id: 'a b', provider: p}]", "models.0.id.*got `a b`"),
        (PROVIDERS + "models: [{id: m, provider: p, contextwindow: 5}]", "models.m.contextwindow"),
        (PROVIDERS + "models: [{id: m, provider: p, context_window: 0}]", "context_window.*got `0`"),
        (
            PROVIDERS + "models: [{id: m, provider: p, prices: "
            "[{start: 2026-01-01, input_usd_per_mtok: -1, output_usd_per_mtok: 1}]}]",
            "input_usd_per_mtok.*got `-1`",
        ),
        (
            PROVIDERS + "models: [{id: m, provider: p, prices: "
            "[{start: 2026-01-01, input_usd_per_mtok: 1, output_usd_per_mtok: 1},"
            " {start: 2026-01-01, input_usd_per_mtok: 2, output_usd_per_mtok: 1}]}]",
            "start at the same moment",
        ),
        (priced("start: 2026-01-01 00:00:00"), "no time zone.*or only a date"),
        (priced("input_usd_per_mtok: 0"), "price of 0 bills nothing.*is_free: true"),
        (priced("is_free: true"), "contradicts prices that are not 0"),
        (priced("cached_input_usd_per_mtok: -0.1"), "cached_input_usd_per_mtok.*got `-0.1`"),
        (
            priced("tiers: [{above_input_tokens: 5, input_usd_per_mtok: 1, output_usd_per_mtok: -2}]"),
            "tiers.0.output_usd_per_mtok.*got `-2`",
        ),
        (priced(f"tiers: [{tier(5)}, {tier(5)}]"), "same number of input tokens"),
        (priced(f"windows: [{window('16:30', '00:30')}, {window('00:00', '02:00')}]"), "overlap"),
        (priced(f"windows: [{window('16:30', '16:30')}]"), "ends when it starts"),
        (priced(f"windows: [{window('16:30+01:00', '17:30')}]"), "UTC already"),
        (PROVIDERS + "models: [{id: m, provider: p, capabilities: [flying]}]", "capabilities.0.*`flying`"),
        (PROVIDERS + "models: [{id: m, provider: p, quality_scores: {math: 1.5}}]", "math.*got `1.5`"),
        (PROVIDERS + "models: [{id: m, provider: p, quality_scores: {maths: 1}}]", "task `maths`"),
        (PROVIDERS + "models: [{id: m, provider: p, max_output_tokens: 0}]", "max_output_tokens.*got `0`"),
        (
            "providers: {p: {kind: openai, base_url: 'http://u@h/v1'}}\nmodels: []",
            "base_url",
        ),
        (
            "providers: {p: {kind: openai, base_url: 'http://h/v1?a=b'}}\nmodels: []",
            "must be the URL of an API",
        ),
        (
            "providers: {p: {kind: openai, base_url: 'http://h/v1#a'}}\nmodels: []",
            "must be the URL of an API",
        ),
        ("providers: {p: {kind: openai, base_url: 'http://h:0/v1'}}\nmodels: []", "port 0"),
        (
            "providers: {p: {kind: openai, base_url: 'api.example.com/v1'}}\nmodels: []",
            "begin with `https://`",
        ),
        ("providers: {p: {kind: openai, base_url: 'file:///etc/passwd'}}\nmodels: []", "base_url"),
    ],
)
def test_a_bad_catalog_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    """The error names the file, the place within it and the value."""
    with pytest.raises(ConfigError, match=f"catalog.yaml(?s:.*){complaint}"):
        load(tmp_path, text)


@pytest.mark.smoke
def test_what_is_not_stated_is_not_known(tmp_path: Path) -> None:
    """A bare model has no limits, labels, scores or prices; nothing is assumed."""
    model = load(tmp_path, PROVIDERS + "models: [{id: m, provider: p}]").models["m"]
    assert model == Model(id="m", provider="p", provider_model="m", price_ref="p/m", developer_as="system")
    assert model.quality_score("math") is None


def test_what_is_stated_reaches_the_request_path(tmp_path: Path) -> None:
    """Labels become sets, scores answer by task and by `*`."""
    text = PROVIDERS + (
        "models: [{id: m, provider: p, name: M, max_output_tokens: 5, capabilities: [tools, streaming],"
        " regions: [eu], data_policy: [no_training], quality_scores: {'*': 0.5, math: 0}}]"
    )
    model = load(tmp_path, text).models["m"]
    assert (model.name, model.max_output_tokens) == ("M", 5)
    assert model.capabilities == frozenset({"tools", "streaming"})
    assert model.regions == frozenset({"eu"})
    assert model.data_policy == frozenset({"no_training"})
    assert [model.quality_score(task) for task in ("math", "code")] == [0.0, 0.5]


def test_tiers_and_windows_are_read_in_order(tmp_path: Path) -> None:
    """Tiers are sorted; a time of day is the same with quotes and without (YAML reads 16:30 as 990)."""
    quoted = priced(f"windows: [{window('16:30', '23:59:30')}]", f"tiers: [{tier(9)}, {tier(5)}]")
    bare = priced(f"windows: [{window('16:30', '23:59:30', quote='')}]", f"tiers: [{tier(5)}, {tier(9)}]")
    first, second = (load(tmp_path, text).models["m"].prices for text in (quoted, bare))
    assert first == second
    assert [item.above_input_tokens for item in first[0].tiers] == [5, 9]
    assert first[0].windows[0].start_time_utc == time(16, 30)
    assert first[0].windows[0].end_time_utc == time(23, 59, 30)


@pytest.mark.parametrize("start", ["2026-01-01", "'2026-01-01'", "2026-01-01T01:00:00+01:00"])
def test_a_date_is_midnight_utc(tmp_path: Path, start: str) -> None:
    """A start is a date, or a moment that says its offset."""
    (price,) = load(tmp_path, priced(f"start: {start}")).models["m"].prices
    assert price.price_id.startswith("m@2026-01-01T00:00:00Z#")
    assert price.start == datetime(2026, 1, 1, tzinfo=UTC)


def test_free_is_free_when_it_is_said(tmp_path: Path) -> None:
    """A stated zero costs zero; it is not unknown."""
    text = priced("input_usd_per_mtok: 0", "output_usd_per_mtok: 0", "is_free: true")
    model = load(tmp_path, text).models["m"]
    usage = Usage(tokens_input=5, tokens_output=5)
    assert cost(usage, model, datetime(2026, 2, 1, tzinfo=UTC)) == Decimal(0)


def test_the_book_prices_a_model_by_its_name_or_its_ref(tmp_path: Path) -> None:
    """`provider/provider_model` is looked up by itself; another name is what `price_ref` is for."""
    write_book(tmp_path, m=listed())
    models = load(
        tmp_path,
        PROVIDERS + "models: [{id: m, provider: p}, {id: a, provider: p, provider_model: m},"
        " {id: b, provider: p, price_ref: p/m}, {id: c, provider: p}]",
    ).models
    assert [models[name].prices for name in "mabc"] == [(listed(),)] * 3 + [()]


def test_the_user_s_prices_stand_above_the_book(tmp_path: Path) -> None:
    """From its first own row on a model has no other; before it the book's hold."""
    write_book(tmp_path, m=listed())
    before = load(tmp_path, PROVIDERS + "models: [{id: m, provider: p}]")
    catalog = load(tmp_path, priced())
    model = catalog.models["m"]
    mine = f"m@2026-01-01T00:00:00Z#{content_digest(model.prices[-1])}"
    assert [price.price_id for price in model.prices] == ["book/p/m@always", mine]
    assert before.digest != catalog.digest
    (tmp_path / "prices" / "book.json").unlink()
    write_again = load(tmp_path, priced())
    assert [price.price_id for price in write_again.models["m"].prices] == [mine]
    assert write_again.digest != catalog.digest


def test_an_edited_row_is_a_new_row(tmp_path: Path) -> None:
    """The id of a row names its content: other rates have another id, other spellings have not."""
    rows = {
        rate: load(tmp_path, priced(f"input_usd_per_mtok: {rate}")).models["m"].prices[0].price_id
        for rate in ("2", "2.00", "4")
    }
    assert rows["2"] == rows["2.00"] != rows["4"]
    tiered = priced("input_usd_per_mtok: 2", f"tiers: [{tier(5)}]")
    assert load(tmp_path, tiered).models["m"].prices[0].price_id != rows["2"]


def test_a_price_ref_that_names_nothing_is_refused(tmp_path: Path) -> None:
    """The error names the model and what is near; without a book the price is not known yet."""
    text = PROVIDERS + "models: [{id: a, provider: p, price_ref: q/m}]"
    assert load(tmp_path, text).models["a"].prices == ()
    write_book(tmp_path, m=listed())
    with pytest.raises(
        ConfigError, match=r"price_ref `q/m` of model `a` is not in the price book.*nearest known: `p/m`"
    ):
        load(tmp_path, text)


def test_the_digest_names_the_content(tmp_path: Path) -> None:
    """Another content is another configuration."""
    first = Catalog.load(write_catalog(tmp_path / "a"))
    second = Catalog.load(write_catalog(tmp_path / "b", ["other"]))
    assert first.digest != second.digest


def test_policies_add_to_the_built_in_ones(tmp_path: Path) -> None:
    """A file may add a policy and replace a built-in one; the others stay."""
    path = tmp_path / "policies.yaml"
    path.write_text("policies: [{id: mine, cost_weight: 0.3}, {id: balanced, version: 2, cost_weight: 0.5}]")
    policies = Policies.load(path).by_id
    assert set(policies) == {"balanced", "cheapest", "quality", "fastest", "mine"}
    assert (policies["balanced"].version, policies["balanced"].cost_weight) == (2, 0.5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("policies: [{id: a}, {id: a}]", "share an id"),
        ("policies: [{id: a, cost_weight: -1}]", "cost_weight.*got `-1`"),
        ("policies: [{id: a, strategy: magic}]", "strategy.*got `magic`"),
    ],
)
def test_a_bad_policy_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    """The error names the file and the value."""
    path = tmp_path / "policies.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"policies.yaml(?s:.*){complaint}"):
        Policies.load(path)


def test_names_of_a_model(tmp_path: Path) -> None:
    """A client's name is a model's id, an alias, or the provider's own name; another stays what it is."""
    models = "models: [{id: m, provider: p, provider_model: long-m}, {id: n, provider: p}]\n"
    catalog = load(tmp_path, PROVIDERS + models + "aliases: {other: auto, n-latest: n}")
    named = [catalog.named(name) for name in ("m", "auto", "other", "n-latest", "long-m", "unknown")]
    assert named == ["m", "auto", "auto", "n", "m", "unknown"]


KINDS = """providers:
  plain: {kind: openai, base_url: 'http://h/v1'}
  full: {kind: openai, base_url: 'http://h/v1', apis: [chat, responses]}
  claude: {kind: anthropic, base_url: 'http://h/v1'}
"""


def test_apis_are_the_providers_unless_the_model_says_otherwise(tmp_path: Path) -> None:
    """Chat alone where nothing is stated; a model that embeds does nothing else."""
    catalog = load(
        tmp_path,
        KINDS
        + """models:
  - {id: a, provider: plain}
  - {id: b, provider: full}
  - {id: c, provider: full, apis: [responses]}
  - {id: d, provider: full, vectors: x}
  - {id: e, provider: claude}
""",
    )
    assert {name: set(model.apis) for name, model in catalog.models.items()} == {
        "a": {"chat"},
        "b": {"chat", "responses"},
        "c": {"responses"},
        "d": {"embeddings"},
        "e": {"chat"},
    }
    assert catalog.vectors == {"x"}


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("[{id: a, provider: claude, vectors: x}]", "`kind: anthropic` does not serve"),
        ("[{id: a, provider: claude, apis: [responses]}]", "`kind: anthropic` does not serve"),
        ("[{id: a, provider: plain, apis: []}]", "names each API once, and at least one"),
        ("[{id: a, provider: plain, apis: [chat, chat]}]", "names each API once, and at least one"),
        ("[{id: a, provider: plain, vectors: b}, {id: b, provider: plain}]", "the name of something else"),
        ("[{id: a, provider: plain, vectors: auto}]", "the name of something else"),
        (
            "[{id: a, provider: plain, prices: [{start: 2026-01-01, input_usd_per_mtok: 1}]}]",
            "lacks `output_usd_per_mtok`",
        ),
    ],
)
def test_what_no_provider_serves_is_refused(tmp_path: Path, models: str, message: str) -> None:
    """And a name that could mean two things, and a price that would bill no output."""
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, f"{KINDS}models: {models}")


def test_apis_of_anthropic_are_its_own(tmp_path: Path) -> None:
    """`apis` name OpenAI's."""
    with pytest.raises(ConfigError, match="`apis` are OpenAI's"):
        load(
            tmp_path,
            "providers: {p: {kind: anthropic, base_url: 'http://h/v1', apis: [responses]}}\nmodels: []",
        )
