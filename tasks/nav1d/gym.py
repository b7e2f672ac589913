"""The environment for Gymnasium: `gymnasium.make("bbo_bench.tasks.nav1d.gym:Nav1D-v0")`; the extra `nav1d` has it."""

from __future__ import annotations

from numbers import Real
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch

from bbo_bench.tasks.nav1d.environment import HORIZON, SIZE, advance, reward

Array = npt.NDArray[np.float32]


class Nav1DEnv(gymnasium.Env[Array, Array]):
    """Moves along a line for 32 steps; step t is rewarded for the position before its action, as `returns` counts.

    Observations are the position and the time, which goes from 0 to 1; actions lie in [-1, 1], and others are clipped.

    Args:
        starts: Episodes start uniformly in [-starts, starts], or at `options={"start": s}`.
    """

    def __init__(self, starts: float = SIZE) -> None:
        if not 0 < starts <= SIZE:
            raise ValueError(f"expected 0 < starts <= {SIZE}, got {starts=}")
        low, high = np.array([[-SIZE, 0], [SIZE, 1]], np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.starts = starts
        self._position, self._time = torch.zeros(()), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start anew.

        Raises:
            ValueError: If a start is asked for that is no number within the walls, or there is another option.
        """
        super().reset(seed=seed)
        if unknown := set(options or {}) - {"start"}:
            raise ValueError(f"the one option is start, got {', '.join(sorted(unknown))}")
        start = (options or {}).get("start", self.np_random.uniform(-self.starts, self.starts))
        if not (isinstance(start, Real) and abs(float(start)) <= SIZE):
            raise ValueError(f"expected a start from {-SIZE} to {SIZE}, got {start!r}")
        self._position, self._time = torch.tensor(start, dtype=torch.double), 0
        return self._observation(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Move; an episode ends after the last step, by itself.

        Raises:
            ValueError: If the action is not one finite number.
        """
        if self._time == HORIZON:
            raise RuntimeError("the episode is over: call reset")
        if np.size(action) != 1 or not np.isfinite(action).all():
            raise ValueError(f"expected one finite number as the action, got {action}")
        gained = float(reward(torch.tensor(self._time), self._position))
        move = torch.tensor(np.clip(action, -1, 1).item(), dtype=torch.double)
        self._position, self._time = advance(self._position, move), self._time + 1
        return self._observation(), gained, self._time == HORIZON, False, {}

    def _observation(self) -> Array:
        return np.array([float(self._position), self._time / HORIZON], np.float32)


gymnasium.register("Nav1D-v0", entry_point="bbo_bench.tasks.nav1d.gym:Nav1DEnv")
