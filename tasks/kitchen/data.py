"""Demonstrations by a script, which ship; `python -m bbo_bench.tasks.kitchen.data` makes them anew, in ten minutes.

Of observations a file has how far they are from those at rest, in half precision.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bbo_bench.seeding import generator
from bbo_bench.tasks.kitchen.room import JOINTS, SEEN, SUBTASKS, Room
from bbo_bench.tasks.kitchen.script import chained

FILE = Path(__file__).with_name("demonstrations.npz")
TRAINING, HELD_OUT = 160, 64
"""Episodes to learn from, and held out ones, which are the last."""
STEPS = 48
"""Actions of an attempt at a subtask."""
NOISE = 0.2
"""Highest standard deviation of the noise on actions; each attempt has its own."""


class Demonstrations(NamedTuple):
    """`m` episodes of attempts at the three subtasks, 48 actions each, one attempt after the other."""

    order: Tensor
    """`m x 3`: numbers of the subtasks that are tried."""
    start: Tensor
    """`m x 3 x 15`: what is observed at the beginnings of the attempts, in single precision."""
    observation: Tensor
    """`m x 3 x 49 x 15`, the first of them as in `start`."""
    action: Tensor
    """`m x 3 x 48 x 7`."""
    reward: Tensor
    """`m x 3 x 48`."""
    done: Tensor
    """`m x 3` bools: whether an attempt ends with its subtask done."""

    @classmethod
    @cache
    def load(cls, file: Path = FILE) -> Self:
        """Those of a file.

        Raises:
            ValueError: If there is no such file, or its arrays are not those of demonstrations.
        """
        if not file.is_file():
            raise ValueError(f"expected demonstrations, as `made` makes them, and there is no {file}")
        with np.load(file) as opened:
            if set(opened) != {*cls._fields, "usual"}:
                raise ValueError(
                    f"{file}: expected the arrays {', '.join(cls._fields)}, usual, got {', '.join(opened)}"
                )
            read = {key: torch.from_numpy(opened[key]) for key in opened}
        n = len(read["order"])
        shapes = [(3,), (3, SEEN), (3, STEPS + 1, SEEN), (3, STEPS, JOINTS), (3, STEPS), (3,)]
        for key, shape in zip(cls._fields, shapes, strict=True):
            if read[key].shape != (n, *shape):
                raise ValueError(f"{file}: expected {key} of the shape {(n, *shape)}, got {tuple(read[key].shape)}")
        observation = read.pop("usual") + read["observation"].float()
        observation[:, :, 0] = read["start"]
        return cls(**read | {"observation": observation, "action": read["action"].float()})


def made(n: int = TRAINING + HELD_OUT) -> Demonstrations:
    """Demonstrations, anew."""
    room, rng, rows = Room(), generator(0, "demonstrations kitchen"), list[tuple[Tensor, ...]]()
    for _ in tqdm(range(n), desc="kitchen", mininterval=1):
        noise = NOISE * torch.rand(len(SUBTASKS), generator=rng)
        attempts, order = chained(room, noise, STEPS, rng)
        states = torch.stack([each.states for each in attempts])
        seen = room.observe(states.flatten(0, 1)).reshape(*states.shape[:2], -1)
        done = torch.stack([room.completed(each[-1:])[0, k] for each, k in zip(states, order, strict=True)])
        action, reward = (torch.stack([each[i] for each in attempts]).float() for i in (1, 2))
        rows.append((torch.tensor(order), seen[:, 0], seen, action, reward, done))
    return Demonstrations(*(torch.stack(each) for each in zip(*rows, strict=True)))


def write(data: Demonstrations, file: Path) -> None:
    """Keep demonstrations in a file."""
    usual = Room().observe(Room().rest[None])[0]
    halved = data._replace(observation=(data.observation - usual).half(), action=data.action.half())
    np.savez_compressed(file, usual=usual.numpy(), **{key: value.numpy() for key, value in halved._asdict().items()})


if __name__ == "__main__":
    data = made()
    write(data, FILE)
    for k, name in enumerate(SUBTASKS):
        tried = data.order == k
        share, gained = (float(each[tried].double().mean()) for each in (data.done, data.reward.sum(-1)))
        print(f"{name}: {share:.1%} of {int(tried.sum())} done, {gained:.3f} of the way")
    print(f"{float(data.done.sum(1).double().mean()):.2f} of 3 an episode, {FILE.stat().st_size / 1e6:.2f} MB")
