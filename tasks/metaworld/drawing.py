"""Drawings of what an arm does, from above."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(planned: Tensor, executed: Tensor, axes: Axes) -> None:
    """Ways of hand (thin) and object (thick) in `t x 10` observations, planned in red and executed in black."""
    for seen, colour in ((executed, "black"), (planned, "tab:red")):
        axes.plot(seen[:, 0], seen[:, 1], color=colour, linewidth=1)
        axes.plot(seen[:, 4], seen[:, 5], color=colour, linewidth=3, alpha=0.6)
    axes.plot(*executed[0, 4:6], marker="s", color="tab:blue", markersize=7)
    axes.plot(*executed[0, 7:9], marker="*", color="tab:green", markersize=11)
    axes.set(xlim=(-0.5, 0.5), ylim=(0.3, 1.0), xticks=[], yticks=[], aspect="equal")
