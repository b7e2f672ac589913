"""Linear policies, from one that does nothing to a good one, as augmented random search comes by them.

`python -m bbo_bench.tasks.locomotion.policies halfcheetah` searches anew, for some minutes, and writes the ladder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Generator, Tensor
from tqdm import tqdm

from bbo_bench.seeding import generator
from bbo_bench.tasks.locomotion.robots import Robot

DIRECTIONS, KEPT, RATE, EPISODES = 16, 8, 0.02, 16
"""Of the search: directions tried both ways in an iteration, the best of them followed, the length of a step; and
episodes by which a rung of the ladder is judged."""
EXPLORATION = {"halfcheetah": 0.03, "hopper": 0.025}
ITERATIONS = {"halfcheetah": 100, "hopper": 100}
RUNGS = 20
"""Policies that are written, evenly over the iterations."""


class Ladder(NamedTuple):
    """Policies from the first to the last of a search: a = clip(W (o - mean) / std, ±1)."""

    weight: Tensor
    """`k x a x o`."""
    mean: Tensor
    """`k x o`."""
    std: Tensor
    """`k x o`."""
    returns: Tensor
    """`k` mean returns of 16 episodes."""

    @property
    def best(self) -> int:
        """The number of the policy with the highest return."""
        return int(self.returns.argmax())

    @property
    def medium(self) -> int:
        """The number of the first policy with two fifths of that return."""
        return int((self.returns > 0.4 * self.returns.max()).nonzero()[0])

    def act(self, k: Tensor, observation: Tensor) -> Tensor:
        """`n x a` actions of the `n` policies `k` at `n x o` observations."""
        return acted(self.weight[k], self.mean[k], self.std[k], observation)

    @classmethod
    @cache
    def load(cls, name: str) -> Self:
        """The ladder of a robot."""
        with np.load(Path(__file__).with_name(f"{name}.npz")) as file:
            return cls(*(torch.from_numpy(file[field]) for field in cls._fields))


def acted(weight: Tensor, mean: Tensor, std: Tensor, observation: Tensor) -> Tensor:
    """`n x a` actions by `n x a x o` weights at `n x o` observations."""
    return torch.einsum("nao,no->na", weight, (observation - mean) / std).clamp(-1, 1)


def played(robot: Robot, state: Tensor, act: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Observations `n x H x o` of episodes from `n x s` states, and their `n x H` rewards."""
    observations, rewards = [], []
    for _ in range(robot.horizon):
        observations.append(robot.observe(state))
        state, reward, _ = robot.step(state, act(observations[-1]))
        rewards.append(reward)
    return torch.stack(observations, 1), torch.stack(rewards, 1)


def searched(name: str, rng: Generator) -> Ladder:
    """Augmented random search, version V2-t (Mania et al. 2018), without the reward for not falling.

    As that would teach a hopper to stand still.
    """
    robot = Robot(name)
    size = robot.positions - 1 + robot.velocities
    weight = torch.zeros(robot.actions, size)
    mean, std = torch.zeros(size), torch.ones(size)
    count, total, square = 0, torch.zeros(size, dtype=torch.double), torch.zeros(size, dtype=torch.double)
    rungs = []
    for i in (bar := tqdm(range(ITERATIONS[name] + 1), desc=name)):
        if i % (ITERATIONS[name] // RUNGS) == 0:
            start = robot.reset(EPISODES, generator(0, "rung"))
            rewards = played(robot, start, lambda o: acted(weight[None], mean, std, o))[1]  # noqa: B023
            rungs.append((weight.clone(), mean, std, rewards.sum(1).mean().float()))
            bar.set_postfix_str(f"return {float(rungs[-1][-1]):.0f}")
        direction = torch.randn(DIRECTIONS, *weight.shape, generator=rng)
        tried = weight + EXPLORATION[name] * torch.cat([direction, -direction])
        start = robot.reset(DIRECTIONS, rng).repeat(2, 1)
        seen, rewards = played(robot, start, lambda o: acted(tried, mean, std, o))  # noqa: B023
        going = seen.isfinite().all(-1) & (rewards != 0)
        ahead, back = (rewards - robot.body.alive * going).sum(1).float().chunk(2)
        top = torch.maximum(ahead, back).topk(KEPT).indices
        scale = torch.cat([ahead[top], back[top]]).std()
        weight = weight + RATE / (KEPT * scale) * torch.einsum("k,kao->ao", ahead[top] - back[top], direction[top])
        passed = seen[going].double()
        count, total, square = count + len(passed), total + passed.sum(0), square + passed.square().sum(0)
        mean = (total / count).float()
        std = (square / count - (total / count).square()).clamp(min=1e-12).sqrt().float()
    return Ladder(*map(torch.stack, zip(*rungs, strict=True)))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        ladder = searched(name, generator(0, f"search {name}"))
        np.savez_compressed(
            Path(__file__).with_name(f"{name}.npz"), **{k: v.numpy() for k, v in ladder._asdict().items()}
        )
        print(name, [round(each) for each in ladder.returns.tolist()], "medium", ladder.medium, "best", ladder.best)
