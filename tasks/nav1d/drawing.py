"""Drawings of plans over the landscape of rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bbo_bench.tasks.nav1d.environment import HORIZON, SIZE, executed, rewards

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 101
"""Positions of the picture."""


def draw_landscape(axes: Axes) -> None:
    """The rewards, time from left to right and positions from below, the darker the higher."""
    positions = torch.linspace(-SIZE, SIZE, ROWS)[:, None].expand(-1, HORIZON)
    extent = (-0.5, HORIZON - 0.5, -SIZE, SIZE)
    picture = axes.imshow(rewards(positions).numpy(), cmap="YlGnBu", origin="lower", extent=extent)
    picture.set(clim=(0, 1.3), interpolation="nearest")
    axes.set(aspect="auto", xlim=(-0.5, HORIZON - 0.5), ylim=(-SIZE, SIZE), xticks=[], yticks=[])


def draw(x: Tensor, axes: Axes) -> None:
    """A plan of `32 x 2`: its positions as a line, dashed those that its actions really lead through."""
    x = x.detach().cpu()
    draw_landscape(axes)
    axes.plot(executed(x[None, 0, 0], x[None, :, 1])[0].numpy(), color="k", linewidth=1, linestyle="--")
    axes.plot(x[:, 0].numpy(), color="tab:red", linewidth=1.2)
