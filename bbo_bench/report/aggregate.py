"""Across seeds: interquartile means with intervals that a simulation has tried (`benchmarks/coverage.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t, trim_mean, ttest_1samp

from bbo_bench.names import bounds, headline

Floats = NDArray[np.float64]
CUT = 0.25
"""Share of the seeds that the interquartile mean leaves out on each side, their number rounded down."""
ENOUGH = 5
"""Seeds, or tasks, from which on there is an interval; fewer are shown themselves."""
ROUNDING = 1e-9
"""Relative size of differences that are of computing."""
ESTIMATE = ["iqm", "low", "high", "seeds"]
SEEDS = ["lowest", "lowest_seed", "values"]
"""The lowest value with its seed, and the values of all seeds."""


class Estimate(NamedTuple):
    """Interquartile means and the ends of their intervals, one per column."""

    iqm: Floats
    low: Floats
    high: Floats


def interquartile_mean(values: Floats) -> Floats:
    """Mean over the rows of what is left of each column when its lowest and its highest quarter are cut."""
    return np.asarray(trim_mean(values, CUT, axis=0))


def standard_error(values: Floats) -> tuple[Floats, int]:
    """Standard errors of the interquartile means of `seeds x columns`, and their degrees of freedom.

    Yuen (1974): with the cut values moved to the nearest that are kept, the sum of squares over h (h − 1). Here h = n/2
    is what a cut of exactly a quarter leaves of n seeds, not what its rounding leaves: of 5 seeds one is cut on each
    side, not 1.25, so that 3 are kept (2 degrees of freedom) but h is 2.5.
    """
    n = len(values)
    cut = int(CUT * n)
    ordered = np.sort(values, axis=0)
    squares = (n - 1) * ordered.clip(ordered[cut], ordered[n - 1 - cut]).var(axis=0, ddof=1)
    h = (1 - 2 * CUT) * n
    return np.sqrt(squares / (h * (h - 1))), n - 2 * cut - 1


def estimate(*strata: Floats) -> Estimate:
    """Interquartile means with 95% intervals, from values without NaN, `seeds x columns` in each stratum.

    The interval is Tukey and McLaughlin's trimmed t, for the mean of the middle half of the population. Of several
    strata (tasks) it is the mean over strata of their interquartile means, with Welch and Satterthwaite's degrees of
    freedom: seeds are what is sampled. Ends are NaN where a stratum has fewer than `ENOUGH` seeds.
    """
    iqm = np.mean([interquartile_mean(values) for values in strata], axis=0)
    if min(map(len, strata)) < ENOUGH:
        return Estimate(iqm, np.full_like(iqm, np.nan), np.full_like(iqm, np.nan))
    errors, freedom = zip(*map(standard_error, strata), strict=True)
    variances = np.square(errors)
    total = variances.sum(axis=0)
    spread = np.where(total > 0, total, 1)  # without any spread the interval is a point, whatever its freedom
    shares = (variances / spread) ** 2 / np.asarray(freedom)[:, None]
    half = t.ppf(0.975, 1 / np.where(total > 0, shares.sum(axis=0), 1)) * np.sqrt(total) / len(strata)
    return Estimate(iqm, iqm - half, iqm + half)


class Mean(NamedTuple):
    """The mean of a vector, the ends of Student's 95% interval, and the two-sided p of a mean of 0."""

    mean: float
    low: float
    high: float
    p: float


def student(values: Floats) -> Mean:
    """Of a vector without NaN; interval and p are NaN where it has fewer than `ENOUGH` values.

    Zeros have the interval [0, 0] and p 1; other values without spread have neither: nothing tells how sure they are.
    """
    mean = float(values.mean())
    if len(values) >= ENOUGH and not values.any():
        return Mean(0.0, 0.0, 0.0, 1.0)
    if len(values) < ENOUGH or np.ptp(values) <= ROUNDING * np.abs(values).max():
        return Mean(mean, np.nan, np.nan, np.nan)
    found = ttest_1samp(values, 0)
    low, high = found.confidence_interval(0.95)
    return Mean(mean, float(low), float(high), float(found.pvalue))


def per_task(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """A row per task, optimizer, round and metric: queries, `ESTIMATE` and `SEEDS` of the seeds that have a value.

    An interval ends where the metric does: a share is never above 1. Where nothing is queried, passes are counted.
    """
    rows = []
    for (task, optimizer, round_), group in table.groupby(["task", "optimizer", "round"], sort=False):
        key = {"task": task, "optimizer": optimizer, "round": round_, "queries": spent(group).iloc[0]}
        rows += [key | row for row in _estimates(group, metrics)]
    return pd.DataFrame(rows)


def spent(rows: pd.DataFrame) -> pd.Series[int]:
    """Queries until the end of every row's round; where there are none, passes over the data set."""
    return rows["queries"].where(rows["queries"] > 0, rows["round"] + 1)


def unit(rows: pd.DataFrame) -> str:
    """What `spent` counts."""
    return "passes" if "queries" in rows and not rows["queries"].any() else "queries"


def at_the_end(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of each task's last round."""
    return table[table["round"] == table.groupby("task")["round"].transform("max")]


def over_tasks(table: pd.DataFrame, order: Sequence[str], metric: str | None = None) -> pd.DataFrame:
    """A row per optimizer that was run on all tasks, in `order`, at the end of the budgets; by default of `headline`.

    `iqm` is the mean over its `tasks` of their interquartile means, which lets no task drop out; `low` and `high`
    say how well these tasks' mean is known (seeds are what is sampled), `tasks_low` and `tasks_high` what other tasks
    like these would give with as many seeds (tasks are). Scores over other tasks would not compare.
    """
    metric = metric or headline(table.columns[table.notna().any()])
    last = at_the_end(table).dropna(subset=[metric])
    tasks = last.groupby("optimizer")["task"].nunique()
    rows = []
    for optimizer in (name for name in order if tasks.get(name) == table["task"].nunique()):
        group = last[last["optimizer"] == optimizer]
        strata = [part[[metric]].to_numpy(float) for _, part in group.groupby("task")]
        iqm, low, high = (float(value[0]) for value in estimate(*strata))
        across = student(np.concatenate([interquartile_mean(values) for values in strata]))
        rows.append([optimizer, len(strata), iqm, low, high, len(group), across.low, across.high])
    return pd.DataFrame(rows, columns=["optimizer", "tasks", *ESTIMATE, "tasks_low", "tasks_high"])


def _estimates(group: pd.DataFrame, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Metrics that every seed has go together; the others without the seeds that lack them."""
    whole = [metric for metric in metrics if group[metric].notna().all()]
    partial = [[metric] for metric in metrics if metric not in whole and group[metric].notna().any()]
    rows = []
    for part in [whole, *partial] if whole else partial:
        known = group[["seed", *part]].dropna()
        values, seeds = known[part].to_numpy(float), known["seed"].to_numpy()
        lowest = values.argmin(0)
        lower, upper = np.array([bounds(metric) for metric in part]).T
        iqm, low, high = estimate(values)
        ends = [iqm, low.clip(lower), high.clip(None, upper)]
        columns = [*ends, [len(values)] * len(part), values.min(0), seeds[lowest], map(tuple, values.T)]
        rows += [dict(zip(("metric", *ESTIMATE, *SEEDS), row, strict=True)) for row in zip(part, *columns, strict=True)]
    return rows
