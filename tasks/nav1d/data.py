"""The data sets: trajectories of known behaviour policies, drawn anew from their seeds whenever they are needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.special import ndtr, ndtri

from bbo_bench.core import Offline
from bbo_bench.tasks.nav1d.environment import HORIZON, SIZE, advance, followed, rewards
from bbo_bench.tasks.nav1d.planning import act

NARROW = 1.0
"""Starts of the data set `partial` lie in [-NARROW, NARROW]."""
NOISE = 0.2
"""Standard deviation of the expert's actions about the best ones, before the bounds cut it."""

Draw = Callable[[Tensor, Tensor, Generator], Tensor]
"""Actions at `n` times and positions."""


class Behaviour(NamedTuple):
    """A policy that has made data."""

    starts: float
    """They are uniform in [-starts, starts]."""
    draw: Draw
    log_prob: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Log densities of actions at times and positions, tensors of one shape."""


def uniform(time: Tensor, position: Tensor, rng: Generator) -> Tensor:
    """Actions that know nothing, from -1 to 1."""
    return 2 * torch.rand(position.shape, generator=rng, dtype=torch.float32) - 1


def uniform_log_prob(time: Tensor, position: Tensor, action: Tensor) -> Tensor:
    """Log densities of `uniform`."""
    return torch.where(action.abs() <= 1, -math.log(2), -math.inf)


def expert(time: Tensor, position: Tensor, rng: Generator) -> Tensor:
    """The best actions with normal noise, truncated to [-1, 1], by inversion."""
    mean = act(time, position)
    low, high = ndtr((-1 - mean) / NOISE), ndtr((1 - mean) / NOISE)
    u = torch.rand(position.shape, generator=rng, dtype=torch.float32)
    drawn: Tensor = mean + NOISE * ndtri(low + u * (high - low))
    return drawn.clamp(-1, 1)


def expert_log_prob(time: Tensor, position: Tensor, action: Tensor) -> Tensor:
    """Log densities of `expert`."""
    mean = act(time, position)
    share = ndtr((1 - mean) / NOISE) - ndtr((-1 - mean) / NOISE)
    inside = -(((action - mean) / NOISE) ** 2) / 2 - math.log(NOISE * math.sqrt(2 * math.pi)) - share.log()
    return torch.where(action.abs() <= 1, inside, -math.inf)


BEHAVIOURS = {
    "partial": Behaviour(NARROW, uniform, uniform_log_prob),
    "full": Behaviour(SIZE, uniform, uniform_log_prob),
    "expert": Behaviour(SIZE, expert, expert_log_prob),
}


def observed(position: Tensor, following: bool = False) -> Tensor:
    """`n x H x (1 + H)` observations at `n x H` positions: the position, and the time as a one-hot vector.

    With `following` the times are those after a step, and the last is beyond the horizon: zeros.
    """
    time = torch.eye(HORIZON, device=position.device, dtype=position.dtype)
    if following:
        time = torch.cat([time[1:], torch.zeros_like(time[:1])])
    return torch.cat([position[..., None], time.expand(len(position), -1, -1)], -1)


def steps(x: Tensor) -> tuple[Tensor, Tensor]:
    """Observations and actions of `n x H x 2` plans, see `Offline.steps`."""
    return observed(x[..., 0]), x[..., 1:]


def transitions(x: Tensor) -> Offline:
    """The transitions of `n x H x 2` trajectories."""
    position, action = x.unbind(-1)
    done = torch.arange(HORIZON).expand(len(x), -1) == HORIZON - 1
    return Offline(
        observation=observed(position).flatten(0, 1),
        action=action.reshape(-1, 1),
        reward=rewards(position).flatten(),
        following=observed(advance(position, action), following=True).flatten(0, 1),
        done=done.flatten(),
        steps=steps,
        given=torch.arange(2 * HORIZON).reshape(HORIZON, 2) == 0,
    )


def trajectories(behaviour: Behaviour, n: int, rng: Generator) -> Tensor:
    """`n x H x 2` positions and actions of a behaviour policy."""
    start = behaviour.starts * (2 * torch.rand(n, generator=rng, dtype=torch.float32) - 1)
    return torch.stack(followed(lambda time, position: behaviour.draw(time, position, rng), start), -1)
