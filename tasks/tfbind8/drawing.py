"""Sequences of DNA as biologists draw them: letters that fill their cells, in the colours of sequence logos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"A": "#109648", "C": "#255c99", "G": "#f7b32b", "T": "#d62839"}
WIDTH, HEIGHT = 0.9, 1.6
"""Of a letter, in cells."""


def draw(sequence: str, axes: Axes) -> None:
    """Draw `sequence` from its 5' to its 3' end, a letter a unit."""
    font = FontProperties(family="DejaVu Sans", weight="bold")
    for position, letter in enumerate(sequence):
        path = TextPath((0, 0), letter, prop=font)
        box = path.get_extents()
        fill = Affine2D().translate(-box.x0, -box.y0).scale(WIDTH / box.width, HEIGHT / box.height)
        shape = fill.translate(position + (1 - WIDTH) / 2, 0).transform_path(path)
        axes.add_patch(PathPatch(shape, facecolor=COLOURS[letter], linewidth=0))
    axes.set_xlim(0, len(sequence))
    axes.set_ylim(0, HEIGHT)
    axes.set_aspect("equal")
    axes.set_axis_off()
