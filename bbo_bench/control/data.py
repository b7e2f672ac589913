"""Recorded episodes, and the files in which others keep theirs: D4RL's HDF5 and Minari's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bbo_bench.core import Transitions
from bbo_bench.seeding import generator

if TYPE_CHECKING:
    import h5py

INNER = Path("data", "main_data.hdf5")
"""Where in its folder a data set of Minari's has its episodes."""


class Episodes(NamedTuple):
    """Episodes one after the other; the last row of each is what the last action led to, and has no action."""

    observation: Tensor
    """`m x o`."""
    action: Tensor
    """`m x a`, 0 in last rows."""
    reward: Tensor
    """`m` numbers, 0 in last rows."""
    last: Tensor
    """`m` bools."""
    fallen: Tensor
    """`m` bools: the last row of an episode that ended before its time."""

    @classmethod
    def chained(cls, parts: Sequence[Self]) -> Self:
        """All episodes of several."""
        return cls(*map(torch.cat, zip(*parts, strict=True)))

    def windows(self, start: Tensor, length: int) -> Tensor:
        """`n x length x (o + a)` observations and actions from the `n` rows `start` on; after a fall, nothing moves."""
        rows = start[:, None] + torch.arange(length)
        rows = torch.minimum(rows, self._ends[start, None])
        return torch.cat([self.observation[rows], self.action[rows]], -1)

    def starts(self, length: int) -> Tensor:
        """The rows from which there are `length` actions to the end of an episode, or from which a robot will fall."""
        row = torch.arange(len(self.last))
        return ((row < self._ends) & ((row + length <= self._ends) | self.fallen[self._ends])).nonzero().flatten()

    @property
    def _ends(self) -> Tensor:
        """The last row of every row's episode."""
        ends = self.last.nonzero().flatten()
        return ends[torch.searchsorted(ends, torch.arange(len(self.last)))]


def stepped(observation: Tensor, action: Tensor, reward: Tensor) -> Transitions:
    """All steps of `m x j x (k+1) x o` observations, `m x j x k x a` actions, `m x j x k` rewards; no episode ends."""
    before, after = observation[:, :, :-1].flatten(0, 2), observation[:, :, 1:].flatten(0, 2)
    reward = reward.flatten()
    return Transitions(before, action.flatten(0, 2), reward, after, torch.zeros(len(reward), dtype=torch.bool))


def read(path: Path, observation: int, action: int, state: Mapping[str, int] | None = None) -> Episodes:
    """Episodes of a file of D4RL's or Minari's, in an order that is drawn: parts of a file may differ.

    Args:
        path: An HDF5 file, or a folder of Minari's.
        observation: Numbers of an observation.
        action: Numbers of an action.
        state: Where a file has the simulator's own numbers, the names of those that are observed in the place of the
            file's observations, and how many of the first of each are not: these may be cut, or noisy.

    Raises:
        ImportError: If h5py is not installed.
        ValueError: If there is no such file, it is in no such format, or what it holds has another shape or is not
            finite.
    """
    file = path / INNER if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"expected an HDF5 file of D4RL's or a folder of Minari's, and there is no {file}")
    try:
        import h5py
    except ImportError:
        raise ImportError("data sets of one's own need h5py: pip install h5py") from None
    try:
        opened = h5py.File(file)
    except OSError as error:
        raise ValueError(f"{file} is no HDF5 file: {error}") from error
    with opened:
        parts = list((_minari if "episode_0" in opened else _d4rl)(opened, state or {}))
    if not parts:
        raise ValueError(f"{file} has no episodes")
    for part in parts:
        for name, found, width in (("observation", part.observation, observation), ("action", part.action, action)):
            if found.shape[1:] != (width,):
                raise ValueError(
                    f"{file}: expected {width} numbers of an {name}, got the shape {tuple(found.shape[1:])}: "
                    "is it of another environment?"
                )
        if not all(each.isfinite().all() for each in part[:3]):
            raise ValueError(f"{file} has numbers that are not finite")
    order = torch.randperm(len(parts), generator=generator(0, "episodes")).tolist()
    return Episodes.chained([parts[k] for k in order])


def _d4rl(file: h5py.File, state: Mapping[str, int]) -> Iterator[Episodes]:
    """Rows of all episodes; where files are of before they had `next_observations`, what an end led to is not known.

    An episode that was cut there loses its last action; one that ended by itself ends in the state before.
    """
    observation, action, reward, ended = _columns(file, "observations", "actions", "rewards", "terminals")
    ended = ended.astype(bool)
    cut = file["timeouts"][:].astype(bool) if "timeouts" in file else np.zeros_like(ended)
    following = file["next_observations"][:] if "next_observations" in file else None
    columns = (observation, action, reward, ended, cut, observation if following is None else following)
    if len({len(each) for each in columns}) > 1:
        raise ValueError(
            f"{file.filename}: expected as many observations as actions, rewards, terminals, timeouts and next "
            f"observations, got {', '.join(str(len(each)) for each in columns)}"
        )
    cut[-1:] = True
    seen = _observed(file, observation, state)
    begin = 0
    for end in (ended | cut).nonzero()[0].tolist():
        rows = slice(begin, end + 1)
        begin = end + 1
        if following is not None or ended[end]:
            final = seen[end] if following is None else following[end]
            yield _episode(np.r_[seen[rows], final[None]], action[rows], reward[rows], bool(ended[end]))
        elif end > rows.start:
            yield _episode(seen[rows], action[rows][:-1], reward[rows][:-1], False)


def _minari(file: h5py.File, state: Mapping[str, int]) -> Iterator[Episodes]:
    """Groups with one more observation than actions."""
    for name in sorted(file, key=lambda name: int(re.sub(r"\D", "", name))):
        group = file[name]
        observation, action, reward, ended = _columns(group, "observations", "actions", "rewards", "terminations")
        if not len(observation) - 1 == len(action) == len(reward) == len(ended):
            lengths = [len(each) for each in (observation, action, reward, ended)]
            raise ValueError(f"{file.filename}: expected one observation more than actions in {name}, got {lengths}")
        if len(action):
            yield _episode(_observed(group, observation, state), action, reward, bool(ended[-1]))


def _columns(group: h5py.Group, *names: str) -> list[NDArray[Any]]:
    if missing := [name for name in names if not hasattr(group.get(name), "shape")]:
        raise ValueError(
            f"{group.file.filename}: expected arrays {', '.join(names)} in {group.name}, "
            f"{', '.join(missing)} not found among {', '.join(group)}"
        )
    return [group[name][:] for name in names]


def _observed(group: h5py.Group, observation: NDArray[Any], state: Mapping[str, int]) -> NDArray[Any]:
    """Observations, from the simulator's own numbers where a file has them."""
    names = [f"infos/{name}" for name in state]
    if not state or any(name not in group for name in names):
        return observation
    found = np.concatenate([group[name][:, skip:] for name, skip in zip(names, state.values(), strict=True)], 1)
    return found if len(found) == len(observation) else observation


def _episode(observation: NDArray[Any], action: NDArray[Any], reward: NDArray[Any], ended: bool) -> Episodes:
    last = torch.arange(len(observation)) == len(action)
    return Episodes(
        torch.from_numpy(observation.astype(np.float32)),
        torch.from_numpy(np.r_[action, np.zeros_like(action[:1])].astype(np.float32)),
        torch.from_numpy(np.r_[reward, 0].astype(np.float32)),
        last,
        last & ended,
    )
