"""Who beats whom: the probability that a run of one optimizer ends above one of another, over tasks."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bbo_bench.report.aggregate import Floats
from bbo_bench.report.blocks import Block
from bbo_bench.report.layout import MANY
from bbo_bench.report.paired import improvement
from bbo_bench.report.style import style

CELL = 0.42
SMALL = 0.19
"""Inches of a cell that has no number in it."""


def probabilities(block: Block) -> Floats:
    """Mean over tasks of the probability that the row's optimizer beats the column's (Agarwal et al. 2021)."""
    return np.asarray(np.mean([improvement(values[:, None], values[None]) for values in block.tasks.values()], axis=0))


def matrix(block: Block) -> Figure:
    """Rows against columns, those that beat the others most first; numbers where optimizers are few."""
    values = probabilities(block)
    order = np.argsort(-values.mean(1), kind="stable")
    values, names = values[np.ix_(order, order)], [block.optimizers[i] for i in order]
    few = len(names) <= 2 * MANY
    side = len(names) * (CELL if few else SMALL)
    margin = 0.08 * max(map(len, names)) + 0.3
    figure = Figure(figsize=(side + margin + 1, side + margin))
    panel = figure.subplots()
    picture = panel.imshow(values, cmap="RdBu", vmin=0, vmax=1)
    panel.set_xticks(range(len(names)), names, rotation=90)
    panel.set_yticks(range(len(names)), names)
    for label in [*panel.get_xticklabels(), *panel.get_yticklabels()]:
        label.set_color(style(label.get_text()).color)
        label.set_fontsize("medium" if few else "x-small")
    for (i, j), value in np.ndenumerate(values) if few else ():
        if i != j:
            color = "white" if abs(value - 0.5) > 0.35 else "black"
            panel.text(j, i, f"{value:.2f}".removeprefix("0"), ha="center", va="center", color=color, fontsize=7)
    panel.grid(visible=False)
    figure.colorbar(picture, label="P(row > column)")
    return figure
