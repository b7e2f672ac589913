"""Tables of results and costs, in tidy form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from bbo_bench.names import DATA, HITS, METRICS, PRIOR, own, reference
from bbo_bench.report.aggregate import ESTIMATE, SEEDS, at_the_end
from bbo_bench.report.runs import PHASES, Run

PRIOR_LEVEL = {"normalized": 0.0}
"""What metrics are for the prior, by definition."""


def results(estimates: pd.DataFrame, table: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Every metric at the end of the budget, in tidy form: task, optimizer, metric, `ESTIMATE`, `SEEDS`, below_prior.

    The task's reference designs are the optimizer `data`. `below_prior` is the share of seeds whose value is below the
    prior's: below the median of `prior_sampling`, or 0 of `normalized`; NaN where that has not been run.
    """
    parts = [_below_prior(at_the_end(estimates)[["task", "optimizer", "metric", *ESTIMATE, *SEEDS]])]
    metrics = [*METRICS, *HITS, *own(table.columns)]
    for task, group in table.groupby("task"):
        known = [metric for metric in metrics if reference(metric) in group and group[reference(metric)].notna().any()]
        means = [group[reference(metric)].mean() for metric in known]
        parts.append(pd.DataFrame({"task": task, "optimizer": DATA, "metric": known, "iqm": means}))
    whole = pd.concat(parts)
    ranks = {"optimizer": [*order, DATA], "metric": metrics}
    keys = {key: pd.Categorical(whole[key], categories=values, ordered=True) for key, values in ranks.items()}
    return whole.assign(**keys).sort_values(["task", "optimizer", "metric"], ignore_index=True)


def _below_prior(last: pd.DataFrame) -> pd.DataFrame:
    prior = last[last["optimizer"] == PRIOR]
    levels = dict(zip(zip(prior["task"], prior["metric"], strict=True), prior["values"].map(np.median), strict=True))
    keys = zip(last["task"], last["metric"], last["values"], strict=True)
    shares = [
        _share_below(values, levels.get((task, metric), PRIOR_LEVEL.get(metric))) for task, metric, values in keys
    ]
    return last.assign(below_prior=shares)


def _share_below(values: Sequence[float], level: float | None) -> float:
    return np.nan if level is None else float(np.mean(np.array(values) < level))


def cost(runs: Iterable[Run], order: Sequence[str]) -> pd.DataFrame:
    """Mean seconds of a run by phase, the harness's share of them in percent, and the largest peak memory in MB.

    The harness is what is left of the total without ask, oracle, tell and evaluation: start-up and commits, of which
    the last is not measured.
    """
    rows = []
    for run in runs:
        seconds = pd.DataFrame(run.provenance["seconds"]).sum()
        harness = seconds["total"] - seconds[PHASES].sum()
        row = {"task": run.task, "optimizer": run.optimizer, **seconds[[*PHASES, "total"]]}
        rows.append(row | {"harness_percent": 100 * harness / seconds["total"], "peak_mb": run.provenance["peak_mb"]})
    how = dict.fromkeys([*PHASES, "total", "harness_percent"], "mean") | {"peak_mb": "max"}
    whole = pd.DataFrame(rows)
    whole["optimizer"] = pd.Categorical(whole["optimizer"], categories=list(order), ordered=True)
    return whole.groupby(["task", "optimizer"], observed=True).agg(how).reset_index()
