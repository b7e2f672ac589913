"""Curves over queries, the trade-off between score and naturalness, and scores over tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from bbo_bench.report.names import AXES, DATA, PRIOR, reference
from bbo_bench.report.style import style

Families = Mapping[str, Mapping[str, float]]
CURVES = ("reward_mean", "best", "validity", "elbo_z", "pairwise", "proxy_gap")
TRADE_OFFS = ("validity", "elbo_z", "pairwise")
ZERO = ("elbo_z", "proxy_gap")
"""Metrics whose zero is a fact: the data's own likelihood, an honest proxy."""
PANEL = (3.4, 2.6)
DATA_COLOR = "#444444"


def theme() -> AbstractContextManager[None]:
    """Settings that hold while a figure is made and saved."""
    return mpl.rc_context(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E5E5E5",
            "lines.linewidth": 1.6,
            "lines.markersize": 5,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.w_pad": 0.08,
            "pdf.fonttype": 42,
        }
    )


def curves(estimates: pd.DataFrame, table: pd.DataFrame, families: Families) -> Figure:
    """A panel per metric over one task's queries: interquartile mean and interval, one optimizer of each family."""
    shown = [metric for metric in CURVES if metric in set(estimates["metric"])]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows + 0.7))
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, metric in zip(panels, shown, strict=False):
        for name in families:
            _curve(panel, estimates[(estimates["metric"] == metric) & (estimates["optimizer"] == name)], name)
        _level(panel, metric, table)
        _query_axis(panel, estimates["queries"].unique().tolist())
        _score_axis(panel, metric)
        panel.set(xlabel="queries", ylabel=AXES[metric])
    for panel in figure.axes[len(shown) :]:
        panel.remove()
    figure.align_ylabels()
    _legend(figure, [_key(name, style(name).line) for name in families] + [_level_key()])
    return figure


def trade_off(results: pd.DataFrame, families: Families) -> Figure:
    """One task's mean score against naturalness and diversity at the end of the budget; a line joins the KL weights."""
    wide = results.pivot(index="optimizer", columns="metric", values=["iqm", "low", "high"]).astype(float)
    shown = [metric for metric in TRADE_OFFS if metric in wide["iqm"]]
    figure = Figure(figsize=(PANEL[0] * len(shown), PANEL[1] + 1.1))
    for panel, metric in zip(figure.subplots(1, len(shown), squeeze=False).flat, shown, strict=True):
        for base, family in families.items():
            _front(panel, wide, base, list(family), metric)
        _data(panel, wide, metric)
        _score_axis(panel, metric)
        panel.set(xlabel=AXES["reward_mean"], ylabel=AXES[metric])
    keys = [_key(name, "-" if len(family) > 1 else "") for name, family in families.items()]
    star: dict[str, Any] = {"marker": "*", "markersize": 12, "markerfacecolor": "none", "linestyle": ""}
    data = Line2D([], [], color=DATA_COLOR, label=DATA, **star)
    _legend(figure, [*keys, data])
    if any(len(family) > 1 for family in families.values()):
        figure.suptitle("Lines join the KL weights of one optimizer; larger markers, larger weights", fontsize=9)
    return figure


def over_tasks(estimates: pd.DataFrame, families: Families) -> Figure:
    """Normalized mean score over all tasks at the end of the budgets: a bar of the interval, a mark of the mean."""
    figure = Figure(figsize=(2 * PANEL[0], 0.6 + 0.3 * len(estimates)))
    panel = figure.subplots()
    names = estimates["optimizer"].astype(str).tolist()
    for height, (name, values) in enumerate(zip(names, estimates[["iqm", "low", "high"]].to_numpy(float), strict=True)):
        iqm, low, high = values
        look = style(next(base for base, family in families.items() if name in family))
        panel.plot([low, high], [height, height], color=look.color, linewidth=7, alpha=0.35)
        panel.plot(iqm, height, color=look.color, marker=look.marker, markersize=7)
    panel.set(yticks=range(len(names)), yticklabels=names, xlabel=AXES["normalized"])
    panel.invert_yaxis()
    return figure


def _curve(panel: Axes, line: pd.DataFrame, name: str) -> None:
    look = style(name)
    queries, iqm, low, high = (line[key].to_numpy(float) for key in ("queries", "iqm", "low", "high"))
    panel.plot(queries, iqm, color=look.color, marker=look.marker, linestyle=look.line)
    panel.fill_between(queries, low, high, color=look.color, alpha=0.15, linewidth=0)


def _level(panel: Axes, metric: str, table: pd.DataFrame) -> None:
    """The data's own value, where it has one."""
    level = 0.0 if metric in ZERO else table[reference(metric)].mean() if reference(metric) in table else np.nan
    if np.isfinite(level):
        panel.axhline(level, color=DATA_COLOR, linewidth=1, linestyle=(0, (4, 3)), zorder=1)


def _query_axis(panel: Axes, queries: Sequence[int]) -> None:
    """Rounds grow geometrically, so they are evenly spaced on a logarithmic axis."""
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_locator(FixedLocator(sorted(queries)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def _score_axis(panel: Axes, metric: str) -> None:
    """Likelihoods may fall very far below the data's; what lies near them must stay legible."""
    if metric == "elbo_z" and panel.get_ylim()[0] < -10:
        panel.set_yscale("symlog", linthresh=1)
        panel.margins(y=0.1)
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _front(panel: Axes, wide: pd.DataFrame, base: str, family: list[str], metric: str) -> None:
    points = wide.reindex(family)
    look = style(base)
    x, y = points["iqm"]["reward_mean"].to_numpy(), points["iqm"][metric].to_numpy()
    sides = [
        np.nan_to_num(np.abs(points[["low", "high"]].xs(key, axis=1, level="metric").to_numpy().T - centre))
        for key, centre in (("reward_mean", x), (metric, y))
    ]
    panel.errorbar(x, y, sides[1], sides[0], color=look.color, linewidth=1.2, elinewidth=0.8, alpha=0.7)
    sizes = np.linspace(15, 75, len(family)) if len(family) > 1 else 45
    level = 4 if base == PRIOR else 3
    panel.scatter(x, y, s=sizes, color=look.color, marker=look.marker, edgecolor="white", linewidth=0.6, zorder=level)


def _data(panel: Axes, wide: pd.DataFrame, metric: str) -> None:
    values = wide["iqm"].loc[DATA]
    y = 0.0 if metric in ZERO else values[metric]
    panel.axhline(y, color=DATA_COLOR, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    panel.scatter(values["reward_mean"], y, s=160, facecolor="none", edgecolor=DATA_COLOR, marker="*", zorder=5)


def _key(name: str, line: object) -> Line2D:
    look = style(name)
    label = f"{name} (the prior)" if name == PRIOR else name
    return Line2D([], [], color=look.color, marker=look.marker, linestyle=line, label=label)  # type: ignore[arg-type]


def _level_key() -> Line2D:
    return Line2D([], [], color=DATA_COLOR, linewidth=1, linestyle=(0, (4, 3)), label="data; no gap")


def _legend(figure: Figure, keys: Sequence[Line2D]) -> None:
    """Below the panels, in as many columns as the longest name leaves room for."""
    longest = max(len(str(key.get_label())) for key in keys)
    columns = max(1, int(figure.get_figwidth() / (0.65 + 0.075 * longest)))
    figure.legend(handles=list(keys), loc="outside lower center", ncols=min(columns, len(keys)))
