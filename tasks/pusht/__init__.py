"""PushT: plans of a round agent that pushes a T into its place, from a given state."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bbo_bench.control.data import Episodes
from bbo_bench.control.task import LENGTH, PlanTask
from bbo_bench.core import Transitions
from bbo_bench.tasks.pusht.data import HELD_OUT, demonstrations
from bbo_bench.tasks.pusht.drawing import draw
from bbo_bench.tasks.pusht.planner import corners
from bbo_bench.tasks.pusht.table import MOVING, SEEN, SIDE, VERSIONS, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FASTEST = 600.0
"""What an agent's velocities lie below after an action, in pixels a second."""
UNIT = 0.1
"""How far the length of a direction may be off 1."""


class PushT(PlanTask):
    """What a plan's actions add to the share of the goal that the T covers, from where the plan begins.

    The score is the coverage where the plan ends, or where the T has come to lie in place, less that at the start: it
    lies between −1 and 1.

    Args:
        horizon: Actions of an episode that methods are judged by.
        control: See `PlanTask`.
        **facts: See `PlanTask`: noise_std and so on, framework and sampler.
    """

    width = 10.0
    size = SEEN
    names = (
        *("agent_x", "agent_y", "agent_vx", "agent_vy", "t_x", "t_y", "t_cos", "t_sin"),
        *("target_x", "target_y"),
    )
    bounds = torch.tensor(
        [*[[0.0, SIDE]] * 2, *[[-FASTEST, FASTEST]] * 2, *[[0.0, SIDE]] * 2, *[[-1.0, 1.0]] * 2, *[[0.0, SIDE]] * 2],
        dtype=torch.float32,
    )

    def __init__(self, horizon: int, control: Mapping[str, Any], **facts: Any) -> None:
        self.environment = self.table = Table(horizon)
        super().__init__(control, **facts)
        self._off: tuple[Tensor, Tensor] | None = None

    @property
    def folder(self) -> Path:
        """Every framework has a prior of its own."""
        return super().folder / f"plans{self.variant}"

    @cached_property
    def episodes(self) -> Episodes:
        """Demonstrations; the last 512 are held out."""
        return demonstrations()

    @cached_property
    def _begin(self) -> Tensor:
        """The first row of every demonstration, and of the first that is held out."""
        ends = self.episodes.last.nonzero().flatten()
        return torch.cat([ends.new_zeros(1), ends[:-1] + 1])

    def training_data(self) -> Tensor:
        """`n x 32 x 10` plans that were executed, from every time at which 32 actions are left, or success comes."""
        start = self.episodes.starts(LENGTH)
        return self._windows(start[start < self._begin[-HELD_OUT]])

    def reference(self) -> Tensor:
        """See `Task.reference`: 512 plans from the beginnings of other episodes."""
        return self._windows(self._begin[-HELD_OUT:])

    def _windows(self, start: Tensor) -> Tensor:
        return self.domain.clamp(self.episodes.windows(start, LENGTH))

    def starts(self) -> Tensor:
        """See `PlanTask.starts`: the beginnings of episodes."""
        return self.episodes.observation[self._begin[:-HELD_OUT]]

    def transitions(self) -> Transitions:
        """See `PlanTask.transitions`."""
        data, row = self.episodes, (~self.episodes.last).nonzero().flatten()
        row = row[row < self._begin[-HELD_OUT]]
        following, ended = data.observation[row + 1], data.fallen[row + 1]
        return Transitions(data.observation[row], data.action[row], data.reward[row], following, ended)

    def begun(self, x: Tensor) -> Tensor:
        """See `PlanTask.begun`."""
        return self.table.placed(x[:, 0, :SEEN])

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`; -inf where a plan begins with what is no direction of a T.

        Raises:
            ValueError: If a plan does not lie in the domain.
        """
        gained = self.execute(self.domain.check(x)).rewards.sum(1)
        return gained.masked_fill(~self._directed(x), -torch.inf)

    def _directed(self, x: Tensor) -> Tensor:
        """Whether the first cosine and sine of plans are of an angle, `n` bools."""
        length: Tensor = x[:, 0, 6:SEEN].double().norm(dim=1)
        return (length - 1).abs() <= UNIT

    def errors(self, x: Tensor) -> Tensor:
        """See `PlanTask.errors`: of where a step leads from the planned state before it, by the planned action.

        Pixels by which the agent or, on average, the corners of the T are elsewhere, the larger of the two. A T in
        place is as far off as it was when it came there, as nothing moves any more. Kept for the last plans.
        """
        if self._off is None or not torch.equal(self._off[0], x):
            observation, action = self.steps(x)
            before = self.table.placed(observation[:, :-1].flatten(0, 1))
            after = self.table.observe(self.table.step(before, action[:, :-1].flatten(0, 1)).state)
            off = apart(observation[:, 1:].flatten(0, 1), after).reshape(len(x), LENGTH - 1)
            in_place = self.table.over(before).reshape(off.shape)
            for t in range(1, LENGTH - 1):
                off[:, t] = torch.where(in_place[:, t], torch.maximum(off[:, t], off[:, t - 1]), off[:, t])
            self._off = x.clone(), torch.where(self._directed(x)[:, None], off, torch.inf)
        return self._off[1]

    def metrics(self, x: Tensor) -> dict[str, float]:
        """See `PlanTask.metrics`; and the mean coverage at the end, and the share of plans that succeed."""
        outcome = self.execute(x)
        covered = outcome.states[:, -1, MOVING]
        return super().metrics(x) | {
            "covered": float(covered.mean()),
            "success": float(outcome.success.double().mean()),
        }

    def versions(self) -> dict[str, str]:
        """See `Task.versions`."""
        return VERSIONS

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: the table at four times, as planned and, in black, as executed."""
        x = x.detach().cpu()[None]
        draw(x[0, :, :SEEN], self.table.observe(self.execute(x).states[0]), axes)


def apart(seen: Tensor, other: Tensor) -> Tensor:
    """Pixels between agents or, on average, between corners of Ts, whichever are more, in `n x o` observations."""
    agents = (seen - other)[:, :2].double().norm(dim=1)
    return torch.maximum(agents, (outlines(seen) - outlines(other)).norm(dim=-1).mean(1))


def outlines(seen: Tensor) -> Tensor:
    """`n x 8 x 2` corners of the T in `n x o` observations."""
    poses = torch.cat([seen[:, 4:6], torch.atan2(seen[:, 7], seen[:, 6])[:, None]], 1)
    return torch.from_numpy(corners(poses.double().numpy()))
