"""Franka Kitchen as gymnasium-robotics has it, as an environment whose states can be kept and gone on from."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from bbo_bench.control.environment import Environment, Step
from bbo_bench.control.simulator import mujoco

PACKAGE, VERSION = "gymnasium-robotics", "1.4.2"
if version(PACKAGE) != VERSION:
    raise ImportError(
        f"expected {PACKAGE} {VERSION}, got {version(PACKAGE)}, under which data and scores differ: "
        f"pip install {PACKAGE}=={VERSION}"
    )
with contextlib.redirect_stderr(io.StringIO()):  # on which it says of hands, not used here, that they have changed
    from gymnasium_robotics.envs.franka_kitchen.kitchen_env import (
        BONUS_THRESH,
        OBS_ELEMENT_GOALS,
        OBS_ELEMENT_INDICES,
        KitchenEnv,
    )

Array = npt.NDArray[np.float64]

REPEATED = 2
"""Steps of Franka Kitchen, of .08 seconds, for which an action is held."""
JOINTS = 7
"""Of the arm; the gripper's two are held closed."""
SUBTASKS = ("kettle", "slide cabinet", "light switch")
SEEN = 15
"""Numbers of an observation: joints, place of the kettle, the last three of its quaternion, door and switch."""
PLACES = ("end_effector", "kettle_site", "slide_site", "light_site")
"""Sites of the model: hand, the kettle's and the door's handles, switch."""
MOVED = [*range(JOINTS), 23, 24, 25, 27, 28, 29, 19, 17]
"""Where the numbers of an observation are among MuJoCo's positions."""
SPEC = mujoco.mjtState.mjSTATE_INTEGRATION
POSITIONS = slice(1, 31)
"""Of a state: what follows the time."""
DRAWN, ASIDE = 0.1, 0.02
"""How far at most joints, in radians, and the kettle, in metres, are from their usual places at the start."""
LAMP = 14.0
"""How much farther the switch moves than the lamp that it turns on."""
STRAIGHT = -1.75
"""The second joint's usual place, within its limits, which Franka Kitchen's is not."""
HUGE = 1e6
"""No number of a state is as large, unless the simulation has broken down."""


class Room(Environment):
    """A robot arm that is to put a kettle on a burner, slide a cabinet's door open and switch a lamp on.

    The reward of an action is what it adds to the shares that are made of the ways to the goals, in Franka Kitchen's
    distances, from where things stand at first; success is to have all three nearer than its .3. An action is held for
    two steps. States are MuJoCo's integration state, in double precision, NaN where the simulation breaks down. Franka
    Kitchen moves its arm from where it has last seen it: its noise is off, or what happens would depend on it.

    Args:
        horizon: Actions of an episode.
    """

    goal = True

    def __init__(self, horizon: int = 144) -> None:
        self.horizon = horizon
        self._robot = KitchenEnv(tasks_to_complete=[*SUBTASKS], robot_noise_ratio=0.0, object_noise_ratio=0.0).robot_env
        self.model, self.data = self._robot.model, self._robot.data
        self.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET  # to the start, where it breaks down
        self.seconds = self._robot.dt
        """Of one of its steps."""
        self._sites = [self.model.site(name).id for name in PLACES]
        self._links = [self.model.body(f"panda0_link{k}").id for k in range(JOINTS + 1)]
        self.rest = self._at_rest()
        """One state: the arm in its usual place, the gripper closed, and everything where it stands at first."""
        self._far = self.distances(self.rest[None])[0]

    def _at_rest(self) -> Tensor:
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self._robot.init_qpos
        self.data.qpos[1], self.data.qpos[JOINTS:9] = STRAIGHT, 0
        self.data.qpos[26:30] /= np.linalg.norm(self.data.qpos[26:30])
        row = np.empty(mujoco.mj_stateSize(self.model, SPEC))
        mujoco.mj_getState(self.model, self.data, row, SPEC)
        return torch.from_numpy(row)

    def reset(self, n: int, rng: Generator) -> Tensor:
        """See `Environment.reset`: arm and kettle a little aside from their usual places."""
        seen = self.observe(self.rest[None]).repeat(n, 1)
        aside = 2 * torch.rand(n, JOINTS + 2, generator=rng, dtype=torch.float32) - 1
        seen[:, :JOINTS] += DRAWN * aside[:, :JOINTS]
        seen[:, JOINTS : JOINTS + 2] += ASIDE * aside[:, JOINTS:]
        seen[:, 1].clamp_(min=STRAIGHT)
        return self.placed(seen)

    def observe(self, state: Tensor) -> Tensor:
        """See `Environment.observe`."""
        position = state[:, POSITIONS]
        seen = position[:, MOVED]
        seen[:, 10:13] *= torch.where(position[:, 26:27] < 0, -1, 1)
        return seen.float()

    def placed(self, observation: Tensor) -> Tensor:
        """`n x s` states, at rest, that look like `n x o` observations; what is not seen is as it is at first."""
        seen = observation.double()
        state = self.rest.repeat(len(seen), 1)
        position = state[:, POSITIONS]
        turned = seen[:, 10:13]
        turned = turned / turned.norm(dim=1, keepdim=True).clamp(min=1)
        position[:, MOVED] = seen
        position[:, 26] = (1 - turned.square().sum(1)).clamp(min=0).sqrt()
        position[:, 27:30] = turned
        position[:, 18] = position[:, 17] / LAMP
        return state

    def step(self, state: Tensor, action: Tensor) -> Step:
        """See `Environment.step`; actions beyond ±1 are cut."""
        after = state.clone()
        rows, controls = after.numpy(), np.full((len(after), 9), -1.0)
        controls[:, :JOINTS] = action.double().clamp(-1, 1).numpy()
        for i in state.isfinite().all(1).nonzero().flatten().tolist():
            self.restore(rows[i])
            self._hold(controls[i])
            mujoco.mj_getState(self.model, self.data, rows[i], SPEC)
        after[~(after[:, 1:].abs() < HUGE).all(1)] = torch.nan
        reward = (self.progress(after) - self.progress(state)).sum(1)
        return Step(after, reward.nan_to_num(0.0), self.completed(after).all(1))

    def restore(self, row: Array) -> None:
        """Go to a state of `s` numbers."""
        mujoco.mj_setState(self.model, self.data, row, SPEC)

    def _hold(self, action: Array) -> None:
        """Franka Kitchen's steps, without what it looks at after each: it moves the arm from where it was seen last."""
        robot = self._robot
        for _ in range(REPEATED):
            robot._last_robot_qpos = self.data.qpos[:9].copy()
            target = robot._ctrl_position_limits(robot._ctrl_velocity_limits(robot.act_mid + robot.act_rng * action))
            robot.do_simulation(target, robot.frame_skip)

    def distances(self, state: Tensor) -> Tensor:
        """`n x 3` distances to the goals of the subtasks, as Franka Kitchen measures them."""
        position = state[:, POSITIONS].double()
        goals = [torch.from_numpy(OBS_ELEMENT_GOALS[name]).double() for name in SUBTASKS]
        indices = [OBS_ELEMENT_INDICES[name].tolist() for name in SUBTASKS]
        return torch.stack([(position[:, i] - g).norm(dim=1) for i, g in zip(indices, goals, strict=True)], 1)

    def progress(self, state: Tensor) -> Tensor:
        """`n x 3` shares of the ways to the goals that are made, of which none counts as less than −1."""
        return (1 - self.distances(state) / self._far).clamp(min=-1)

    def completed(self, state: Tensor) -> Tensor:
        """`n x 3` bools: whether subtasks are done, as Franka Kitchen has it."""
        done: Tensor = self.distances(state) < BONUS_THRESH
        return done

    def places(self, observation: Tensor) -> Tensor:
        """`n x 4 x 3`: where hand, kettle, door and switch are in `n x o` observations, in metres."""
        return self._looked(observation, len(PLACES), lambda: self.data.site_xpos[self._sites])

    def arm(self, observation: Tensor) -> Tensor:
        """`n x 9 x 3`: where the arm is in `n x o` observations, joint by joint from foot to hand, in metres."""
        return self._looked(
            observation,
            JOINTS + 2,
            lambda: np.vstack([self.data.xpos[self._links], self.data.site_xpos[self._sites[0]]]),
        )

    def _looked(self, observation: Tensor, points: int, look: Callable[[], Array]) -> Tensor:
        """`n x points x 3`: where a look finds things in `n x o` observations."""
        found = []
        for row in self.placed(observation).numpy():
            self.data.qpos[:] = row[POSITIONS]
            mujoco.mj_kinematics(self.model, self.data)
            found.append(look().copy())
        return torch.from_numpy(np.array(found).reshape(len(found), points, 3))
