"""Drawings of the table, as a strip of four moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Circle, Polygon, Rectangle
from torch import Tensor

from bbo_bench.tasks.pusht.planner import GOAL, RADIUS, corners
from bbo_bench.tasks.pusht.table import SIDE, Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOMENTS, APART = 4, 1.05
"""Moments of a drawing, evenly over the plan, and how far apart they are, in tables."""


def draw(planned: Tensor, executed: Tensor, axes: Axes) -> None:
    """Agent and T in `t x 8` observations, as planned in red, and as executed in black, from left to right.

    The goal is green; `executed` has one observation more, where the last action leads.
    """
    for k, t in enumerate(np.linspace(0, len(planned) - 1, MOMENTS).astype(int)):
        aside = np.array([k * APART * SIDE, 0.0])
        axes.add_patch(Rectangle(tuple(aside), SIDE, SIDE, fill=False, edgecolor="0.7", linewidth=1))
        axes.add_patch(Polygon(corners(np.array([GOAL]))[0] + aside, facecolor="tab:green", alpha=0.35))
        axes.plot(*(planned[: t + 1, :2].numpy() + aside).T, color="tab:red", linewidth=0.6, alpha=0.6)
        _moment(executed[t], aside, axes, "black", "0.55")
        _moment(planned[t], aside, axes, "tab:red", "none")
    axes.set(
        xlim=(-9, ((MOMENTS - 1) * APART + 1) * SIDE + 9), ylim=(SIDE + 9, -9), xticks=[], yticks=[], aspect="equal"
    )


def _moment(seen: Tensor, aside: Array, axes: Axes, edge: str, face: str) -> None:
    *agent, _, _, x, y, cos, sin = seen.double().tolist()
    outline = corners(np.array([[x, y, np.arctan2(sin, cos)]]))[0] + aside
    axes.add_patch(Polygon(outline, edgecolor=edge, facecolor=face, linewidth=1, alpha=0.8))
    axes.add_patch(Circle(tuple(aside + agent), RADIUS, edgecolor=edge, facecolor=face, linewidth=1, alpha=0.8))
