"""Whether reconciliation names the faults of a provider's bill, and how many of the dollars it explains.

    python tests/benchmarks/reconciliation.py [--a-day 60] [--seeds 3] [--smoke]

A made month of requests is recorded. The provider's bill of it gets faults: 5% of the requests missing, one
wrong price, cached tokens counted twice, a tier, a redirected model and a day that is billed on the next
one; none, each alone, and all together. Bills come as FOCUS, with and without request ids, and in the shapes
of OpenAI, Anthropic and OpenRouter. The goals of each: every planted cause that it can show and no other, and
99.99% of the dollars explained. Usage without amounts cannot show a price. A file without tiers or counts of
requests may give two names to a difference that it cannot tell apart: each is then named, and the share of
such dollars is printed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.reconciliation.reconcile import reconcile
from router.config import Settings
from tests import bills
from tests.bills import CAUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.reconciliation.exports.reading import Shape
    from router.catalog.catalog import Catalog
    from tests.bills import Charge, Fault


class Form(NamedTuple):
    """One shape of a bill."""

    shape: Shape
    suffix: str
    render: Callable[[list[Charge]], str]
    hidden: frozenset[str] = frozenset()
    """Causes that it cannot show."""


FORMS = {
    "FOCUS, by request id": Form("focus", ".csv", lambda bill: bills.focus(bill, with_ids=True)),
    "FOCUS, by group": Form("focus", ".csv", lambda bill: bills.focus(bill, with_ids=False)),
    "OpenAI costs (CSV)": Form("openai", ".csv", bills.openai_costs),
    "OpenAI usage, no amounts": Form("openai", ".json", bills.openai_usage, frozenset({"price"})),
    "Anthropic costs, no tokens": Form("anthropic", ".json", bills.anthropic_costs),
    "Anthropic usage, no amounts": Form("anthropic", ".json", bills.anthropic_usage, frozenset({"price"})),
    "OpenRouter activity, no tiers": Form("openrouter", ".json", bills.openrouter_activity),
    "OpenRouter generations, no tiers": Form("openrouter", ".csv", bills.openrouter_generations),
}
CASES: tuple[tuple[str, tuple[Fault, ...]], ...] = (
    ("clean", ()),
    *((fault, (fault,)) for fault in CAUSES),
    ("all together", tuple(CAUSES)),
)
EXPLAINED = 0.9999
JOINT = " or "


class Outcome(NamedTuple):
    """The result of one bill."""

    planted: set[str]
    found: set[str]
    explained: float | None
    error: Decimal
    """The largest difference of a cause's dollars to the planted ones, as a share of all planted dollars."""
    joint: float
    """The share of the dollars that have two names."""
    seconds: float


def compare(settings: Settings, catalog: Catalog, charges: list[Charge], form: Form, faults: Sequence[Fault],
            seed: int) -> Outcome:  # fmt: skip
    """Reconcile one bill with these faults."""
    bill, truth = bills.faulty(charges, faults, catalog, random.Random(seed))
    path = settings.home / f"bill{form.suffix}"
    path.write_text(form.render(bill))
    started = time.perf_counter()
    found = reconcile(settings, path, form.shape, catalog_providers=["openai"])
    seconds = time.perf_counter() - started
    causes = {str(cause): usd for cause, usd in found.by_cause().items()}
    whole = sum(truth.values(), Decimal(0)) or Decimal(1)
    off = [abs(causes.get(name, Decimal(0)) - truth.get(name, Decimal(0))) for name in {*causes, *truth}]
    joint = sum((usd for name, usd in causes.items() if JOINT in name), Decimal(0))
    return Outcome(
        set(truth) - form.hidden,
        set(causes),
        found.explained_share,
        max(off, default=Decimal(0)) / whole,
        float(joint / (found.differing_usd or 1)),
        seconds,
    )


def main() -> int:
    """Print a line for each shape and case; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--a-day", type=int, default=60, help="requests of a day")
    parser.add_argument("--seeds", type=int, default=3, help="made months")
    parser.add_argument("--smoke", action="store_true", help="one short month")
    options = parser.parse_args()
    a_day, seeds = (20, 1) if options.smoke else (options.a_day, options.seeds)
    missed = 0
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings.load({}, home=Path(folder))
            catalog = bills.write_prices(settings.home)
            records, charges = bills.month(catalog, random.Random(seed), a_day=a_day)
            bills.publish(settings, records)
            print(f"seed {seed}: {len(records)} requests in {bills.DAYS} days")
            for name, form in FORMS.items():
                for case, faults in CASES:
                    missed += _print(name, case, compare(settings, catalog, charges, form, faults, seed))
    print("every goal is met" if not missed else f"{missed} goals are missed")
    return 1 if missed else 0


def _print(name: str, case: str, outcome: Outcome) -> bool:
    """Print one line; whether it misses a goal."""
    names = {part for cause in outcome.found for part in cause.split(JOINT)}
    extra = {cause for cause in outcome.found if not outcome.planted & set(cause.split(JOINT))}
    lacking = outcome.planted - names
    is_explained = outcome.explained is None if not outcome.planted else (outcome.explained or 0) >= EXPLAINED
    share = "no difference" if outcome.explained is None else f"{100 * outcome.explained:.4f}% explained"
    notes = [f"{100 * outcome.joint:.1f}% with two names"] if outcome.joint else []
    notes += [f"also {', '.join(sorted(extra))}"] if extra else []
    notes += [f"not {', '.join(sorted(lacking))}"] if lacking else []
    is_missed = bool(extra or lacking) or not is_explained
    print(
        f"  {name:33} {case:13} {'differs' if extra or lacking else 'named':8} {share:20}"
        f" dollars off by {100 * outcome.error:.3f}% {outcome.seconds:6.2f} s"
        f" {'; '.join(notes)}{'  MISSED' if is_missed else ''}"
    )
    return is_missed


if __name__ == "__main__":
    sys.exit(main())
