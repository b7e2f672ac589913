"""Intervals in a row per optimizer: one task's ranking, and scores over all tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bbo_bench.names import DATA, PRIOR, headline, short
from bbo_bench.report.families import Families, distinct
from bbo_bench.report.figures import DATA_LINE, few
from bbo_bench.report.layout import PANEL, legend
from bbo_bench.report.style import ARMS, Style, axis_label, group_style, grouped, style

COLUMNS = ("score", "distinct_top", "normalized", "validity", "pairwise")
ROW = 0.2
WIDTH = 2.2
FLAT: dict[str, Any] = {"solid_capstyle": "butt"}
"""Of a bar that ends where its interval does."""


def ranking(results: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Those of one task's optimizers that have a score, the highest interquartile mean first.

    Where none has, as runs were made before there was one, those that have a normalized mean score, by that.
    """
    found = results[results["metric"] == headline(results["metric"].unique())].set_index("optimizer")["iqm"]
    return sorted((name for name in names if name in found.index), key=lambda name: -float(found[name]))


def overview(results: pd.DataFrame, families: Families) -> Figure | None:
    """One task's optimizers in the order of `ranking`, one of each family; None where none is ranked."""
    ranks = ranking(results, distinct(families))
    if not ranks:
        return None
    shown = [metric for metric in COLUMNS if metric in set(results["metric"])]
    figure = Figure(figsize=(WIDTH * len(shown) + 1.5, ROW * len(ranks) + 1.4))
    for panel, metric in zip(figure.subplots(1, len(shown), sharey=True, squeeze=False).flat, shown, strict=True):
        rows = results[results["metric"] == metric].set_index("optimizer")
        _intervals(panel, rows.reindex(ranks), group_style)
        if DATA in rows.index:
            panel.axvline(rows["iqm"][DATA], **DATA_LINE, zorder=1)
            low, high = panel.get_xlim()
            real, margin = rows["iqm"][DATA], 0.02 * (high - low)
            panel.set_xlim(min(low, real - margin), max(high, real + margin))
        if PRIOR in rows.index:
            panel.axvline(rows["iqm"][PRIOR], color=style(PRIOR).color, linestyle=":", zorder=1)
        panel.set_xlabel(axis_label(metric))
    for label in figure.axes[0].get_yticklabels():
        label.set_color(group_style(label.get_text()).color)
    legend(figure, [*_keys(ranks), Line2D([], [], **DATA_LINE, label=DATA)])
    return figure


def over_tasks(estimates: pd.DataFrame, families: Families, metric: str) -> Figure:
    """A metric over all tasks at the end of the budgets: a bar of the interval, a mark of the mean."""
    figure = Figure(figsize=(2 * PANEL[0], 0.6 + 0.3 * len(estimates)))
    panel = figure.subplots()
    base = {name: base for base, family in families.items() for name in family}
    rows = estimates.astype({"optimizer": str}).set_index("optimizer")
    _intervals(panel, rows, lambda name: style(base[name]))
    panel.set_xlabel(axis_label(metric))
    return figure


def _intervals(panel: Axes, rows: pd.DataFrame, look_of: Callable[[str], Style]) -> None:
    """A bar from `low` to `high`, or a point for each seed, and a mark at `iqm` for each row, from the top."""
    seeds = few(rows)
    for height, (name, values) in enumerate(rows[["iqm", "low", "high"]].astype(float).iterrows()):
        look = look_of(str(name))
        panel.plot(values[["low", "high"]], [height, height], color=look.color, linewidth=6, alpha=0.35, **FLAT)
        if seeds[height]:
            panel.plot(seeds[height], [height] * len(seeds[height]), ".", color=look.color, markersize=4, alpha=0.6)
        panel.plot(values["iqm"], height, color=look.color, marker=look.marker, markerfacecolor=look.face)
    low, high = _reach(rows, [value for values in seeds for value in values])
    panel.set(
        xlim=(low, high),
        yticks=range(len(rows)),
        yticklabels=[short(str(name)) for name in rows.index],
        ylim=(len(rows) - 0.4, -0.6),
    )


def _reach(rows: pd.DataFrame, seeds: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis: of all means and seeds, and of intervals as far as half of that range beyond them.

    A single value has its interval around it, else a tenth of itself, and zero a tenth.
    """
    ends = rows[["low", "high"]].to_numpy(float)
    points = np.array([*rows["iqm"].astype(float).dropna(), *seeds])
    if not len(points):
        return 0.0, 1.0
    least = 0.1 * (float(np.abs(points).max()) or 1.0)
    spread = points.max() - points.min()
    beyond = spread / 2 if spread > 1e-3 * least else np.inf
    known = np.concatenate([points, ends[np.isfinite(ends)].clip(points.min() - beyond, points.max() + beyond)])
    alone = known.max() - known.min() <= 1e-3 * least
    margin = least if alone else 0.05 * (known.max() - known.min())
    return float(known.min() - margin), float(known.max() + margin)


def _keys(names: Sequence[str]) -> list[Line2D]:
    looks = {title: group_style(members[0]) for title, members in grouped(names).items()}
    marks = {title: (look.color, look.marker, look.color) for title, look in looks.items()}
    if any(style(name).hollow for name in names):
        marks[f"hollow: {' or '.join(ARMS)}"] = ("black", "o", "white")
    return [
        Line2D([], [], color=color, marker=marker, markerfacecolor=face, linestyle="", label=label)
        for label, (color, marker, face) in marks.items()
    ]
