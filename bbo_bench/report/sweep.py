"""Metrics over the values of a setting, where an optimizer's runs differ in that one alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bbo_bench.names import DATA, PRIOR, own
from bbo_bench.report.families import STRENGTHS
from bbo_bench.report.figures import DATA_LINE, curve, key
from bbo_bench.report.labels import flat
from bbo_bench.report.layout import panels
from bbo_bench.report.runs import Run
from bbo_bench.report.style import style

SHOWN = ("reward_mean", "validity", "pairwise")
"""Metrics that are drawn beside the task's own."""
Lines = Mapping[str, Mapping[str, float]]
"""By the optimizer's name: its labels in the report, with their values of the setting, ascending."""


def sweeps(runs: Iterable[Run]) -> dict[str, dict[str, dict[str, float]]]:
    """Lines by setting, for every optimizer whose runs differ in one number alone, but for KL weights and budgets."""
    variants: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for run in runs:
        variants[run.config["optimizer"]["name"]][run.optimizer] = flat(run.settings)
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for name, labels in variants.items():
        table = pd.DataFrame.from_dict(labels, orient="index")
        differing = table.columns[table.nunique(dropna=False) > 1]
        if len(differing) == 1 and differing[0] not in STRENGTHS:
            values = pd.to_numeric(table[differing[0]], errors="coerce").sort_values()
            if values.notna().all():
                found[differing[0]][name] = {str(label): float(value) for label, value in values.items()}
    return found


def sweep(results: pd.DataFrame, setting: str, lines: Lines) -> Figure:
    """One task's metrics at the end of the budget over the values of a setting, which are evenly spaced."""
    rows = results.set_index(["optimizer", "metric"])
    values = sorted({value for each in lines.values() for value in each.values()})

    def draw(panel: Axes, metric: str, members: Collection[str]) -> None:
        for name in members:
            x = [values.index(value) for value in lines[name].values()]
            curve(panel, x, rows.reindex([(label, metric) for label in lines[name]]), style(name), 0.15)
        if (DATA, metric) in rows.index:
            panel.axhline(rows["iqm"][DATA, metric], **DATA_LINE, zorder=1)
        if (PRIOR, metric) in rows.index:
            panel.axhline(rows["iqm"][PRIOR, metric], color=style(PRIOR).color, linestyle=":", zorder=1)
        panel.set(xlabel=setting, xticks=range(len(values)), xticklabels=[f"{value:g}" for value in values])

    shown = [*SHOWN, *own(results["metric"].unique())]
    return panels(
        draw, shown, list(lines), lambda name: key(name, style(name).line), [Line2D([], [], **DATA_LINE, label=DATA)]
    )
