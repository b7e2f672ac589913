"""Drawings of secondary structures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import RNA

from bbo_bench.tasks.rna.cloverleaf import pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"A": "#e8b04a", "C": "#5b8fd6", "G": "#d9605a", "U": "#6aa878"}


def layout(structure: str) -> npt.NDArray[np.float64]:
    """`n x 2` coordinates of the bases of a structure, by ViennaRNA: its ends at the top, then counter-clockwise."""
    points = np.array([(point.Y, -point.X) for point in RNA.simple_xy_coordinates(structure)])
    return points[: len(structure)]  # of an empty structure, nothing


def draw(sequence: str, structure: str, axes: Axes) -> None:
    """Draw a folded sequence: its backbone, the pairs as bars, the bases as coloured dots with their letters."""
    points = layout(structure)
    x, y = points.T
    axes.plot(x, y, color="0.6", linewidth=0.8, zorder=1)
    for pair in sorted(pairs(structure)):
        axes.plot(x[list(pair)], y[list(pair)], color="0.2", linewidth=1.6, zorder=2)
    axes.scatter(x, y, s=14, c=[COLOURS[base] for base in sequence], linewidths=0, zorder=3)
    for base, right, up in zip(sequence, x, y, strict=True):
        axes.text(right, up, base, fontsize=3, ha="center", va="center", zorder=4)
    axes.set_aspect("equal")
    axes.set_axis_off()
