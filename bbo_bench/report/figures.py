"""Curves over queries, and the trade-off between score and naturalness."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from bbo_bench.names import DATA, PRIOR, reference, short
from bbo_bench.report.aggregate import unit
from bbo_bench.report.families import Families, distinct
from bbo_bench.report.layout import panels
from bbo_bench.report.style import BEHIND, Style, axis_label, style

EPISODES = ("return_one", "return_mean", "return_greedy", "return_std_one", "success_one", "entropy")
"""What curves show of planners."""
CURVES = ("distinct_top", "reward_mean", "best", "validity", "elbo_z", "pairwise", "proxy_gap")
TRADE_OFFS = ("validity", "elbo_z", "pairwise")
ZERO = ("elbo_z", "proxy_gap")
"""Metrics whose zero is a fact: the data's own likelihood, an honest proxy."""
DATA_COLOR = "#444444"
DATA_LINE: dict[str, Any] = {"color": DATA_COLOR, "linewidth": 1, "linestyle": (0, (4, 3))}


def curves(estimates: pd.DataFrame, table: pd.DataFrame, families: Families) -> Figure:
    """A panel per metric over one task's queries, for each group of methods: interquartile means and intervals."""
    shown = [metric for metric in CURVES if metric in set(estimates["metric"])]
    lines = {key: line for key, line in estimates.groupby(["optimizer", "metric"], observed=True)}
    names = distinct(families)

    def draw(panel: Axes, metric: str, members: Collection[str]) -> None:
        found = {name: lines[name, metric] for name in names if (name, metric) in lines}
        looks = {name: look_of(name, members) for name in found}
        rest = [found[name][["queries", "iqm"]].to_numpy(float) for name in found if looks[name] is BEHIND]
        background(panel, rest)
        for name in (name for name in found if looks[name] is not BEHIND):
            line = found[name]
            curve(panel, line["queries"].tolist(), line, looks[name], 0.6 / max(4, len(members)))
        axes_of_curves(panel, metric, estimates, table)

    level = Line2D([], [], **DATA_LINE, label="data; no gap")
    return panels(draw, shown, names, lambda name: key(name, style(name).line), [level])


def trade_off(results: pd.DataFrame, families: Families) -> Figure:
    """One task's mean score against naturalness and diversity at the end of the budget; a line joins the KL weights."""
    means = wide(results)
    shown = [metric for metric in TRADE_OFFS if metric in means["iqm"]]

    def draw(panel: Axes, metric: str, members: Collection[str]) -> None:
        fronts = {base: means.reindex(list(family)) for base, family in families.items()}
        behind = [base for base in fronts if look_of(base, members) is BEHIND]
        background(panel, [fronts[base]["iqm"][["reward_mean", metric]].to_numpy(float) for base in behind], marker="o")
        for base in (base for base in fronts if base not in behind):
            front(panel, fronts[base], metric, style(base), list(families[base].values()))
        data_mark(panel, means, metric)
        scale(panel, metric)
        panel.set_xlabel(axis_label("reward_mean"))

    star: dict[str, Any] = {"marker": "*", "markersize": 12, "markerfacecolor": "none", "linestyle": ""}
    data = Line2D([], [], color=DATA_COLOR, label=DATA, **star)
    swept = {name for name, family in families.items() if len(family) > 1}
    return panels(
        draw, shown, list(families), lambda name: key(name, style(name).line if name in swept else ""), [data]
    )


def wide(results: pd.DataFrame) -> pd.DataFrame:
    """One task's `results` with a row per optimizer and a column per value and metric."""
    found = results.pivot(index="optimizer", columns="metric", values=["iqm", "low", "high", "values"])
    return found.astype({column: float for column in found.columns if column[0] != "values"})


def background(panel: Axes, lines: Sequence[NDArray[np.float64]], marker: str = "") -> None:
    """Lines in grey, each `points x 2`, behind all else."""
    if lines:
        points = np.concatenate([np.vstack([line, [[np.nan, np.nan]]]) for line in lines])
        grey: dict[str, Any] = {"color": BEHIND.color, "linewidth": 0.8, "zorder": 1, "markersize": 3}
        panel.plot(*points.T, marker=marker, **grey)


def look_of(name: str, members: Collection[str]) -> Style:
    """An optimizer's own style, or, where a panel is of others, that of the background."""
    return style(name) if name in members or name == PRIOR else BEHIND


def curve(panel: Axes, x: Sequence[float], line: pd.DataFrame, look: Style, alpha: float) -> None:
    """`iqm` over `x`, and the interval from `low` to `high`; a point for each seed where there is none."""
    panel.plot(x, line["iqm"], color=look.color, marker=look.marker, linestyle=look.line, markerfacecolor=look.face)
    low, high = line[["low", "high"]].to_numpy(float).T
    panel.fill_between(x, low, high, color=look.color, alpha=alpha, linewidth=0)
    points = [(place, value) for place, values in zip(x, few(line), strict=True) for value in values]
    if points:
        panel.plot(*zip(*points, strict=True), ".", color=look.color, markersize=3, alpha=0.7)


def few(rows: pd.DataFrame) -> list[tuple[float, ...]]:
    """Of each row the values of its seeds where they are too few for an interval, else nothing."""
    if "values" not in rows:  # means over tasks
        return [()] * len(rows)
    pairs = zip(rows["values"], rows["low"], strict=True)
    return [values if np.isnan(low) and isinstance(values, tuple) else () for values, low in pairs]


def axes_of_curves(panel: Axes, metric: str, estimates: pd.DataFrame, table: pd.DataFrame) -> None:
    """The data's own value, and axes for queries and a metric."""
    _level(panel, metric, table)
    _query_axis(panel, estimates["queries"].unique().tolist())
    scale(panel, metric)
    panel.set_xlabel(unit(table))


def _level(panel: Axes, metric: str, table: pd.DataFrame) -> None:
    """The data's own value, where it has one."""
    level = 0.0 if metric in ZERO else table[reference(metric)].mean() if reference(metric) in table else np.nan
    if np.isfinite(level):
        panel.axhline(level, **DATA_LINE, zorder=1)


def _query_axis(panel: Axes, queries: Sequence[int]) -> None:
    """Rounds grow geometrically, so they are evenly spaced on a logarithmic axis."""
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_locator(FixedLocator(sorted(queries)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def scale(panel: Axes, metric: str) -> None:
    """Likelihoods may fall very far below the data's; what lies near them must stay legible."""
    if metric == "elbo_z" and panel.get_ylim()[0] < -10:
        symmetric_log(panel)
        panel.margins(y=0.1)
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def symmetric_log(panel: Axes) -> None:
    """An axis that is linear up to 1 in size and logarithmic beyond, and says so."""
    panel.set_yscale("symlog", linthresh=1)
    panel.annotate("log beyond ±1", (0.01, 1), xycoords="axes fraction", va="bottom", fontsize=7, color="0.4")


def front(panel: Axes, points: pd.DataFrame, metric: str, look: Style, weights: Sequence[float]) -> None:
    """Means of one method, whose KL weights are joined by a line and named; larger markers, larger weights."""
    x, y = points["iqm"]["reward_mean"].to_numpy(), points["iqm"][metric].to_numpy()
    sizes = np.linspace(15, 75, len(points)) if len(points) > 1 else np.array([45.0])
    sides = [
        np.nan_to_num(np.abs(points[["low", "high"]].xs(key, axis=1, level="metric").to_numpy().T - centre))
        for key, centre in (("reward_mean", x), (metric, y))
    ]
    line: dict[str, Any] = {"linewidth": 1.2, "linestyle": look.line}
    panel.errorbar(x, y, sides[1], sides[0], color=look.color, elinewidth=0.8, alpha=0.7, **line)
    edge: dict[str, Any] = {"edgecolor": look.color if look.hollow else "white", "linewidth": 1 if look.hollow else 0.6}
    panel.scatter(x, y, s=sizes, facecolor=look.face, marker=look.marker, zorder=3 + (look == style(PRIOR)), **edge)
    for _, point in points.iterrows():
        seeds = [few(point.unstack(0).loc[[key]])[0] for key in ("reward_mean", metric)]
        if seeds[0] and len(seeds[0]) == len(seeds[1]):
            panel.plot(*seeds, ".", color=look.color, markersize=3, alpha=0.7)
    for weight, place in zip(weights, zip(x, y, strict=True), strict=True):
        if len(weights) > 1 and np.isfinite(place).all():
            beside: dict[str, Any] = {"textcoords": "offset points", "fontsize": 6, "color": look.color}
            panel.annotate(f"{weight:g}", place, (3, 3), zorder=6, **beside)


def data_mark(panel: Axes, wide: pd.DataFrame, metric: str) -> None:
    """The data's own values, where they have any: a star, and a line at its naturalness or diversity."""
    if DATA not in wide.index:
        return
    values = wide["iqm"].loc[DATA]
    y = 0.0 if metric in ZERO else values[metric]
    panel.axhline(y, **DATA_LINE | {"linewidth": 0.8}, zorder=1)
    panel.scatter(values["reward_mean"], y, s=160, facecolor="none", edgecolor=DATA_COLOR, marker="*", zorder=5)


def key(name: str, line: object) -> Line2D:
    """An optimizer's entry in a legend, with its line or none."""
    look = style(name)
    label = f"{name} (the prior)" if name == PRIOR else short(name)
    drawn: dict[str, Any] = {"color": look.color, "marker": look.marker, "markerfacecolor": look.face}
    return Line2D([], [], **drawn, linestyle=line, label=label)  # type: ignore[arg-type]
