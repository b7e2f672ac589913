"""Ranks over tasks, Friedman's test, and the diagram of critical differences (Demšar, JMLR 2006)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from bbo_bench.report.aggregate import Floats
from bbo_bench.report.blocks import Block
from bbo_bench.report.style import style

TASKS, OPTIMIZERS = 3, 3
"""Fewer of them have no Friedman test."""
WIDTH, LINE = 6.8, 0.24


class Ranks(NamedTuple):
    """Mean ranks over tasks, 1 the best.

    Attributes:
        mean: Per optimizer.
        p: Friedman's, that all optimizers are alike.
        critical: Nemenyi's difference of mean ranks, from which on two optimizers are told apart at 5%.
    """

    mean: Floats
    p: float
    critical: float


def ranks(means: Floats) -> Ranks | str:
    """Of values of `tasks x optimizers`, ties sharing their ranks; or the reason why there are none."""
    tasks, optimizers = means.shape
    if tasks < TASKS or optimizers < OPTIMIZERS:
        return (
            f"ranks need {TASKS} tasks and {OPTIMIZERS} optimizers that were run on all of them, "
            f"got {tasks} and {optimizers}"
        )
    mean = rankdata(-means, axis=1).mean(0)
    alike = (means == means[:, :1]).all()  # the statistic is 0/0
    p = 1.0 if alike else float(friedmanchisquare(*means.T).pvalue)
    quantile = studentized_range.ppf(0.95, optimizers, np.inf) / np.sqrt(2)
    return Ranks(mean, p, float(quantile * np.sqrt(optimizers * (optimizers + 1) / (6 * tasks))))


def groups(mean: Floats, critical: float) -> list[tuple[int, int]]:
    """First and last of the longest runs of ascending mean ranks that lie within the critical difference."""
    last = np.searchsorted(mean, mean + critical, side="right") - 1
    found = [(first, int(end)) for first, end in enumerate(last) if end > first]
    return [(first, end) for first, end in found if not any(a < first and b >= end for a, b in found)]


def diagram(block: Block) -> Figure | str:
    """Optimizers along an axis of mean ranks, the best left; bars join those that are not told apart."""
    found = ranks(block.means)
    if isinstance(found, str):
        return found
    order = np.argsort(found.mean, kind="stable")
    mean, names = found.mean[order], [block.optimizers[i] for i in order]
    bars = groups(mean, found.critical)
    half = (len(names) + 1) // 2
    depth = 1 + len(bars) * 0.5
    figure = Figure(figsize=(WIDTH, LINE * (half + depth + 4)))
    panel = figure.subplots()
    for i, (name, rank) in enumerate(zip(names, mean, strict=True)):
        left = i < half
        y = -(depth + (i if left else len(names) - 1 - i))
        x = 1 - 0.06 * len(names) if left else len(names) * 1.06
        color = style(name).color
        panel.plot([rank, rank, x], [0, y, y], color=color, linewidth=1)
        words = f"{name} {rank:.1f}" if left else f"{rank:.1f} {name}"
        panel.text(x, y, f" {words} ", ha="right" if left else "left", va="center", color=color)
    for i, (first, end) in enumerate(bars):
        panel.plot(mean[[first, end]], [-(0.5 + i * 0.5)] * 2, color="black", linewidth=3.5, solid_capstyle="round")
    panel.plot([1, 1 + found.critical], [2.2, 2.2], color="black", marker="|", linewidth=1)
    panel.text(1, 2.5, f"critical difference {found.critical:.2f}; Friedman's p = {found.p:.2g}", va="bottom")
    panel.set(xlim=(1, len(names)), ylim=(-(depth + half), 4), yticks=[])
    panel.spines["bottom"].set_position(("data", 0))
    panel.tick_params(axis="x", direction="in", pad=-16)
    panel.set_xticks(np.unique(np.linspace(1, len(names), min(len(names), 6)).round()))
    panel.spines["left"].set_visible(False)
    panel.grid(visible=False)
    return figure
