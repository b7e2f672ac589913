"""Optimizers against one of them, seed by seed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bbo_bench.names import HITS, METRICS
from bbo_bench.report.aggregate import ROUNDING, Floats, at_the_end, student
from bbo_bench.report.hierarchy import over

LEVEL = 0.05
ALL = "all tasks"
"""The task of the rows over tasks."""
LOWER = ("frechet",)
"""Metrics that are better when they are lower."""
SIZES = ("proxy_gap", "elbo_z")
"""Those that are better when they are nearer to 0; their sizes are compared."""
UNITS = (
    *("best", "top10", "auc_top10", "reward_mean", "reward_q90", "reward_max", "proxy_gap", "pairwise"),
    *("validated_mean", "validated_reward"),
)
"""Metrics in a task's own units, like all of a task's own; they have no mean over tasks."""
COLUMNS = [
    *("task", "optimizer", "against", "metric", "value", "against_value", "difference", "low", "high", "p", "p_holm"),
    *("improvement", "improvement_low", "improvement_high", "seeds", "tasks", "verdict", "differences"),
]


def compare(table: pd.DataFrame, against: str, metric: str) -> pd.DataFrame:
    """A row per task and optimizer at the end of the budget, and per optimizer over all tasks where it ran on all.

    `difference` is the mean over the seeds that both have of the optimizer's value minus that of `against`, with
    Student's 95% interval and p of the paired t-test: differences between two optimizers that are alike are symmetric,
    whatever their law, for which the test is made, and a failed seed counts in full. (Of 5 signs the exact test that
    flips them cannot say less than 1/16; Yuen's test of trimmed means has 2 degrees of freedom and a third of the
    power: `benchmarks/coverage.py`.) Over tasks, the tasks' differences are what is sampled. `p_holm` is corrected
    over all rows. `improvement` is the probability that a run of the optimizer beats one of `against`, ties counting
    half (Agarwal et al. 2021), over tasks with the interval of `hierarchy.over`. With fewer than `ENOUGH` seeds, or
    tasks, there is neither interval nor p.

    Args:
        table: A row per run and round.
        against: The optimizer that the others are compared with.
        metric: A column of `table`; higher is better, but for those in `LOWER` and `SIZES`. Of tasks' own metrics
            nobody knows, so the verdict is "higher" or "lower".
    """
    wide = at_the_end(table).pivot(index=["task", "optimizer"], columns="seed", values=metric)
    wide = wide.abs() if metric in SIZES else wide
    sign = -1.0 if metric in (*LOWER, *SIZES) else 1.0
    pairs = {key: pair for key, pair in _pairs(wide, against)}
    rows = [{"task": task, "optimizer": name} | _row(pair, sign) for (task, name), pair in pairs.items()]
    tasks = wide.xs(against, level="optimizer").index
    if len(tasks) > 1 and averaged(metric):
        for name in dict.fromkeys(name for _, name in pairs):
            both = [pairs[task, name] for task in tasks if (task, name) in pairs]
            if len(both) == len(tasks):
                rows.append({"task": ALL, "optimizer": name} | _over(both, sign))
    found = pd.DataFrame(rows, columns=COLUMNS).assign(against=against, metric=metric)
    return found.assign(p_holm=holm(found["p"].to_numpy(float))).pipe(_judged, sign, words(metric))


def averaged(metric: str) -> bool:
    """Whether means over tasks make sense."""
    return metric in (*METRICS, *HITS) and metric not in UNITS


def words(metric: str) -> tuple[str, str]:
    """What a metric is called that is above another's: better, where one knows which is."""
    return ("better", "worse") if metric in (*METRICS, *HITS) else ("higher", "lower")


def holm(p: Floats) -> Floats:
    """Holm's correction of the p that are not NaN."""
    found = np.flatnonzero(~np.isnan(p))
    order = found[np.argsort(p[found], kind="stable")]
    corrected = np.full_like(p, np.nan)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return corrected


def improvement(x: Floats, y: Floats) -> Floats:
    """Probability that one of x, `... x n`, is above one of y, `... x m`; ties count half, NaN not at all."""
    greater = np.sign(x[..., :, None] - y[..., None, :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of nothing but NaN, which is NaN
        return np.asarray((np.nanmean(greater, (-2, -1)) + 1) / 2)


def _pairs(wide: pd.DataFrame, against: str) -> Iterator[tuple[tuple[str, str], Floats]]:
    """By task and optimizer: `2 x seeds`, its values and those of `against`, for the seeds that both have."""
    rows = {
        (str(task), str(name)): values for (task, name), values in zip(wide.index, wide.to_numpy(float), strict=True)
    }
    for (task, name), values in rows.items():
        if name != against and (task, against) in rows:
            both = np.array([values, rows[task, against]])
            both = both[:, ~np.isnan(both).any(0)]
            if both.shape[1]:
                yield (task, name), both


def _row(pair: Floats, sign: float) -> dict[str, Any]:
    differences = pair[0] - pair[1]
    differences[np.abs(differences) <= ROUNDING * np.abs(pair).max(0)] = 0
    mean = student(differences)
    return {
        "value": pair[0].mean(),
        "against_value": pair[1].mean(),
        "difference": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "p": mean.p,
        "improvement": float(improvement(*(sign * pair))),
        "seeds": pair.shape[1],
        "tasks": 1,
        "differences": tuple(differences),
    }


def _over(pairs: Sequence[Floats], sign: float) -> dict[str, Any]:
    """The same where each task is one pair of means."""
    row = _row(np.array([pair.mean(1) for pair in pairs]).T, sign)
    probability, low, high = over(pairs, lambda pair: improvement(sign * pair[..., 0, :], sign * pair[..., 1, :]))
    row |= {"improvement": float(probability), "improvement_low": float(low), "improvement_high": float(high)}
    return row | {"seeds": sum(pair.shape[1] for pair in pairs), "tasks": len(pairs)}


def _judged(found: pd.DataFrame, sign: float, sides: tuple[str, str]) -> pd.DataFrame:
    """With the verdict in words: one of the `sides`, not told apart, or not tested."""
    gain = sign * found["difference"].to_numpy(float)
    told = found["p_holm"].to_numpy(float) < LEVEL
    tested = ~np.isnan(found["p_holm"].to_numpy(float))
    cases = [~tested, told & (gain > 0), told & (gain < 0)]
    verdict = np.select(cases, ["not tested", *sides], "not told apart")
    return found.assign(verdict=verdict)
