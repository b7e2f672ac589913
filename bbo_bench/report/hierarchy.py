"""A bootstrap over tasks as well as seeds: what other tasks like these, and other seeds, would have given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bbo_bench.report.aggregate import ENOUGH, Floats

RESAMPLES = 2000
SEED = 0
Statistic = Callable[[Floats], Floats]
"""From values of `... x optimizers x seeds` on one task to a statistic of `... x anything`."""


def over(tasks: Sequence[Floats], statistic: Statistic) -> tuple[Floats, Floats, Floats]:
    """Mean over tasks of a statistic, and the ends of its 95% interval; NaN where there are fewer than `ENOUGH` tasks.

    Each resample draws tasks, and for each of them its seeds, the same for all optimizers, as seeds are common to them.

    Args:
        tasks: Values of `optimizers x seeds` on each task.
        statistic: Of one task.
    """
    mean = np.mean([statistic(values) for values in tasks], axis=0)
    if len(tasks) < ENOUGH:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    rng = np.random.default_rng(SEED)
    total = np.zeros((RESAMPLES, *mean.shape))
    counts = rng.multinomial(len(tasks), [1 / len(tasks)] * len(tasks), size=RESAMPLES)
    for values, count in zip(tasks, counts.T, strict=True):
        for left in range(count.max()):  # a task that is drawn twice has two draws of its seeds
            chosen = np.flatnonzero(count > left)
            seeds = rng.integers(values.shape[1], size=(len(chosen), values.shape[1]))
            total[chosen] += statistic(np.moveaxis(values[:, seeds], 0, 1))
    low, high = np.nanpercentile(total / len(tasks), [2.5, 97.5], axis=0)
    return mean, low, high
