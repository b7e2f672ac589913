"""MetaWorld's robot arm as an environment whose states can be kept and gone on from."""

from __future__ import annotations

import importlib
import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from bbo_bench.control.environment import Environment, Step
from bbo_bench.control.simulator import mujoco

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

Array = npt.NDArray[np.float64]

TASKS = {
    "button_press": "button-press",
    "drawer_open": "drawer-open",
    "plate_slide": "plate-slide",
    "sweep_into": "sweep-into",
}
REPEATED = 3
"""Steps of MetaWorld for an action."""
SEEN = 10
"""Numbers of an observation: hand, opening of the gripper, object, goal."""
SPEC = mujoco.mjtState.mjSTATE_INTEGRATION


class Setting(NamedTuple):
    """What MetaWorld keeps of an episode outside of MuJoCo's state, all of it decided at its start."""

    fields: dict[str, Any]
    sites: Array
    bodies: Array


class Arm(Environment):
    """An arm that is to press, open, slide or sweep: rewards of 0 to 10 a step, and success where the goal is reached.

    States are the observation, what is drawn at the start (places of object and goal), and MuJoCo's integration state,
    in double precision. An action is repeated three times, and its rewards are added up.

    Args:
        name: One of `TASKS`.
        horizon: Actions of an episode.
    """

    goal = True

    def __init__(self, name: str, horizon: int = 48) -> None:
        self.name, self.horizon, self.actions = name, horizon, 4
        self._env = ALL_V3_ENVIRONMENTS[f"{TASKS[name]}-v3"]()
        self._env._partially_observable = False  # the goal is seen
        self._env.__dict__.pop("sawyer_observation_space", None)  # made when it was not, so that it would cut it to 0
        self._env._set_task_called = self._env.seeded_rand_vec = True
        self.drawn = self._env._random_reset_space.low.size
        """Numbers that are drawn at the start of an episode."""
        self._size = mujoco.mj_stateSize(self._env.model, SPEC)
        self._settings: dict[bytes, tuple[Setting, Array]] = {}
        self._current = b""

    def reset(self, n: int, rng: Generator) -> Tensor:
        """See `Environment.reset`."""
        vectors = []
        for seed in torch.randint(2**31, (n,), generator=rng).tolist():
            self._env.seed(seed)
            self._env._freeze_rand_vec = False
            self._env.reset()
            vectors.append(self._env._last_rand_vec)
        return self.started(torch.from_numpy(np.stack(vectors)))

    def started(self, drawn: Tensor) -> Tensor:
        """`n x s` states in which the episodes begin for which `n x drawn` is drawn."""
        rows = []
        for vector in drawn.numpy():
            self._go_to(vector)
            rows.append(self._settings[vector.tobytes()][1])
        return torch.from_numpy(np.stack(rows)) if rows else drawn.new_zeros(0, SEEN + self.drawn + self._size)

    def observe(self, state: Tensor) -> Tensor:
        """See `Environment.observe`."""
        return state[:, :SEEN].float()

    def step(self, state: Tensor, action: Tensor) -> Step:
        """See `Environment.step`; actions beyond ±1 are cut."""
        after, controls = state.numpy().copy(), action.clamp(-1, 1).float().numpy()
        reward, success = np.zeros(len(after)), np.zeros(len(after), bool)
        for i, row in enumerate(after):
            self._restore(row)
            for _ in range(REPEATED):
                seen, gained, _, _, facts = self._env.step(controls[i])
                reward[i] += gained
                success[i] |= bool(facts["success"])
            self._keep(row, seen)
        return Step(torch.from_numpy(after), torch.from_numpy(reward), torch.from_numpy(success))

    def seen(self, state: Tensor) -> Array:
        """The 39 numbers that MetaWorld's own policies see in one state of `s` numbers."""
        self._restore(state.numpy())
        mujoco.mj_forward(self._env.model, self._env.data)
        seen: Array = self._env._get_obs()
        return seen

    def _go_to(self, drawn: Array) -> None:
        """Set what an episode keeps outside of MuJoCo's state, from what was drawn at its start."""
        key = drawn.tobytes()
        if key == self._current:
            return
        if key not in self._settings:
            self._env._freeze_rand_vec, self._env._last_rand_vec = True, drawn.copy()
            seen, _ = self._env.reset()
            kept = {k: v for k, v in self._env.__dict__.items() if self._settled(v)}
            setting = Setting(
                {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in kept.items()},
                self._env.model.site_pos.copy(),
                self._env.model.body_pos.copy(),
            )
            row = np.concatenate([np.zeros(SEEN), drawn, np.zeros(self._size)])
            self._keep(row, seen)
            self._settings[key] = setting, row
        setting, _ = self._settings[key]
        self._env.model.site_pos[:], self._env.model.body_pos[:] = setting.sites, setting.bodies
        for name, value in setting.fields.items():
            self._env.__dict__[name] = value.copy() if isinstance(value, np.ndarray) else value
        self._current = key

    def _settled(self, value: object) -> bool:
        """Whether a field of the environment is a number or numbers of its own, not a window on where bodies are now.

        Such as the places of the gripper's pads, which MetaWorld's reward calls those of the start.
        """
        if isinstance(value, np.ndarray):
            return not any(np.may_share_memory(value, it) for it in (self._env.data.xpos, self._env.data.site_xpos))
        return isinstance(value, int | float | bool)

    def _restore(self, row: Array) -> None:
        self._go_to(row[SEEN : SEEN + self.drawn])
        self._env.curr_path_length = 0
        mujoco.mj_setState(self._env.model, self._env.data, row[SEEN + self.drawn :], SPEC)

    def _keep(self, row: Array, seen: Array) -> None:
        """Write what is seen, and the state, into a row."""
        row[:7], row[7:SEEN] = seen[:7], seen[-3:]
        mujoco.mj_getState(self._env.model, self._env.data, row[SEEN + self.drawn :], SPEC)


class Script:
    """MetaWorld's own policy for a task: its shipped expert."""

    def __init__(self, arm: Arm) -> None:
        name = TASKS[arm.name].replace("-", "_")
        module = importlib.import_module(f"metaworld.policies.sawyer_{name}_v3_policy")
        (policy,) = (it for key, it in vars(module).items() if key.startswith("Sawyer") and key.endswith("V3Policy"))
        self._arm, self._policy = arm, policy()

    def __call__(self, state: Tensor) -> Tensor:
        """`n x 4` actions in `n x s` states."""
        return torch.from_numpy(np.stack([self._policy.get_action(self._arm.seen(row)) for row in state])).clamp(-1, 1)
