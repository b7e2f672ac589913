"""Demonstrations by search, which ship; `python -m bbo_bench.tasks.pusht.data` makes them anew, in some minutes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bbo_bench.control.data import Episodes
from bbo_bench.seeding import generator
from bbo_bench.tasks.pusht.planner import demonstrated
from bbo_bench.tasks.pusht.table import MOVING, SEEN, SUCCESS, Table

FILE = Path(__file__).with_name("demonstrations.npz")
TRAINING, HELD_OUT = 1024, 512
"""Demonstrations to learn from, and held out ones, which are the last."""
LONGEST = 100
"""Actions of a demonstration, at most: as long as an episode of gym-pusht."""
SHAPES = {"observation": (SEEN,), "action": (2,), "coverage": ()}
"""Of a row of each array of a file; `length` has the actions of each demonstration."""


def made(n: int = TRAINING + HELD_OUT) -> dict[str, Tensor]:
    """What a file has: rows of demonstrations one after the other, the last of each without an action."""
    table, rng = Table(), generator(0, "demonstrations")
    seen = table.observe(table.reset(n, rng))
    seeds = torch.randint(2**31, (n,), generator=rng).tolist()
    observations, actions, coverage, lengths = [], [], [], []
    for first, state, seed in tqdm(
        zip(seen, table.placed(seen).numpy(), seeds, strict=True), total=n, desc="pusht", mininterval=1
    ):
        shown = demonstrated(table.physics, state, LONGEST, np.random.default_rng(seed))
        states, taken = torch.from_numpy(shown.states), torch.from_numpy(shown.actions).half()
        observation = table.observe(states)
        observation[0] = first  # that of which the state was made
        observations.append(observation)
        actions.append(torch.cat([taken, taken.new_zeros(1, 2)]))
        coverage.append(states[:, MOVING].float())
        lengths.append(len(taken))
    return {
        "observation": torch.cat(observations),
        "action": torch.cat(actions),
        "coverage": torch.cat(coverage),
        "length": torch.tensor(lengths),
    }


@cache
def demonstrations(file: Path = FILE) -> Episodes:
    """Demonstrations of a file; where an episode has ended, the agent is drawn to where it is.

    Raises:
        ValueError: If there is no such file, or its arrays are not those of a file of demonstrations.
    """
    if not file.is_file():
        raise ValueError(f"expected demonstrations, as `made` makes them, and there is no {file}")
    with np.load(file) as opened:
        if set(opened) != {*SHAPES, "length"}:
            raise ValueError(f"{file}: expected the arrays {', '.join([*SHAPES, 'length'])}, got {', '.join(opened)}")
        read = {key: torch.from_numpy(opened[key]) for key in opened}
    rows = int(read["length"].sum()) + len(read["length"])
    for key, shape in SHAPES.items():
        if read[key].shape != (rows, *shape):
            raise ValueError(f"{file}: expected {key} of the shape {(rows, *shape)}, got {tuple(read[key].shape)}")
    observation, action, coverage = (read[key].float() for key in SHAPES)
    last = torch.zeros(rows, dtype=torch.bool)
    last[(read["length"] + 1).cumsum(0) - 1] = True
    reward = torch.where(last, 0, coverage.roll(-1) - coverage)
    action = torch.where(last[:, None], observation[:, :2].clamp(0, 512), action)
    return Episodes(observation, action, reward, last, last & (coverage > SUCCESS))


if __name__ == "__main__":
    arrays = made()
    written: dict[str, Any] = {key: value.numpy() for key, value in arrays.items()}
    np.savez_compressed(FILE, **written)
    ends = arrays["coverage"][(arrays["length"] + 1).cumsum(0) - 1]
    share, mean = float((ends > SUCCESS).double().mean()), float(arrays["length"].double().mean())
    print(f"{share:.1%} of {len(ends)} succeed, in {mean:.1f} actions, {FILE.stat().st_size / 1e6:.1f} MB")
