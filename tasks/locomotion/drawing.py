"""Drawings of robots from the side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from matplotlib.collections import LineCollection
from torch import Tensor

from bbo_bench.tasks.locomotion.robots import Robot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POSES, APART = 4, 1.6
"""Poses of a drawing, evenly over the plan, and the metres between them."""


def draw(robot: Robot, planned: Tensor, executed: Tensor, axes: Axes) -> None:
    """Poses of `n x s` states as planned, in red, and as executed, in black, from left to right."""
    picked = torch.linspace(0, len(planned) - 1, POSES).long()
    for states, colour, width in ((executed, "black", 3.0), (planned, "tab:red", 1.2)):
        limbs = robot.limbs(states[picked])
        limbs[..., 0] += APART * torch.arange(POSES)[:, None, None]
        axes.add_collection(LineCollection(list(limbs.flatten(0, 1).numpy()), colors=colour, linewidths=width))
    axes.axhline(0, color="0.7", linewidth=1)
    axes.set(xlim=(-0.5 * APART, (POSES - 0.5) * APART), ylim=(-0.2, 1.8), xticks=[], yticks=[], aspect="equal")
