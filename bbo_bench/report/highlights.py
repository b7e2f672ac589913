"""Figures to be grasped at once: the best optimizers in colour, named where they are drawn, and all others in grey."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from bbo_bench.names import DATA, HITS, PRIOR, reference, short
from bbo_bench.report.families import Families, distinct
from bbo_bench.report.figures import (
    CURVES,
    DATA_LINE,
    TRADE_OFFS,
    axes_of_curves,
    background,
    curve,
    data_mark,
    front,
    scale,
    symmetric_log,
    wide,
)
from bbo_bench.report.layout import MANY, PANEL, legend
from bbo_bench.report.style import BEHIND, OTHERS, axis_label, grouped, style

TOP = 4
"""How many of the best are named, whatever their group."""
GAP = 0.13
"""Height of a name, in inches."""


class End(NamedTuple):
    """Where a name's line or mark is, in data coordinates."""

    name: str
    x: float
    y: float


Draw = Callable[[Axes, str], list[End]]


def chosen(optimizers: Sequence[str], ranking: Sequence[str]) -> dict[str, str]:
    """The optimizers; where they are many, the best of each group of methods, with the group's title."""
    if len(optimizers) <= MANY:
        return dict.fromkeys(optimizers, "")
    places = {name: place for place, name in enumerate([*ranking, *optimizers][::-1])}
    return {max(members, key=places.__getitem__): title for title, members in grouped(optimizers).items()}


def highlights(optimizers: Sequence[str], ranking: Sequence[str]) -> list[str]:
    """The optimizers to name: all where they are few, else the prior, the best of all and the best of each group."""
    best = {*ranking[:TOP], *(name for name, title in chosen(optimizers, ranking).items() if title != OTHERS), PRIOR}
    return [name for name in optimizers if len(optimizers) <= MANY or name in best]


def curves(
    estimates: pd.DataFrame,
    table: pd.DataFrame,
    families: Families,
    named: Sequence[str],
    metrics: Sequence[str] = CURVES,
) -> Figure:
    """A panel per metric over one task's queries: interquartile means and intervals."""
    shown = [metric for metric in metrics if metric in set(estimates["metric"])]
    lines: Mapping[tuple[str, str], pd.DataFrame] = dict(
        iter(estimates.groupby(["optimizer", "metric"], observed=True))  # type: ignore[arg-type]
    )

    def draw(panel: Axes, metric: str) -> list[End]:
        found = {name: lines[name, metric] for name in distinct(families) if (name, metric) in lines}
        rest = [found[name][["queries", "iqm"]].to_numpy(float) for name in found if name not in named]
        background(panel, rest)
        ends = []
        for name in (name for name in named if name in found):
            curve(panel, found[name]["queries"].tolist(), found[name], style(name), 0.6 / max(6, len(named)))
            ends.append(End(name, *found[name][["queries", "iqm"]].to_numpy(float)[-1]))
        axes_of_curves(panel, metric, estimates, table)
        seeds = [value for name in named if name in found for values in found[name]["values"] for value in values]
        level = table[reference(metric)].mean() if reference(metric) in table else np.nan
        _bound(panel.set_ylim, [*seeds, level, *(value for line in rest for value in line[:, 1])], metric)
        return ends

    level = [Line2D([], [], **DATA_LINE, label="data; no gap")] if metrics is CURVES else []
    return _grid(draw, shown, len(named) < len(distinct(families)), level)


def trade_off(results: pd.DataFrame, families: Families, named: Sequence[str]) -> Figure:
    """One task's mean score against naturalness and diversity at the end of the budget.

    Where all optimizers are named, lines join the KL weights of one, with their values.
    """
    means = wide(results)
    few = len(named) == len(distinct(families))

    def draw(panel: Axes, metric: str) -> list[End]:
        rest = [name for name in distinct(families) if name not in named]
        background(panel, [*means["iqm"].reindex(rest)[["reward_mean", metric]].to_numpy(float)[:, None]], marker="o")
        ends = []
        for base, family in families.items():
            members = family if few else {name: weight for name, weight in family.items() if name in named}
            if not members:
                continue
            front(panel, means.reindex(list(members)), metric, style(base), list(members.values()))
            last = base if base in members else list(members)[-1]
            ends.append(End(base, *means["iqm"].reindex([last])[["reward_mean", metric]].to_numpy(float)[0]))
        data_mark(panel, means, metric)
        scale(panel, metric)
        panel.set_xlabel(axis_label("reward_mean"))
        others = [name for name in means.index if name not in named]
        for limit, key in ((panel.set_xlim, "reward_mean"), (panel.set_ylim, metric)):
            seeds = [value for values in means["values"][key].reindex(named).dropna() for value in values]
            _bound(limit, [*seeds, *means["iqm"][key].reindex(others)], key)
        return ends

    shown = [metric for metric in TRADE_OFFS if metric in means["iqm"]]
    mark = Line2D([], [], color="#444444", marker="*", markersize=12, markerfacecolor="none", linestyle="", label=DATA)
    return _grid(draw, shown, not few, [mark])


def hits(results: pd.DataFrame, families: Families, named: Sequence[str]) -> Figure | None:
    """How many distinct valid designs of one task score at least q, over q; None where no run has counted them."""
    found = results[results["metric"].isin(list(HITS))].pivot(index="optimizer", columns="metric", values="iqm")
    if found.empty:
        return None
    found = found.reindex(columns=list(HITS)).astype(float)
    q = np.array(list(HITS.values()))

    def draw(panel: Axes, _: str) -> list[End]:
        names = [name for name in distinct(families) if name in found.index]
        background(panel, [np.stack([q, found.loc[name]], 1) for name in names if name not in named])
        ends = []
        for name in (name for name in names if name in named):
            look, line = style(name), found.loc[name].to_numpy()
            panel.plot(q, line, color=look.color, marker=look.marker, linestyle=look.line, markerfacecolor=look.face)
            ends.append(End(name, *_last_hit(q, line)))
        if DATA in found.index:
            panel.plot(q, found.loc[DATA], **DATA_LINE)
        symmetric_log(panel)
        panel.set(ylim=(0, None), xticks=q, xlabel="q: score between the prior's (0) and the best known (1)")
        panel.yaxis.set_major_formatter("{x:g}")
        return ends

    marks = [Line2D([], [], **DATA_LINE, label=DATA)] if DATA in found.index else []
    return _grid(draw, ["distinct valid designs of at least q"], len(named) < len(distinct(families)), marks)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Ascending heights, moved apart by `gap` at least, in all as little as can be."""
    steps = gap * np.arange(len(heights))
    return list(isotonic_regression(np.array(heights) - steps).x + steps) if len(heights) else []


def _last_hit(q: np.ndarray, line: np.ndarray) -> tuple[float, float]:
    """The last point that is not 0: where a line is told from others."""
    last = int(np.flatnonzero(line > 0)[-1]) if (line > 0).any() else 0
    return float(q[last]), float(line[last])


def _bound(limit: Callable[[float, float], object], values: Sequence[float], metric: str) -> None:
    """Limits of an axis around what was measured: an interval of a few seeds may reach far beyond them.

    Likelihoods, which fall far below the data's, have a scale of their own.
    """
    known = [value for value in values if np.isfinite(value)]
    if metric != "elbo_z" and known and min(known) < max(known):
        margin = 0.05 * (max(known) - min(known))
        limit(min(known) - margin, max(known) + margin)


def _grid(draw: Draw, metrics: Sequence[str], others: bool, marks: Sequence[Line2D]) -> Figure:
    """Panels in two columns, with names beside them."""
    columns = min(2, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(4.9 * columns if columns > 1 else 6.6, (PANEL[1] if columns > 1 else 4) * rows + 0.6))
    grid = figure.subplots(rows, columns, squeeze=False)
    for panel, metric in zip(grid.flat, metrics, strict=False):
        ends = draw(panel, metric)
        panel.set_ylabel(axis_label(metric))
        _name(panel, ends, figure.get_figheight() / rows)
    for panel in grid.flat[len(metrics) :]:
        panel.remove()
    keys = [Line2D([], [], color=BEHIND.color, marker=BEHIND.marker, label="all others")] if others else []
    if marks or keys:
        legend(figure, [*marks, *keys])
    return figure


def _name(panel: Axes, ends: Sequence[End], height: float) -> None:
    """Names in a column beside the panel, each as near to the height of its end as the others let it be, and a line."""
    panel.get_ylim()  # settles the limits
    to_axes = panel.transData + panel.transAxes.inverted()
    finite = [end for end in ends if np.isfinite([end.x, end.y]).all()]
    placed = sorted((float(to_axes.transform((end.x, end.y))[1]), end) for end in finite)
    for place, (_, end) in zip(spread([y for y, _ in placed], GAP / (0.75 * height)), placed, strict=True):
        color = style(end.name).color
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.6}
        words: dict[str, Any] = {"va": "center", "fontsize": 7.5, "color": color, "annotation_clip": False}
        panel.annotate(
            short(end.name), (end.x, end.y), (1.05, place), textcoords="axes fraction", arrowprops=line, **words
        )
