"""The environment: a point on a line that moves as it is told, and is rewarded for where it is at each time.

Source: Huh and Mohapatra, "Maximize Your Diffusion", arXiv:2502.12198, section 4.1 and eqs. 13 and 14; the numbers,
which the paper does not give, are ours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bbo_bench.seeding import generator

Policy = Callable[[Tensor, Tensor], Tensor]
"""Actions at `n` times and positions."""
HORIZON = 32
"""H: positions, and actions, of a plan."""
SIZE = 5.0
"""Positions lie in [-SIZE, SIZE], between two walls."""
ETA = 0.25
"""η: how far an action of 1 moves."""
CENTRE = 3.0
"""The rewards' means lie in [-CENTRE, CENTRE], uniformly."""
VARIANCES = 0.3, 1.0
"""Between which the rewards' variances lie, uniformly."""


def landscape() -> tuple[Tensor, Tensor]:
    """Means m_t and variances v_t of the rewards, two `H`-dim tensors, drawn independently and the same always."""
    u = torch.rand(2, HORIZON, generator=generator(0, "nav1d rewards"), dtype=torch.double)
    low, high = VARIANCES
    return CENTRE * (2 * u[0] - 1), low + (high - low) * u[1]


MEANS, STDS = landscape()[0], landscape()[1].sqrt()


def advance(position: Tensor, action: Tensor) -> Tensor:
    """f(s, a) = s + η a, stopped by the walls; tensors of one shape."""
    return (position + ETA * action).clamp(-SIZE, SIZE)


def executed(start: Tensor, actions: Tensor) -> Tensor:
    """`n x H` positions s_0, ..., s_{H-1} that `n x H` actions lead through from `n` starts; the last is idle."""
    positions = [start]
    for action in actions[:, :-1].unbind(1):
        positions.append(advance(positions[-1], action))
    return torch.stack(positions, 1)


def followed(policy: Policy, start: Tensor, steps: int = HORIZON) -> tuple[Tensor, Tensor]:
    """`n x steps` positions that a policy leads through from `n` starts at time 0, and its actions there."""
    position, positions, actions = start, [], []
    for t in range(steps):
        positions.append(position)
        actions.append(policy(torch.full(start.shape, t, device=start.device), position))
        position = advance(position, actions[-1])
    return torch.stack(positions, 1), torch.stack(actions, 1)


def reward(time: Tensor, position: Tensor) -> Tensor:
    """Rewards at times and positions of one shape: the density of N(m_t, v_t) over its maximum, so at most 1."""
    return (-(((position - MEANS.to(position)[time]) / STDS.to(position)[time]) ** 2) / 2).exp()


def rewards(positions: Tensor) -> Tensor:
    """`n x H` rewards of the `n x H` positions of all times."""
    return reward(torch.arange(HORIZON, device=positions.device), positions)


def returns(start: Tensor, actions: Tensor) -> Tensor:
    """`n` returns, sums of the H rewards, of executing `n x H` actions from `n` starts."""
    return rewards(executed(start, actions)).sum(1)
