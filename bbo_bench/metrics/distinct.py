"""How many valid designs are really different and really good: what a laboratory gets, and what no copies raise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bbo_bench.metrics.naturalness import distances
from bbo_bench.metrics.reward import first_occurrences, normalized

SHARE = 8
"""Designs recommended for one that is shipped."""
LEVELS = tuple(i / 10 for i in range(1, 11))
"""Qualities above which distinct designs are counted."""
ROUNDING = 1e-9
"""Relative error of a distance: designs just `spacing` apart, as discrete ones often are, count as distinct."""


def check_size(m: int) -> None:
    """Raise `ValueError` unless of `m` recommended designs a whole number is shipped."""
    if m % SHARE:
        raise ValueError(
            f"budget.evaluation must be a multiple of {SHARE}, as one design in {SHARE} is shipped, or 0 to switch it "
            f"off, got {m}"
        )


def slots(m: int) -> int:
    """How many of `m` recommended designs are shipped."""
    return max(1, m // SHARE)


def spacing(reference: Tensor, k: int) -> float:
    """Median distance from a real design to the nearest of `k` others, drawn from `n x f` features of real designs.

    Exact over all draws: the r-th neighbour of a design is the nearest of the drawn ones with the probability that it
    is among them and the r - 1 nearer ones are not, C(n - 1 - r, k - 1) / C(n - 1, k). With fewer than `k` others, the
    nearest of them all.

    Raises:
        ValueError: If there are fewer than two points, or the median is 0.
    """
    others = len(reference) - 1
    if others < 1:
        raise ValueError(f"a spacing needs at least 2 reference points, got {len(reference)}")
    k = min(k, others)
    ranked = distances(reference, reference).fill_diagonal_(torch.inf).sort(1).values[:, : others - k + 1].flatten()
    left = others - torch.arange(1, others - k + 2, dtype=torch.double)
    chance = (_log_binomial(left, k - 1) - _log_binomial(torch.tensor(float(others), dtype=torch.double), k)).exp()
    order = ranked.argsort(stable=True)
    share = chance.repeat(len(reference))[order].cumsum(0) / len(reference)
    if not (median := float(ranked[order][int((share < 0.5).sum())])):
        raise ValueError("reference points must differ in their features, got a median nearest distance of 0")
    return median


def distinct(designs: Tensor, features: Tensor, y: Tensor, spacing: float) -> Tensor:
    """Scores of those of `n` valid designs that are mutually distinct, a tensor that descends; see `apart`."""
    return y[apart(designs, features, y, spacing)]


def apart(designs: Tensor, features: Tensor, y: Tensor, spacing: float) -> Tensor:
    """Which of `n` designs are mutually distinct: their numbers, the best first.

    Going from the best to the worst, a design is kept if it is another one than every kept one, and at least `spacing`
    from each of them in feature space. Of equal scores the design with the fewest near ones comes first, so that one
    in the middle of many does not cost them all, and then the one whose features are first in lexical order: the
    result is one of the set, however it is listed.

    Args:
        designs: `n x k` canonical forms, equal where two designs are one object.
        features: `n x f`.
        y: Their `n` scores.
        spacing: Distance from which on two designs are distinct.
    """
    if not len(y):
        return torch.empty(0, dtype=torch.long)
    best = _sorted(-y, features)
    once = best[first_occurrences(designs[best])]
    features, y = features[once], y[once]
    near = distances(features, features) < spacing * (1 - ROUNDING)
    order = _sorted(-y, near.sum(1), features)
    near = near[order][:, order]
    free = torch.ones(len(order), dtype=torch.bool)
    kept: list[int] = []
    for i in range(len(order)):
        if free[i]:
            kept.append(i)
            free &= ~near[i]
    return once[order[kept]]


def _sorted(*keys: Tensor) -> Tensor:
    """Order of `n` rows by the first of their keys, then by the next; each an `n`-dim tensor or `n x k`."""
    columns = torch.cat([key.double().reshape(len(key), -1) for key in keys], 1)
    return torch.from_numpy(np.lexsort(columns.T.flip(0).numpy()))  # its last key counts first


def quality(y: Tensor, y_prior: float, best_known: float) -> Tensor:
    """`n` scores on the scale from the prior's mean, 0, to the best known score, 1; what is beyond is clipped."""
    return normalized(y.double(), y_prior, best_known).clamp(0, 1)


def distinct_top(q: Tensor, k: int) -> float:
    """Mean over `k` slots of the descending qualities `q` of distinct designs; a slot that stays empty counts 0."""
    return float(q[:k].sum()) / k


def hits(q: Tensor) -> dict[float, int]:
    """How many of the qualities `q` of distinct designs reach each of the `LEVELS`."""
    return {level: int((q >= level).sum()) for level in LEVELS}


def area(queries: Sequence[int], values: Sequence[float]) -> float:
    """Area under a curve known after each of `r` rounds, by the trapezoid rule, divided by the number of queries.

    Like `reward.auc`, it starts at the first value. Without any query it is NaN.

    Args:
        queries: Of every round.
        values: The curve's `r` values.
    """
    widths = torch.tensor(queries, dtype=torch.double)
    curve = torch.tensor([values[0], *values], dtype=torch.double)
    return float(((curve[1:] + curve[:-1]) / 2 * widths).sum() / widths.sum())


def _log_binomial(n: Tensor, k: int) -> Tensor:
    return torch.lgamma(n + 1) - torch.lgamma(torch.tensor(k + 1.0, dtype=torch.double)) - torch.lgamma(n - k + 1)
