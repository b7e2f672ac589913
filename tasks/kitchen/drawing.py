"""Drawings of what an arm does in the kitchen, seen from its side and, a little, from above."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TILT = 0.5
"""How far upwards of what is a metre deeper in the kitchen is drawn, in metres."""


def draw(planned: Tensor, executed: Tensor, axes: Axes) -> None:
    """Ways of the hand (thin), and of kettle, door and switch (thick), in `t x 4 x 3` places.

    Planned in red and executed in black; blue are the places of what is to move at first.
    """
    for places, colour in ((executed, "black"), (planned, "tab:red")):
        across, up = _seen(places)
        axes.plot(across[:, 0], up[:, 0], color=colour, linewidth=1)
        axes.plot(across[:, 1:], up[:, 1:], color=colour, linewidth=3, alpha=0.6)
    across, up = _seen(executed[:1])
    for k, marker in enumerate("osd", start=1):
        axes.plot(across[:, k], up[:, k], marker=marker, color="tab:blue", markersize=7)
    axes.set(xlim=(-1.0, 0.6), ylim=(1.75, 3.15), xticks=[], yticks=[], aspect="equal")


def _seen(places: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """`t x 4` numbers across and up of the drawing."""
    x, y, z = places.unbind(-1)
    return x.numpy(), (z + TILT * y).numpy()
