"""MetaWorld: plans of a robot arm that presses, opens, slides or sweeps, from a given state."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bbo_bench.control.data import stepped
from bbo_bench.control.simulator import VERSION
from bbo_bench.control.task import LENGTH, PlanTask
from bbo_bench.core import Transitions
from bbo_bench.tasks.metaworld.arm import SEEN, TASKS, Arm
from bbo_bench.tasks.metaworld.data import HELD_OUT, Demonstrations
from bbo_bench.tasks.metaworld.drawing import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLACE = [[-0.8, 0.8], [0.0, 1.2], [-0.1, 0.8]]
"""Bounds of a place, in metres."""
NEAR = 0.01
"""Distance of a plan's start from one that the simulator knows, in metres, up to which it is that one."""


class MetaWorld(PlanTask):
    """What a plan's actions gain over MetaWorld's own policy, from where the plan begins.

    The score is the sum of the dense rewards of executing the actions, 96 steps of at most 10, less the policy's from
    the same start. The goal is given, too, in all observations.

    Args:
        job: One of `TASKS`.
        control: See `PlanTask`.
        **facts: See `PlanTask`: noise_std and so on, framework and sampler.

    Raises:
        ValueError: If there is no such job.
    """

    width = 0.05
    size = SEEN
    names = (
        *("hand_x", "hand_y", "hand_z", "gripper", "object_x", "object_y", "object_z", "goal_x", "goal_y", "goal_z"),
        *("move_x", "move_y", "move_z", "grip"),
    )
    bounds = torch.tensor([*PLACE, [0.0, 1.0], *PLACE, *PLACE, *[[-1.0, 1.0]] * 4], dtype=torch.float32)

    def __init__(self, job: str, control: Mapping[str, Any], **facts: Any) -> None:
        if job not in TASKS:
            raise ValueError(f"job must be one of {', '.join(TASKS)}, got {job!r}")
        self.job = job
        self.environment = self.arm = Arm(job)
        super().__init__(control, **facts)
        self.given[:, 7:SEEN] = True

    @property
    def folder(self) -> Path:
        """Every job has a prior of its own."""
        return super().folder / f"{self.job}{self.variant}"

    @property
    def data(self) -> Demonstrations:
        """Demonstrations from all starts; the last 64 are held out."""
        return Demonstrations.load(self.job)

    def training_data(self) -> Tensor:
        """`17408 x 32 x 14` plans that were executed, from every time at which 32 actions are left."""
        both = torch.cat([self.data.observation[:-HELD_OUT, :, :-1], self.data.action[:-HELD_OUT]], -1)
        return self.domain.clamp(both.flatten(0, 1).unfold(1, LENGTH, 1).movedim(-1, 2).flatten(0, 1))

    def reference(self) -> Tensor:
        """See `Task.reference`: 512 plans from the beginnings of episodes from other starts."""
        data = self.data
        both = torch.cat([data.observation[-HELD_OUT:, :, :LENGTH], data.action[-HELD_OUT:, :, :LENGTH]], -1)
        return self.domain.clamp(both.flatten(0, 1))

    def starts(self) -> Tensor:
        """See `PlanTask.starts`: the beginnings of episodes."""
        return self.data.start[:-HELD_OUT]

    def transitions(self) -> Transitions:
        """See `PlanTask.transitions`."""
        data = self.data
        return stepped(*(each[:-HELD_OUT] for each in (data.observation, data.action, data.reward)))

    def begun(self, x: Tensor) -> Tensor:
        """See `PlanTask.begun`: the nearest start of the data."""
        return self.arm.started(self.data.drawn[self._nearest(x)[1]])

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`; -inf where a plan does not begin as an episode of the data does.

        Raises:
            ValueError: If a plan does not lie in the domain.
        """
        near, start = self._nearest(self.domain.check(x))
        gained = self.execute(x).rewards.sum(1) - self.data.expert[start, :LENGTH].double().sum(1)
        return gained.masked_fill(~near, -torch.inf)

    def _nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Whether plans begin as episodes of the data do, `n` bools, and as which, `n` numbers."""
        first, known = x[:, 0, :SEEN].double(), self.data.start.double()
        distance, number = torch.cdist(first, known, compute_mode="donot_use_mm_for_euclid_dist").min(1)
        return distance < NEAR, number

    def errors(self, x: Tensor) -> Tensor:
        """See `PlanTask.errors`: metres from where hand or object are planned to where they end up, the larger one."""
        off = (x[:, 1:, :7] - self.execute(x).states[:, 1:-1, :7]).double()
        far = torch.maximum(off[..., :3].norm(dim=-1), off[..., 4:].norm(dim=-1))
        return torch.where(self._nearest(x)[0][:, None], far, torch.inf)

    def metrics(self, x: Tensor) -> dict[str, float]:
        """See `PlanTask.metrics`; and the share of plans that succeed."""
        return super().metrics(x) | {"success": float(self.execute(x).success.double().mean())}

    def versions(self) -> dict[str, str]:
        """See `Task.versions`."""
        return {"mujoco": VERSION, "metaworld": version("metaworld")}

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: hand and object from above, as planned and, in black, as executed."""
        x = x.detach().cpu()[None]
        draw(x[0, :, :SEEN], self.arm.observe(self.execute(x).states[0]), axes)
