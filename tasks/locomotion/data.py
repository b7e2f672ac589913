"""Data sets in the manner of D4RL: episodes of policies that a search came by on its way, made on first use."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from tqdm import tqdm

from bbo_bench.control.data import Episodes
from bbo_bench.diffusion.consistency import cache
from bbo_bench.seeding import generator
from bbo_bench.tasks.locomotion.policies import Ladder
from bbo_bench.tasks.locomotion.robots import Robot

TRANSITIONS = 200_000
"""Of every data set, or a few more: it has whole episodes."""
BATCH = 50
"""Episodes made side by side."""
EXPLORED = 0.1
"""Standard deviation of the noise on a policy's actions; of twice that, these policies lose half of their returns."""
DIGESTS = {
    "halfcheetah_random": "c3a30b5f6458e100",
    "halfcheetah_medium": "f1842b42a40fcc5d",
    "halfcheetah_medium_replay": "927e3590c601467e",
    "halfcheetah_medium_expert": "18ec61adfbefaa11",
    "hopper_random": "d547b3bc5006ed81",
    "hopper_medium": "84edad8df7ffa86e",
    "hopper_medium_replay": "0712e8ef9d1775d8",
    "hopper_medium_expert": "b0a59cd82ffa3c79",
}
"""SHA-256 of the data where the priors were trained, its beginning."""


class Behaviour(NamedTuple):
    """Who has made a data set: policies by turns, with normal noise on their actions; without one, uniform actions."""

    rungs: list[int]
    """Numbers of policies of the ladder."""

    @classmethod
    def of(cls, ladder: Ladder, data: str) -> Behaviour:
        """That of a data set: `random`, `medium`, `medium_replay` or `medium_expert`."""
        medium, best = ladder.medium, ladder.best
        rungs = {
            "random": [],
            "medium": [medium],
            "medium_replay": [*range(medium + 1)],
            "medium_expert": [medium, best],
        }
        return cls(rungs[data])

    def best(self, ladder: Ladder) -> Callable[[Tensor], Tensor]:
        """The best policy of it, without noise: actions `n x a` at `n x o` observations; idle where it is random."""
        if not self.rungs:
            return lambda observation: observation.new_zeros(len(observation), ladder.weight.shape[1])
        k = torch.tensor(self.rungs[int(ladder.returns[self.rungs].argmax())])
        return lambda observation: ladder.act(k.expand(len(observation)), observation)


def episodes(name: str, data: str) -> Episodes:
    """A data set, read from the folder of what is made on first use, or made, in about a minute."""
    file = cache() / "locomotion" / f"{name}_{data}.npz"
    if not file.exists():
        made = simulated(name, data)
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f"{os.getpid()}.part.npz")  # other runs may be looking for it
        np.savez(aside, **{key: value.numpy() for key, value in made._asdict().items()})
        aside.replace(file)
        found, expected = digest(made), DIGESTS[f"{name}_{data}"]
        if found != expected:
            warnings.warn(
                f"the data of {name}_{data} are not those that its prior was trained on, byte for byte (expected "
                f"{expected}, got {found}): another processor rounds otherwise, and so are figures comparable "
                "but not equal",
                stacklevel=2,
            )
    with np.load(file) as read:
        return Episodes(*(torch.from_numpy(read[field]) for field in Episodes._fields))


def digest(data: Episodes) -> str:
    """The beginning of the SHA-256 of all numbers."""
    total = hashlib.sha256()
    for each in data:
        total.update(each.numpy().tobytes())
    return total.hexdigest()[:16]


def simulated(name: str, data: str) -> Episodes:
    """A data set, made anew."""
    robot, ladder, rng = Robot(name), Ladder.load(name), generator(0, f"{name} {data}")
    behaviour = Behaviour.of(ladder, data)
    parts, count = list[Episodes](), 0
    with tqdm(total=TRANSITIONS, desc=f"simulating {name} {data}", unit=" steps", mininterval=1) as bar:
        while count < TRANSITIONS:
            parts.append(_batch(robot, ladder, behaviour, BATCH * len(parts), rng))
            made = int((~parts[-1].last).sum())
            count += made
            bar.update(made)
    return Episodes.chained(parts)


def _batch(robot: Robot, ladder: Ladder, behaviour: Behaviour, first: int, rng: Generator) -> Episodes:
    """Episodes whose policies take turns, the first being number `first` of all."""
    turn = first + torch.arange(BATCH)
    state, rows = robot.reset(BATCH, rng), list[tuple[Tensor, ...]]()
    alive = torch.ones(BATCH, dtype=torch.bool)
    for t in range(robot.horizon + 1):
        observation = robot.observe(state)
        if behaviour.rungs:
            k = torch.tensor(behaviour.rungs)[turn % len(behaviour.rungs)]
            action = ladder.act(k, observation)
            action = (action + EXPLORED * torch.randn(action.shape, generator=rng, dtype=torch.float32)).clamp(-1, 1)
        else:
            action = 2 * torch.rand(BATCH, robot.actions, generator=rng, dtype=torch.float32) - 1
        fallen = robot.over(state)
        last = alive & (fallen | (t == robot.horizon))
        going = alive & ~last
        outcome = robot.step(state, action)
        rows.append(
            (observation, action * going[:, None], (outcome.reward * going).float(), last, last & fallen, alive)
        )
        state, alive = outcome.state, going
        if not alive.any():
            break
    *fields, there = (torch.stack(each, 1) for each in zip(*rows, strict=True))
    return Episodes(*(each[there] for each in fields))
