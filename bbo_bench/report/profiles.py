"""Performance profiles: how large a share of an optimizer's runs end above a score, over all scores."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bbo_bench.names import PRIOR
from bbo_bench.report.aggregate import Floats
from bbo_bench.report.blocks import Block
from bbo_bench.report.families import Families
from bbo_bench.report.figures import key
from bbo_bench.report.hierarchy import over
from bbo_bench.report.layout import panels
from bbo_bench.report.style import BEHIND, axis_label, style

POINTS = 101


def shares(block: Block, levels: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean over tasks of the share of seeds above each level, `optimizers x levels`, with the ends of its interval.

    Dolan and Moré's profile as Agarwal et al. (2021) have it for scores; the bootstrap draws tasks and seeds.
    """
    return over(list(block.tasks.values()), lambda values: _above(values, levels))


def _above(values: Floats, levels: Floats) -> Floats:
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):  # a resample without a seed of an optimizer's says nothing of it
        return np.asarray((values[..., None] > levels).sum(-2) / known.sum(-1)[..., None])


def profiles(block: Block, families: Families) -> Figure:
    """A line per optimizer, one of each family; its band is the interval, where there are tasks enough for one."""
    names = [name for name in families if name in block.optimizers]
    ends = np.concatenate([values.ravel() for values in block.tasks.values()])
    levels = np.linspace(min(0.0, np.nanmin(ends)), max(1.0, np.nanmax(ends)), POINTS)
    lines = dict(zip(block.optimizers, zip(*shares(block, levels), strict=True), strict=True))

    def draw(panel: Axes, _: str, members: Collection[str]) -> None:
        for name in names:
            look = style(name) if name in members or name == PRIOR else BEHIND
            line, low, high = lines[name]
            front = look is not BEHIND
            panel.plot(
                levels, line, color=look.color, linestyle=look.line, linewidth=1.6 if front else 0.8, zorder=1 + front
            )
            if front:
                panel.fill_between(levels, low, high, color=look.color, alpha=0.6 / max(4, len(members)), linewidth=0)
        panel.set(xlabel=f"{axis_label(block.metric)} at the end", ylim=(0, 1.02))

    def entry(name: str) -> Line2D:
        line = key(name, style(name).line)
        line.set_marker("")
        return line

    return panels(draw, ["share of runs above"], names, entry, [])
