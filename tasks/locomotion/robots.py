"""HalfCheetah and Hopper as Gymnasium's version 5 has them, on bare MuJoCo, many episodes side by side."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Generator, Tensor

from bbo_bench.control.environment import Environment, Step
from bbo_bench.control.simulator import mujoco

KEPT = mujoco.mjtState.mjSTATE_QPOS | mujoco.mjtState.mjSTATE_QVEL | mujoco.mjtState.mjSTATE_WARMSTART
"""What a step depends on: positions, velocities, and what the solver of contacts begins with."""

HUGE = 1e10
"""No number of a state is as large, unless the simulation has broken down."""


class Body(NamedTuple):
    """What tells one robot from another: Gymnasium's defaults."""

    file: str
    frames: int
    """Steps of the simulation for an action."""
    cost: float
    """Of the square of an action."""
    noise: float
    """Of positions and velocities at the start."""
    normal: bool
    """Whether that of velocities is normal, not uniform."""
    alive: float
    """Reward for not having fallen; 0 for a robot that cannot fall."""
    reach: tuple[float, ...]
    """What the numbers of an observation lie below in size, a little beyond what any of the data sets shows."""


BODIES = {
    "halfcheetah": Body(
        "half_cheetah.xml",
        frames=5,
        cost=0.1,
        noise=0.1,
        normal=True,
        alive=0.0,
        reach=(0.7, 8.0, *[1.2] * 6, 6.0, 4.5, 9.5, *[27.0] * 6),
    ),
    "hopper": Body(
        "hopper.xml",
        frames=4,
        cost=1e-3,
        noise=5e-3,
        normal=False,
        alive=1.0,
        reach=(1.8, 0.3, 1.8, 1.8, 1.1, 5.5, 5.5, 9.5, 10.0, 12.0, 25.0),
    ),
}


class Robot(Environment):
    """A robot that is to run: a step's reward is its speed, less what actions cost; who has fallen lies still.

    States are positions, velocities and the solver's start, in double precision. Observations are positions but for
    that along the way, and velocities: all that the way from here depends on. (Gymnasium cuts a Hopper's velocities
    at ±10, so that states cannot be told from observations.) Where the simulation breaks down, states are NaN.

    Args:
        name: One of `BODIES`.
        horizon: Steps of an episode.
    """

    def __init__(self, name: str, horizon: int = 1000) -> None:
        self.name, self.horizon, self.body = name, horizon, BODIES[name]
        assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
        self._model = mujoco.MjModel.from_xml_path(str(assets / self.body.file))
        self._model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET  # to the start, where it breaks down
        self._data = mujoco.MjData(self._model)
        self._start = torch.from_numpy(self._data.qpos.copy())
        self.positions, self.velocities, self.actions = self._model.nq, self._model.nv, self._model.nu
        self.seconds = self._model.opt.timestep * self.body.frames
        """Of an action."""
        joints = [self._model.joint(i).name for i in range(self.positions)]
        motors = [f"{self._model.joint(i).name}_torque" for i in self._model.actuator_trnid[:, 0]]
        self.names = (*joints[1:], *(f"{joint}_speed" for joint in joints), *motors)
        """Of the numbers of an observation and an action."""

    @property
    def bounds(self) -> Tensor:
        """`o + a x 2`: what observations and actions lie between."""
        reach = torch.tensor([*self.body.reach, *[1.0] * self.actions], dtype=torch.float32)
        return torch.stack([-reach, reach], 1)

    def reset(self, n: int, rng: Generator) -> Tensor:
        """See `Environment.reset`."""
        noise = self.body.noise
        position = self._start + noise * (2 * torch.rand(n, self.positions, generator=rng, dtype=torch.double) - 1)
        if self.body.normal:
            velocity = noise * torch.randn(n, self.velocities, generator=rng, dtype=torch.double)
        else:
            velocity = noise * (2 * torch.rand(n, self.velocities, generator=rng, dtype=torch.double) - 1)
        return torch.cat([position, velocity, torch.zeros_like(velocity)], 1)

    def observe(self, state: Tensor) -> Tensor:
        """See `Environment.observe`."""
        return state[:, 1 : self.positions + self.velocities].float()

    def placed(self, observation: Tensor) -> Tensor:
        """`n x s` states, at 0 along the way, of `n x o` observations."""
        state = observation.new_zeros(len(observation), self.positions + 2 * self.velocities, dtype=torch.double)
        state[:, 1 : self.positions + self.velocities] = observation
        return state

    def step(self, state: Tensor, action: Tensor) -> Step:
        """See `Environment.step`; actions beyond ±1 are cut, as the motors cut them."""
        action = action.double().clamp(-1, 1)
        after, going = state.clone(), ~self.over(state)
        rows, controls = after.numpy(), action.numpy()
        for i in going.nonzero().flatten().tolist():
            mujoco.mj_setState(self._model, self._data, rows[i], KEPT)
            self._data.ctrl[:] = controls[i]
            mujoco.mj_step(self._model, self._data, self.body.frames)
            mujoco.mj_getState(self._model, self._data, rows[i], KEPT)
        after[~(after.abs() < HUGE).all(1)] = torch.nan
        speed = (after[:, 0] - state[:, 0]) / self.seconds
        reward = speed.nan_to_num() - self.body.cost * action.square().sum(1) + self.body.alive * ~self.over(after)
        return Step(after, torch.where(going, reward, 0), torch.zeros(len(state), dtype=torch.bool))

    def limbs(self, state: Tensor) -> Tensor:
        """`n x k x 2 x 2`: ends of limbs from the side, in metres from the trunk and above the ground."""
        capsules = (self._model.geom_type == mujoco.mjtGeom.mjGEOM_CAPSULE).nonzero()[0]
        ends = np.empty((len(state), len(capsules), 2, 2))
        for i, row in enumerate(state.numpy()):
            mujoco.mj_setState(self._model, self._data, row, KEPT)
            mujoco.mj_kinematics(self._model, self._data)
            middle = self._data.geom_xpos[capsules][:, [0, 2]] - [row[0], 0]
            reach = self._data.geom_xmat[capsules][:, [2, 8]] * self._model.geom_size[capsules, 1:2]
            ends[i] = np.stack([middle - reach, middle + reach], 1)
        return torch.from_numpy(ends)

    def over(self, state: Tensor) -> Tensor:
        """See `Environment.over`: where a robot has fallen, or the simulation has broken down."""
        if not self.body.alive:
            return ~state.isfinite().all(1)
        rest = state[:, 2 : self.positions + self.velocities]
        return ~((state[:, 1] > 0.7) & (state[:, 2].abs() < 0.2) & (rest.abs() < 100).all(1))
