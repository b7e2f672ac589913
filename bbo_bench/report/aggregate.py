"""Across seeds: the interquartile mean and its 95% stratified bootstrap interval (Agarwal et al., NeurIPS 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap, trim_mean

Floats = NDArray[np.float64]
RESAMPLES = 2000
SEED = 0
ESTIMATE = ["iqm", "low", "high", "seeds"]
ENOUGH = 5
"""Seeds from which on an interval is more than the range of their values."""


class Estimate(NamedTuple):
    """Interquartile means and the ends of their intervals, one per column."""

    iqm: Floats
    low: Floats
    high: Floats


def interquartile_mean(*strata: Floats, axis: int = 0) -> Floats:
    """Mean of what is left when the lowest and the highest quarter of all strata's values are cut, rounded down."""
    return np.asarray(trim_mean(np.concatenate(strata, axis=axis), 0.25, axis=axis))


def estimate(*strata: Floats) -> Estimate:
    """Interquartile means with 95% intervals, from values without NaN, `seeds x columns` in each stratum.

    The percentile bootstrap draws seeds anew within each stratum (a task), the same seeds for every column. An interval
    is NaN where a stratum has a single seed.
    """
    iqm = interquartile_mean(*strata)
    if min(map(len, strata)) < 2:
        return Estimate(iqm, np.full_like(iqm, np.nan), np.full_like(iqm, np.nan))
    interval = bootstrap(
        strata,
        interquartile_mean,
        axis=0,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Estimate(iqm, np.asarray(interval.low), np.asarray(interval.high))


def per_task(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """A row per task, optimizer, round and metric: queries, `iqm`, `low`, `high`, and the `seeds` that have a value."""
    rows = []
    for (task, optimizer, round_), group in table.groupby(["task", "optimizer", "round"], sort=False):
        key = {"task": task, "optimizer": optimizer, "round": round_, "queries": group["queries"].iloc[0]}
        rows += [key | row for row in _estimates(group, metrics)]
    return pd.DataFrame(rows)


def over_tasks(table: pd.DataFrame, order: Sequence[str], metric: str = "normalized") -> pd.DataFrame:
    """A row per optimizer that was run on all tasks, in `order`, at the end of the budgets: `iqm`, `low`, `high`.

    The strata are its `tasks`; scores over other tasks would not compare.
    """
    last = table[table["round"] == table.groupby("task")["round"].transform("max")]
    tasks = last.groupby("optimizer")["task"].nunique()
    rows = []
    for optimizer in (name for name in order if tasks[name] == last["task"].nunique()):
        group = last[last["optimizer"] == optimizer]
        strata = [part[[metric]].to_numpy(float) for _, part in group.groupby("task")]
        values = (float(value[0]) for value in estimate(*strata))
        rows.append([optimizer, len(strata), *values, len(group)])
    return pd.DataFrame(rows, columns=["optimizer", "tasks", *ESTIMATE])


def _estimates(group: pd.DataFrame, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Metrics that every seed has go together; the others without the seeds that lack them."""
    whole = [metric for metric in metrics if group[metric].notna().all()]
    partial = [[metric] for metric in metrics if metric not in whole and group[metric].notna().any()]
    rows = []
    for part in [whole, *partial] if whole else partial:
        values = group[part].dropna().to_numpy(float)
        columns = zip(part, *estimate(values), strict=True)
        rows += [dict(zip(("metric", *ESTIMATE), (*column, len(values)), strict=True)) for column in columns]
    return rows
