"""Whether the variants got the shares of traffic that were planned.

Where they did not, some fault decides which requests are counted (a crash in one variant, a filter, lost
records), and no difference between the variants can be believed.
"""

from __future__ import annotations

from math import exp, lgamma, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ALPHA = 0.0005
"""A p-value below it says the shares are broken: false alarms are rarer than real faults."""
CONCENTRATION = 1000.0
"""Concentration of the mixture around the plan: most sensitive to faults of 1 or 2 points."""


def sample_ratio_p(counts: Sequence[float], shares: Sequence[float]) -> float:
    """The always-valid p-value of `counts` against planned `shares`. 1 without any count.

    The inverse of the Bayes factor of a Dirichlet mixture around the plan against the plan itself,

        B(k·q + n)/B(k·q) · Π q[i]^-n[i]    (q the shares, n the counts, k the concentration)

    a martingale under the plan: the chance that the p-value ever falls below alpha is at most alpha,
    however often it is looked at. Source: Lindon, Malek, "Anytime-valid inference for
    multinomial count data", NeurIPS 2022.
    """
    prior = [CONCENTRATION * share for share in shares]
    log_factor = (
        _log_beta([weight + count for weight, count in zip(prior, counts, strict=True)])
        - _log_beta(prior)
        - sum(count * log(share) for count, share in zip(counts, shares, strict=True))
    )
    return min(1.0, exp(-log_factor)) if log_factor > -700 else 1.0


def _log_beta(weights: Sequence[float]) -> float:
    return sum(map(lgamma, weights)) - lgamma(sum(weights))
