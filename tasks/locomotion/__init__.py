"""Locomotion: plans of MuJoCo's HalfCheetah and Hopper, from a given state, in the manner of D4RL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bbo_bench.control.data import Episodes, read
from bbo_bench.control.simulator import VERSION
from bbo_bench.control.task import LENGTH, PlanTask
from bbo_bench.core import Transitions
from bbo_bench.diffusion.prior import RECIPE
from bbo_bench.seeding import generator
from bbo_bench.tasks.locomotion.data import DIGESTS, Behaviour, episodes
from bbo_bench.tasks.locomotion.drawing import draw
from bbo_bench.tasks.locomotion.policies import Ladder
from bbo_bench.tasks.locomotion.robots import Robot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AFTER = 100
"""Steps of the behaviour policy after a plan, which show what state it leaves the robot in."""
TRAINING, HELD_OUT, STARTS = 65_536, 512, 1024
"""Plans to train on and held out, and how many of the former's starts plans are made from."""
UNHEARD = 0.05
"""Share of the data, at their end, whose plans are held out."""
BEYOND = 1.02
"""How far the domain reaches, in the largest numbers of a file."""


class Locomotion(PlanTask):
    """What a plan's actions gain over the best policy of the data, from where the plan begins.

    The score is the return of the actions and of 100 steps of the best policy in the data after them, less that of the
    policy from the start. Where the data come from a file, that policy is the best of ours.

    Args:
        robot: `halfcheetah` or `hopper`.
        data: `random`, `medium`, `medium_replay` or `medium_expert`, or a file of D4RL's or Minari's, as `read` takes
            it. Its prior lies in a folder beside it, of its name; before one is trained there, its recipe is that of
            `medium`.
        horizon: Steps of an episode that methods are judged by.
        control: See `PlanTask`.
        **facts: See `PlanTask`: noise_std and so on, framework and sampler.

    Raises:
        ValueError: If there is no such robot or data set, or a file is refused by `read`.
    """

    width = 0.1

    def __init__(self, robot: str, data: str, horizon: int, control: Mapping[str, Any], **facts: Any) -> None:
        ours = f"{robot}_{data}" in DIGESTS
        self._file = Path(data).expanduser() if not ours and (Path(data).suffix or Path(data).is_dir()) else None
        if not ours and not (self._file and f"{robot}_medium" in DIGESTS):
            raise ValueError(
                f"robot and data must be of {', '.join(DIGESTS)}, or data a file, got {robot!r} and {data!r}"
            )
        self.data = data
        self.environment = self.robot = Robot(robot, horizon)
        self.names, self.bounds = self.robot.names, self.robot.bounds
        self.size = self.robot.positions - 1 + self.robot.velocities
        ladder = Ladder.load(robot)
        self.behaviour = Behaviour.of(ladder, "medium_expert" if self._file else data).best(ladder)
        if self._file:
            reach = torch.maximum(self.bounds[: self.size, 1], BEYOND * self.episodes.observation.abs().amax(0))
            self.bounds[: self.size] = torch.stack([-reach, reach], 1)
        super().__init__(control, **facts)

    @property
    def folder(self) -> Path:
        """Every data set has a prior of its own; that of a file lies beside it."""
        if not self._file:
            return self._shipped(self.data)
        return self._file.with_name(self._file.stem + self.variant)

    @property
    def recipe(self) -> Path:
        """See `DiffusionTask.recipe`."""
        return self.folder if not self._file or (self.folder / RECIPE).exists() else self._shipped("medium")

    def _shipped(self, data: str) -> Path:
        return super().folder / f"{self.robot.name}_{data}{self.variant}"

    @cached_property
    def episodes(self) -> Episodes:
        """The data."""
        if not self._file:
            return episodes(self.robot.name, self.data)
        data = read(self._file, self.size, self.robot.actions, state={"qpos": 1, "qvel": 0})
        if not len(data.starts(LENGTH)):
            raise ValueError(f"{self._file} has no episode of {LENGTH} actions, nor one that ended before its time")
        return data

    def training_data(self) -> Tensor:
        """`65536 x 32 x (o + a)` plans that the behaviour has executed."""
        return self._windows(TRAINING, held_out=False)

    def reference(self) -> Tensor:
        """See `Task.reference`: 512 plans of other episodes."""
        return self._windows(HELD_OUT, held_out=True)

    def _windows(self, n: int, held_out: bool) -> Tensor:
        start = self.episodes.starts(LENGTH)
        unheard = start >= (1 - UNHEARD) * len(self.episodes.last)
        start = start[unheard == held_out]
        drawn = torch.randint(len(start), (n,), generator=generator(0, f"plans, held out: {held_out}"))
        return self.domain.clamp(self.episodes.windows(start[drawn], LENGTH))

    def starts(self) -> Tensor:
        """See `PlanTask.starts`."""
        return self._windows(STARTS, held_out=False)[:, 0, : self.size]

    def transitions(self) -> Transitions:
        """See `PlanTask.transitions`."""
        data, row = self.episodes, (~self.episodes.last).nonzero().flatten()
        following, fallen = data.observation[row + 1], data.fallen[row + 1]
        return Transitions(data.observation[row], data.action[row], data.reward[row], following, fallen)

    def begun(self, x: Tensor) -> Tensor:
        """See `PlanTask.begun`."""
        return self.robot.placed(x[:, 0, : self.size])

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`; -inf where the simulation breaks down.

        Raises:
            ValueError: If a plan does not lie in the domain.
        """
        start, same = torch.unique(self.domain.check(x)[:, 0, : self.size], dim=0, return_inverse=True)
        usual = self._followed(self.robot.placed(start), LENGTH + AFTER)
        outcome = self.execute(x)
        gained = outcome.rewards.sum(1) + self._followed(outcome.states[:, -1], AFTER)
        return (gained - usual[same]).nan_to_num(-torch.inf, -torch.inf, -torch.inf)

    def _followed(self, state: Tensor, steps: int) -> Tensor:
        """Returns of the best policy of the data from `n x s` states, NaN where the simulation breaks down."""
        total = torch.zeros(len(state), dtype=torch.double)
        for _ in range(steps):
            state, reward, _ = self.robot.step(state, self.behaviour(self.robot.observe(state)))
            total += reward
        return torch.where(state.isfinite().all(1), total, torch.nan)

    def errors(self, x: Tensor) -> Tensor:
        """See `PlanTask.errors`: of where a step leads from the planned state before it, by the planned action.

        Root mean squares over the numbers of an observation, in standard deviations of the data.
        """
        observation, action = self.steps(x)
        state = self.robot.placed(observation[:, :-1].flatten(0, 1))
        after = self.robot.observe(self.robot.step(state, action[:, :-1].flatten(0, 1)).state)
        off = (observation[:, 1:] - after.reshape(len(x), LENGTH - 1, self.size)) / self.scale[: self.size]
        return off.double().square().mean(-1).sqrt()

    def versions(self) -> dict[str, str]:
        """See `Task.versions`."""
        return {"mujoco": VERSION}

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: the robot from the side, as planned and, in black, as executed."""
        x = x.detach().cpu()[None]
        draw(self.robot, self.robot.placed(x[0, :, : self.size]), self.execute(x).states[0, :-1], axes)
