"""Demonstrations by MetaWorld's own policies.

`python -m bbo_bench.tasks.metaworld.data plate_slide` makes a file of them anew, in some minutes.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bbo_bench.seeding import generator
from bbo_bench.tasks.metaworld.arm import SEEN, Arm, Script

STARTS, HELD_OUT, EACH = 192, 64, 8
"""Starts, how many of them are held out, and demonstrations from each."""
NOISE = 0.3
"""Highest standard deviation of the noise on the hand's moves; each demonstration has its own."""


class Demonstrations(NamedTuple):
    """Demonstrations from `m` starts, 8 from each, of 48 actions."""

    drawn: Tensor
    """`m x k` in double precision: what is drawn at a start, places of object and goal."""
    start: Tensor
    """`m x 10`: the observations of the starts, in single precision."""
    observation: Tensor
    """`m x 8 x 49 x 10`, the first of them as in `start`."""
    action: Tensor
    """`m x 8 x 48 x 4`."""
    reward: Tensor
    """`m x 8 x 48`."""
    success: Tensor
    """`m x 8` bools: whether the goal was reached."""
    expert: Tensor
    """`m x 48` rewards of the policy without noise."""

    @classmethod
    @cache
    def load(cls, name: str) -> Self:
        """Those of a task."""
        with np.load(Path(__file__).with_name(f"{name}.npz")) as file:
            read = [torch.from_numpy(file[key]) for key in cls._fields]
        data = cls(*(each.float() if each.dtype == torch.half else each for each in read))
        data.observation[:, :, 0] = data.start[:, None]
        return data


def made(name: str) -> Demonstrations:
    """Demonstrations, in some minutes."""
    arm, rng = Arm(name), generator(0, f"demonstrations {name}")
    script, start = Script(arm), arm.reset(STARTS, rng)
    drawn = start[:, SEEN : SEEN + arm.drawn]
    noise = NOISE * torch.rand(STARTS, 1 + EACH, 1, generator=rng, dtype=torch.float32)
    noise[:, 0] = 0
    state = start[:, None].expand(-1, 1 + EACH, -1).flatten(0, 1)
    seen, actions, rewards, success = [arm.observe(state)], [], [], torch.zeros(len(state), dtype=torch.bool)
    for _ in tqdm(range(arm.horizon), desc=name):
        action = script(state)
        moves = noise.flatten(0, 1) * torch.randn(len(state), 3, generator=rng, dtype=torch.float32)
        action[:, :3] = (action[:, :3] + moves).clamp(-1, 1)
        action = action.half().float()  # as it is written
        state, reward, reached = arm.step(state, action)
        seen.append(arm.observe(state))
        actions.append(action)
        rewards.append(reward.float())
        success |= reached
    shape = (STARTS, 1 + EACH)
    reward = torch.stack(rewards, 1).reshape(*shape, -1)
    return Demonstrations(
        drawn=drawn,
        start=arm.observe(start),
        observation=torch.stack(seen, 1).reshape(*shape, arm.horizon + 1, -1)[:, 1:],
        action=torch.stack(actions, 1).reshape(*shape, arm.horizon, -1)[:, 1:],
        reward=reward[:, 1:],
        success=success.reshape(shape)[:, 1:],
        expert=reward[:, 0],
    )


if __name__ == "__main__":
    for name in sys.argv[1:]:
        data = made(name)
        halved = data._replace(observation=data.observation.half(), action=data.action.half())
        file = Path(__file__).with_name(f"{name}.npz")
        np.savez_compressed(file, **{key: value.numpy() for key, value in halved._asdict().items()})
        share, mean, own = (
            float(it.double().mean()) for it in (data.success, data.reward.sum(-1), data.expert.sum(-1))
        )
        size = file.stat().st_size / 1e6
        print(f"{name}: {share:.1%} succeed, return {mean:.0f}, of the policy itself {own:.0f}, {size:.1f} MB")
