"""What a price book of thousands of models costs a router that opens, and what a cost costs.

    python tests/benchmarks/price_book.py [--smoke]

Opens a router on a catalog of ten models without a book, and with the book of the installed
genai-prices; the two take turns, so that the machine's drift hits both alike. Then times `cost` and
`worst_case_usd` on one of its models.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pipelines.prices.refresh import refresh_prices
from router import Router
from router.catalog.prices import Usage, cost
from router.config import Settings
from tests.prices import worst_case_usd

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = (
    "claude-3-5-haiku-latest",
    "gemini-2.5-pro",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4o",
    "gpt-4o-mini",
    "o3",
    "o3-mini",
    "o4-mini",
    "gpt-5",
)


def open_ms(home: Path) -> float:
    """Milliseconds that opening a router takes."""
    started = time.perf_counter()
    router = Router.open(home=home)
    taken = (time.perf_counter() - started) * 1000
    router.close()
    return taken


def each_us(call: Callable[[], object], repeat: int) -> float:
    """Microseconds of a call, the median of five rounds."""
    rounds = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(repeat):
            call()
        rounds.append((time.perf_counter() - started) / repeat * 1e6)
    return statistics.median(rounds)


def write_catalog(home: Path) -> None:
    """Ten models, each priced by its name in the book."""
    home.mkdir()
    providers = {"openai": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}}
    models = [{"id": model, "provider": "openai"} for model in MODELS]
    (home / "catalog.yaml").write_text(yaml.safe_dump({"providers": providers, "models": models}))


def main() -> int:
    """Print the opening times and the times of a cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="two rounds instead of thirty")
    is_smoke = parser.parse_args().smoke
    with tempfile.TemporaryDirectory() as folder:
        bare, priced = Path(folder) / "bare", Path(folder) / "priced"
        for home in (bare, priced):
            write_catalog(home)
        result = refresh_prices(Settings.load({}, home=priced, prices_url=""))
        size = (priced / "prices" / "book.json").stat().st_size
        times: dict[Path, list[float]] = {bare: [], priced: []}
        for _ in range(2 if is_smoke else 30):
            for home, taken in times.items():
                taken.append(open_ms(home))
        without, with_book = (statistics.median(times[home]) for home in (bare, priced))
        print(f"book: {result.models} models, {len(result.pending)} wait for a person, {size / 1e6:.2f} MB")
        print(f"Router.open: {without:.1f} ms without a book, {with_book:.1f} ms with it (median)")
        with Router.open(home=priced) as router:
            model = router.catalog.models["gpt-4o"]
        usage = Usage(tokens_input=5000, tokens_output=700, tokens_cached_input=4000, tokens_reasoning=100)
        now, repeat = datetime.now(UTC), 200 if is_smoke else 20_000
        print(f"cost: {each_us(lambda: cost(usage, model, now), repeat):.1f} us")
        print(f"worst_case_usd: {each_us(lambda: worst_case_usd(model, 5000, 4096, now), repeat):.1f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
