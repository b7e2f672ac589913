"""How high the scores are, and how few queries it took. Scores are true, noise-free and finite; of none, NaN."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def best(y: Tensor) -> float:
    """Highest of `n` scores."""
    return float(y.max()) if len(y) else math.nan


def deviation(y: Tensor) -> float:
    """Standard deviation of `n` scores; NaN of fewer than two."""
    return float(y.double().std()) if len(y) > 1 else math.nan


def top(x: Tensor, y: Tensor, k: int = 10) -> Tensor:
    """Mean score of the `k` best distinct designs after each query, an `n`-dim tensor.

    While fewer than `k` distinct designs are known, the mean of those.

    Args:
        x: `n x shape` designs, in the order of their queries.
        y: Their `n` scores.
        k: How many designs are shipped.

    Raises:
        ValueError: If a score is NaN or infinite, or there is not one per design.
    """
    if y.shape != x.shape[:1] or not y.isfinite().all():
        raise ValueError(f"expected {len(x)} finite scores, got {int(y.isfinite().sum())} in {tuple(y.shape)}")
    distinct = first_occurrences(x)
    stream = torch.where(distinct, y.double(), -torch.inf)
    total = torch.zeros_like(stream)
    for _ in range(k):  # the running maximum keeps the best so far; what it displaces competes for the next rank
        largest = stream.cummax(0).values
        before = torch.cat([largest.new_tensor([-torch.inf]), largest[:-1]])
        stream = torch.minimum(stream, before)
        total += torch.where(largest.isfinite(), largest, 0.0)
    return total / distinct.cumsum(0).clamp(max=k)


def auc(curve: Tensor) -> float:
    """Area under a curve of one value per query, by the trapezoid rule, divided by the number of queries.

    After Gao et al., "Sample efficiency matters" (PMO, NeurIPS 2022). There, scores lie in [0, 1] and the curve starts
    at 0 before the first query; here they have no natural zero, so it starts at the first query's value, and a constant
    added to all scores adds to the area. In the middle of a run, the queries so far stand for the budget.
    """
    return float(torch.trapezoid(torch.cat([curve[:1], curve]))) / len(curve) if len(curve) else math.nan


def normalized(y: Number, y_prior: float, best_known: float) -> Number:
    """`y` on the scale where samples of the prior score 0 on average and the best known design 1.

    Raises:
        ValueError: If the best known design is no better than the prior: there is no such scale then.
    """
    if not best_known > y_prior:
        raise ValueError(f"best_known must be above y_prior, got {best_known} and {y_prior}")
    return (y - y_prior) / (best_known - y_prior)


def proxy_gap(predicted: Tensor, y: Tensor) -> float:
    """Mean of `n` predicted scores over the mean of the `n` true ones: positive where the proxy is over-optimized."""
    return float(predicted.double().mean() - y.double().mean())


def first_occurrences(x: Tensor) -> Tensor:
    """Which of `n x shape` designs appear for the first time, an `n`-dim bool tensor."""
    _, group = torch.unique(x.flatten(1), dim=0, return_inverse=True)
    order = torch.arange(len(x))
    first = torch.full((len(x),), len(x)).scatter_reduce(0, group, order, "amin")
    return first[group] == order
