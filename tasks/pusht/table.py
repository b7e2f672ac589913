"""PushT as gym-pusht has it, as an environment whose states can be kept and gone on from."""

from __future__ import annotations

import math
import os
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pymunk.vec2d import Vec2d
from torch import Generator, Tensor

from bbo_bench.control.environment import Environment, Step

VERSIONS = {"gym-pusht": "0.1.8", "pymunk": "6.11.1"}
for _package, _expected in VERSIONS.items():
    if version(_package) != _expected:
        raise ImportError(
            f"expected {_package} {_expected}, got {version(_package)}, under which data and scores differ: "
            f"pip install {' '.join(f'{name}=={pin}' for name, pin in VERSIONS.items())}"
        )
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # which it prints to what commands print to

from gym_pusht.envs.pusht import PushTEnv  # noqa: E402

Array = npt.NDArray[np.float64]

REPEATED = 3
"""Steps of gym-pusht, of a tenth of a second, for which an action is held."""
MOVING = 10
"""Numbers of a state that move: place and velocity of the agent; place, angle, velocity and spin of the T."""
SEEN = 8
"""Numbers of an observation: place and velocity of the agent, place of the T, cosine and sine of its angle."""
SUCCESS = 0.95
"""Share of the goal that a T in place covers, more than."""
SIDE = 512.0
"""Of the table, in its pixels."""


class Physics(PushTEnv):  # type: ignore[misc]
    """gym-pusht's own steps, without what it looks at and draws after each."""

    def get_obs(self) -> None:
        """See `PushTEnv.get_obs`: nothing, as states are kept whole."""

    def _handle_collision(self, *contact: object) -> None:
        """Nothing, where gym-pusht counts contacts."""

    def _get_info(self) -> dict[str, Any]:
        return {}

    def _get_coverage(self) -> float:
        return 0.0  # of every step; see `coverage`

    def coverage(self) -> float:
        """The share of the goal that the T covers, by gym-pusht's measure, in millionths.

        The last digits of that differ from time to time, as areas are added up in the order of places in memory.
        """
        return round(float(super()._get_coverage()), 6)

    def place(self, row: Array) -> None:
        """Begin anew, in a space without contacts, from what moves of a state."""
        self._setup()
        agent_x, agent_y, agent_u, agent_v, x, y, angle, u, v, spin = row[:MOVING].tolist()
        self.agent.position, self.agent.velocity = (agent_x, agent_y), (agent_u, agent_v)
        self.block.angle = angle  # about the center of gravity, so that it moves
        self.block.position, self.block.velocity, self.block.angular_velocity = (x, y), (u, v), spin

    def moving(self) -> list[float]:
        """What moves of a state."""
        agent, block = self.agent, self.block
        return [
            *(*agent.position, *agent.velocity),
            *(*block.position, block.angle, *block.velocity, block.angular_velocity),
        ]

    def hold(self, target: Array) -> None:
        """Draw the agent to a target for the time of an action."""
        goal = Vec2d(*target.tolist())  # which adds faster than arrays of two numbers
        for _ in range(REPEATED):
            self.step(goal)


class Table(Environment):
    """A round agent that is to push a T into its place; the reward is what an action adds to the coverage of the goal.

    An action is where the agent is drawn to, in pixels of the table, and is held for three steps of gym-pusht.
    A state is what moves (see `MOVING`) and the coverage, in double precision. pymunk keeps contacts and what they
    press with from step to step, where nobody can read them: every action begins without, in a space of its own, so
    that states go on as they would have. An episode ends where more than 95% of the goal is covered; from then on
    nothing moves.

    Args:
        horizon: Actions of an episode.
    """

    goal = True

    def __init__(self, horizon: int = 64) -> None:
        self.horizon = horizon
        self.physics = Physics()

    def reset(self, n: int, rng: Generator) -> Tensor:
        """See `Environment.reset`: as gym-pusht draws them, but for where the T is in place already."""
        rows: list[Array] = []
        while len(rows) < n:
            self.physics.reset(seed=int(torch.randint(2**31, (1,), generator=rng)))
            row = np.array([*self.physics.moving(), self.physics.coverage()])
            if row[-1] <= SUCCESS:
                rows.append(row)
        return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, MOVING + 1, dtype=torch.double)

    def placed(self, observation: Tensor) -> Tensor:
        """`n x s` states that look like `n x o` observations; a T has no velocity then."""
        seen = observation.double()
        angle = [math.atan2(sin, cos) for cos, sin in seen[:, 6:].tolist()]  # torch's depends on what stands beside
        moving = torch.zeros(len(seen), MOVING, dtype=torch.double)
        moving[:, :6], moving[:, 6] = seen[:, :6], torch.tensor(angle, dtype=torch.double)
        coverage = []
        for row in moving.numpy():
            self.physics.place(row)
            coverage.append(self.physics.coverage())
        return torch.cat([moving, torch.tensor(coverage, dtype=torch.double).reshape(-1, 1)], 1)

    def observe(self, state: Tensor) -> Tensor:
        """See `Environment.observe`."""
        direction = [(math.cos(angle), math.sin(angle)) for angle in state[:, 6].tolist()]
        return torch.cat([state[:, :6], torch.tensor(direction, dtype=torch.double).reshape(-1, 2)], 1).float()

    def over(self, state: Tensor) -> Tensor:
        """See `Environment.over`: where the T is in place."""
        return state[:, -1] > SUCCESS

    def step(self, state: Tensor, action: Tensor) -> Step:
        """See `Environment.step`; targets beyond the table are cut to its border."""
        after, targets = state.numpy().copy(), action.double().clamp(0, SIDE).numpy()
        for i in (~self.over(state)).nonzero().flatten().tolist():
            self.physics.place(after[i])
            self.physics.hold(targets[i])
            moving = self.physics.moving()
            covered = after[i, MOVING] if moving[4:7] == after[i, 4:7].tolist() else self.physics.coverage()
            after[i] = *moving, covered
        moved = torch.from_numpy(after)
        return Step(moved, moved[:, -1] - state[:, -1], self.over(moved))
