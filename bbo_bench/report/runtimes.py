"""Runtimes: the queries until a target is reached, for readers of COCO."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bbo_bench.names import PRIOR
from bbo_bench.report.families import Families
from bbo_bench.report.figures import key
from bbo_bench.report.layout import panels
from bbo_bench.report.runs import Run
from bbo_bench.report.style import BEHIND, style

CURVES = {"best": True, "top10": True, "distinct_top": False}
"""Curves that never fall below a target again, or hardly; and whether they are in a task's own units."""
TARGETS = tuple(round(0.1 * i, 1) for i in range(1, 10))
"""Shares of the way from the prior's mean score to the best known."""
COLUMNS = ["task", "optimizer", "seed", "curve", "target", "queries", "reached"]


def runtimes(runs: Iterable[Run], targets: Sequence[float] = TARGETS) -> pd.DataFrame:
    """A row per run, curve and target: queries up to the round that reached it, or all that were spent without.

    Scores count as shares of the way from the task's `y_prior` to its `best_known`, as `distinct_top` does; curves
    in the units of a task that declares no such scores are left out.
    """
    rows: list[list[Any]] = []
    for run in runs:
        scale = run.config["task"].get("y_prior"), run.config["task"].get("best_known")
        for curve, units in CURVES.items():
            if curve not in run.metrics or run.metrics[curve].isna().all() or (units and None in scale):
                continue
            values = run.metrics[curve].to_numpy(float)
            if units:
                values = (values - scale[0]) / (scale[1] - scale[0])
            queries = run.metrics["queries"].to_numpy()
            for target in targets:
                hits = np.flatnonzero(values >= target)
                spent = queries[hits[0]] if len(hits) else queries[-1]
                rows.append([run.task, run.optimizer, run.seed, curve, target, int(spent), bool(len(hits))])
    return pd.DataFrame(rows, columns=COLUMNS)


def expected(found: pd.DataFrame) -> pd.DataFrame:
    """A row per task, optimizer, curve and target: the expected runtime, runs and those that reached it.

    It is the sum of all queries spent over the number of successes, infinite without any (Hansen et al., COCO): what
    restarts until a success would take, as rounds that come in batches tell it.
    """
    keys = ["task", "optimizer", "curve", "target"]
    sums = found.groupby(keys, sort=False).agg(
        spent=("queries", "sum"), reached=("reached", "sum"), runs=("seed", "size")
    )
    with np.errstate(divide="ignore"):
        ert = sums["spent"].to_numpy(float) / sums["reached"].to_numpy(float)
    return sums.assign(ert=ert).drop(columns="spent").reset_index()


def distribution(found: pd.DataFrame, families: Families) -> Figure:
    """Share of runs and targets that have been reached, over queries, a panel per curve; one optimizer per family.

    Only optimizers that were run on all tasks: who was spared the hard ones would look quick.

    Tasks weigh alike. Runs that end without reaching a target are censored there: they never count as reached.
    """
    ran = found.groupby("optimizer")["task"].nunique()
    names = [name for name in families if ran.get(name) == found["task"].nunique()]
    found = found[found["optimizer"].isin(names)]
    steps = np.unique(found["queries"])
    curves = {f"targets reached, {curve.replace('_', ' ')}": curve for curve in CURVES if curve in set(found["curve"])}
    lines: dict[tuple[str, str], np.ndarray[Any, Any]] = {}
    for (name, curve), rows in found.groupby(["optimizer", "curve"]):
        times = rows["queries"].where(rows["reached"], np.inf)
        tasks = [np.less_equal.outer(each.to_numpy(float), steps).mean(0) for _, each in times.groupby(rows["task"])]
        lines[str(name), str(curve)] = np.mean(tasks, axis=0)

    def draw(panel: Axes, title: str, members: Collection[str]) -> None:
        curve = curves[title]
        for name in names:
            if (name, curve) in lines:
                look = style(name) if name in members or name == PRIOR else BEHIND
                front = look is not BEHIND
                drawn: dict[str, Any] = {"color": look.color, "linestyle": look.line, "zorder": 1 + front}
                shares = [*lines[name, curve], lines[name, curve][-1]]
                panel.step([*steps, 1.3 * steps[-1]], shares, where="post", linewidth=1.6 if front else 0.8, **drawn)
        panel.set_xscale("log", base=2)
        panel.set_xticks(steps, [str(step) for step in steps])
        panel.set(xlabel="queries", ylim=(0, 1.02))
        panel.minorticks_off()

    def entry(name: str) -> Line2D:
        line = key(name, style(name).line)
        line.set_marker("")
        return line

    return panels(draw, list(curves), names, entry, [])
