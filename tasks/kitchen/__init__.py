"""Kitchen: plans of a robot arm that moves a kettle, opens a cabinet or switches a lamp on, from a given state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bbo_bench.control.data import stepped
from bbo_bench.control.simulator import VERSION as MUJOCO
from bbo_bench.control.task import LENGTH, PlanTask
from bbo_bench.core import Transitions
from bbo_bench.tasks.kitchen.data import HELD_OUT, Demonstrations
from bbo_bench.tasks.kitchen.drawing import draw
from bbo_bench.tasks.kitchen.room import JOINTS, PACKAGE, SEEN, VERSION, Room

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BACK, BUSY = 0.15, 16
"""Radians up to which joints are in their usual places again, and actions after which an arm may have come back."""
UNIT = 1.05
"""What the three numbers of a kettle's quaternion are together, at most; more are of no rotation."""


class Kitchen(PlanTask):
    """What a plan's actions add to the shares of the ways that kettle, door and switch have to make.

    The score is 1 for a subtask that is brought from rest to its goal, and 3 at most.

    Args:
        horizon: Actions of an episode that methods are judged by.
        control: See `PlanTask`.
        **facts: See `PlanTask`: noise_std and so on, framework and sampler.
    """

    width = 0.02
    size = SEEN
    names = (
        *(f"joint_{k}" for k in range(1, JOINTS + 1)),
        *("kettle_x", "kettle_y", "kettle_z", "kettle_i", "kettle_j", "kettle_k", "door", "switch"),
        *(f"speed_{k}" for k in range(1, JOINTS + 1)),
    )
    bounds = torch.tensor(
        [
            *[[-3.0, 3.0], [-2.0, 2.0], [-3.0, 3.0], [-3.2, 0.2], [-3.0, 3.0], [-0.2, 4.0], [-3.0, 3.0]],
            *[[-1.5, 1.5], [-1.0, 2.0], [-0.5, 3.0], *[[-1.0, 1.0]] * 3, [-0.1, 0.5], [-0.8, 0.1]],
            *[[-1.0, 1.0]] * JOINTS,
        ],
        dtype=torch.float32,
    )

    def __init__(self, horizon: int, control: Mapping[str, Any], **facts: Any) -> None:
        self.environment = self.room = Room(horizon)
        super().__init__(control, **facts)
        self._off: tuple[Tensor, Tensor] | None = None

    @property
    def folder(self) -> Path:
        """Every framework has a prior of its own."""
        return super().folder / f"plans{self.variant}"

    @property
    def data(self) -> Demonstrations:
        """Demonstrations; the last 64 episodes are held out."""
        return Demonstrations.load()

    def training_data(self) -> Tensor:
        """`n x 32 x 22` plans that were executed, from every time at which 32 actions are left of an episode.

        But for where an arm that has come back waits for the next attempt: plans from there would begin by waiting.
        """
        data = self.data
        both = torch.cat([data.observation[:-HELD_OUT, :, :-1], data.action[:-HELD_OUT]], -1)
        aside = (both[..., :JOINTS] - self.room.observe(self.room.rest[None])[0, :JOINTS]).abs().amax(-1)
        waits = (aside < BACK) & (torch.arange(both.shape[2]) >= BUSY)
        windows = both.flatten(1, 2).unfold(1, LENGTH, 1).movedim(-1, 2)
        return self.domain.clamp(windows[~waits.flatten(1)[:, : windows.shape[1]]])

    def reference(self) -> Tensor:
        """See `Task.reference`: 192 plans from the beginnings of attempts of other episodes."""
        data = self.data
        both = torch.cat([data.observation[-HELD_OUT:, :, :LENGTH], data.action[-HELD_OUT:, :, :LENGTH]], -1)
        return self.domain.clamp(both.flatten(0, 1))

    def starts(self) -> Tensor:
        """See `PlanTask.starts`: the beginnings of attempts."""
        return self.data.start[:-HELD_OUT].flatten(0, 1)

    def transitions(self) -> Transitions:
        """See `PlanTask.transitions`."""
        data = self.data
        return stepped(*(each[:-HELD_OUT] for each in (data.observation, data.action, data.reward)))

    def begun(self, x: Tensor) -> Tensor:
        """See `PlanTask.begun`."""
        return self.room.placed(x[:, 0, :SEEN])

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`; -inf where a kettle begins with what is no rotation, or the simulation breaks down.

        Raises:
            ValueError: If a plan does not lie in the domain.
        """
        outcome = self.execute(self.domain.check(x))
        sound = self._turned(x) & outcome.states[:, -1].isfinite().all(1)
        return outcome.rewards.sum(1).masked_fill(~sound, -torch.inf)

    def _turned(self, x: Tensor) -> Tensor:
        """Whether the kettle's first numbers are of a rotation, `n` bools."""
        length: Tensor = x[:, 0, 10:13].double().norm(dim=1)
        return length <= UNIT

    def errors(self, x: Tensor) -> Tensor:
        """See `PlanTask.errors`: of where a step leads from the planned state before it, by the planned action.

        Metres by which hand, kettle, door or switch are elsewhere, the largest of the four. Kept for the last plans.
        """
        if self._off is None or not torch.equal(self._off[0], x):
            observation, action = self.steps(x)
            before = self.room.placed(observation[:, :-1].flatten(0, 1))
            after = self.room.observe(self.room.step(before, action[:, :-1].flatten(0, 1)).state)
            off = self.room.places(observation[:, 1:].flatten(0, 1)) - self.room.places(after)
            far = off.norm(dim=-1).amax(1).reshape(len(x), LENGTH - 1)
            self._off = x.clone(), torch.where(self._turned(x)[:, None], far, torch.inf)
        return self._off[1]

    def metrics(self, x: Tensor) -> dict[str, float]:
        """See `PlanTask.metrics`; and how many subtasks a plan completes, on average."""
        states = self.execute(x).states
        before, after = (self.room.completed(states[:, t]).double().sum(1) for t in (0, -1))
        return super().metrics(x) | {"completed": float((after - before).mean())}

    def versions(self) -> dict[str, str]:
        """See `Task.versions`."""
        return {"mujoco": MUJOCO, PACKAGE: VERSION}

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: arm, kettle, door and switch at four times, as planned and, in black, as executed."""
        x = x.detach().cpu()[None]
        executed = self.room.observe(self.execute(x).states[0])
        planned, happened = ((self.room.arm(seen), self.room.places(seen)) for seen in (x[0, :, :SEEN], executed))
        draw(planned, happened, axes)
