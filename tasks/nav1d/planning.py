"""Dynamic programming: values of all positions on a grid, the best policy, and the best plan there is."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from bbo_bench.tasks.nav1d.environment import ETA, HORIZON, SIZE, advance, followed, returns, rewards

CELLS = 2000
"""Intervals of the grid of positions; its step divides ETA, so that actions lead from point to point."""


def grid(cells: int = CELLS) -> Tensor:
    """`cells + 1` positions from wall to wall."""
    return torch.linspace(-SIZE, SIZE, cells + 1, dtype=torch.double)


@cache
def optimal(cells: int = CELLS) -> tuple[Tensor, Tensor]:
    """Values V_t(s) of the best policy on the grid and its actions, two `H x (cells + 1)` tensors.

    V_t(s) = r_t(s) + max_a V_{t+1}(f(s, a)) over the actions that lead to a point of the grid; the last action is idle,
    and 0.

    Raises:
        ValueError: If the grid's step does not divide ETA.
    """
    step = 2 * SIZE / cells
    reach = round(ETA / step)
    if reach < 1 or abs(reach * step - ETA) > 1e-9:
        raise ValueError(f"expected a grid whose step divides {ETA}, got {cells} cells of {step:.4g}")
    value, move = backwards(rewards(grid(cells)[:, None].expand(-1, HORIZON)).T, reach)
    return value, move / reach


def backwards(reward: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Values and best moves where `H x n` rewards are on the points of a line and a move is of `reach` points at most.

    Moves stay on the line; the last is 0.
    """
    value, moves = [reward[-1]], [torch.zeros_like(reward[-1])]
    for now in reward[:-1].flip(0):
        ahead = torch.nn.functional.pad(value[-1], (reach, reach), value=-torch.inf)
        best, move = ahead.unfold(0, 2 * reach + 1, 1).max(1)
        value.append(now + best)
        moves.append((move - reach).to(reward))
    return torch.stack(value[::-1]), torch.stack(moves[::-1])


def value(time: Tensor, position: Tensor) -> Tensor:
    """Values of the best policy at `n` times and positions, between the points of the grid by interpolation.

    Beyond the horizon, at time H, they are 0.
    """
    values, _ = optimal()
    values = torch.cat([values, torch.zeros_like(values[:1])])
    place = (position.double() + SIZE) * CELLS / (2 * SIZE)
    low = place.long().clamp(max=CELLS - 1)
    share = place - low
    return (1 - share) * values[time, low] + share * values[time, low + 1]


def act(time: Tensor, position: Tensor) -> Tensor:
    """`n` best actions at `n` positions and times, those of the nearest points of the grid."""
    _, action = optimal()
    return action[time, ((position.double() + SIZE) * CELLS / (2 * SIZE)).round().long()].to(position)


def expectile_values(tau: float, cells: int = 400) -> tuple[Tensor, Tensor]:
    """`cells + 1` positions, and what implicit Q-learning should say of them on a random policy's data.

    `cells + 1 x H` values: V_t(s) = r_t(s) + the τ-expectile of V_{t+1}(f(s, a)) over uniform actions.
    """
    s = grid(cells)
    reward = rewards(s[:, None].expand(-1, HORIZON))
    action = torch.linspace(-1, 1, 81, dtype=torch.double).expand(len(s), -1)
    place = (advance(s[:, None].expand_as(action), action) + SIZE) * cells / (2 * SIZE)
    low = place.long().clamp(max=cells - 1)
    values = [reward[:, -1]]
    for t in reversed(range(HORIZON - 1)):
        ahead = values[-1][low].lerp(values[-1][low + 1], place - low)
        level = ahead.mean(1, keepdim=True)
        for _ in range(50):
            weight = torch.where(ahead > level, tau, 1 - tau)
            level = (weight * ahead).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        values.append(reward[:, t] + level[:, 0])
    return s, torch.stack(values[::-1], 1)


def best_plan() -> tuple[Tensor, Tensor]:
    """Start and `H` actions of the highest return, in double precision.

    The best of the grid, from which L-BFGS climbs between the points; the bounds are kept by a sine.
    """
    value, _ = optimal()
    start = grid()[value[0].argmax()]
    _, actions = followed(act, start[None])
    u = torch.cat([start[None] / SIZE, actions[0]]).clamp(-0.999, 0.999).asin().requires_grad_()
    climb = torch.optim.LBFGS(
        [u], max_iter=1000, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        climb.zero_grad()
        outcome = -returns(SIZE * u[:1].sin(), u[None, 1:].sin()).sum()
        torch.autograd.backward(outcome)
        return outcome

    climb.step(loss)  # type: ignore[no-untyped-call]
    bounded = u.detach().sin()
    return SIZE * bounded[0], bounded[1:]
