"""Drawings of what an arm does in the kitchen, from its front and a little above, as a strip of four moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOMENTS, APART = 4, 1.7
"""Moments of a drawing, evenly over the plan, and how far apart they are, in metres."""
TILT = 0.35
"""How far up in a drawing is what is a metre deeper in the kitchen."""
MARKERS = "osd"
"""Of kettle, door and switch."""

Seen = tuple[Tensor, Tensor]
"""Joints of the arm, `t x 9 x 3`, and places of hand, kettle, door and switch, `t x 4 x 3`."""


def draw(planned: Seen, executed: Seen, axes: Axes) -> None:
    """The arm, what it is to move and the way of its hand, as planned in red and as executed in black.

    Blue are the first places of what it is to move; `executed` has one moment more, where the last action leads.
    """
    last = len(planned[0]) - 1
    for k, t in enumerate(np.linspace(0, last, MOMENTS).astype(int)):
        aside = k * APART
        for place, marker in zip(executed[1][0, 1:], MARKERS, strict=True):
            axes.plot(*_flat(place[None], aside), marker=marker, color="tab:blue", markersize=4, alpha=0.6)
        for (arm, places), colour, width in ((executed, "black", 2.5), (planned, "tab:red", 1.0)):
            axes.plot(*_flat(arm[t], aside), color=colour, linewidth=width, alpha=0.8)
            axes.plot(*_flat(places[: t + 1, 0], aside), color=colour, linewidth=0.6)
            for place, marker in zip(places[t, 1:], MARKERS, strict=True):
                axes.plot(
                    *_flat(place[None], aside), marker=marker, color=colour, fillstyle="none", markersize=3 + width
                )
    axes.set(xlim=(-1.0, (MOMENTS - 1) * APART + 0.7), ylim=(1.5, 3.0), xticks=[], yticks=[], aspect="equal")


def _flat(places: Tensor, aside: float) -> tuple[Tensor, Tensor]:
    """Numbers across and up of the drawing, of `k x 3` places."""
    x, y, z = places.unbind(-1)
    return x + aside, z + TILT * y
