"""Replay of denoising trajectories."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

MODES = ("random", "on_policy", "reward", "on_policy+random", "reward+gamma")


class Replay:
    """The newest trajectories, from which training states (x_t, step) are drawn.

    Modes: `random`, uniform over trajectories and steps; `on_policy`, the newest rollout; `reward`, the trajectories of
    highest reward; `on_policy+random`, half and half; `reward+gamma`, probability ∝ (reward - lowest reward) · γ^{t-1},
    which favours high rewards and late steps. The subtracted minimum makes priorities safe for negative rewards, and
    invariant to what is added to all of them.

    Args:
        capacity: Number of trajectories that are kept; the oldest go first.
        mode: How training states are drawn.
        gamma: Discount per denoising step, for `reward+gamma`.

    Raises:
        ValueError: If the mode is unknown.
    """

    def __init__(self, capacity: int = 1024, mode: str = "reward+gamma", gamma: float = 1.0) -> None:
        if mode not in MODES:
            raise ValueError(f"the replay mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.capacity, self.mode, self.gamma = capacity, mode, gamma
        self._kept: tuple[Tensor, Tensor] | None = None
        self._newest = 0

    def add(self, states: Tensor, reward: Tensor) -> None:
        """Add the newest trajectories: states x_T, ..., x_0, `n x (T+1) x latent_shape`, and `n` rewards of x_0."""
        self._newest = min(len(reward), self.capacity)
        if self._kept is not None:
            states, reward = torch.cat([self._kept[0], states]), torch.cat([self._kept[1], reward])
        self._kept = states[-self.capacity :], reward[-self.capacity :]

    def sample(self, n: int, rng: Generator) -> tuple[Tensor, Tensor]:
        """States x_t, `n x latent_shape`, and their step numbers, an `n`-dim tensor.

        Raises:
            ValueError: If nothing has been added.
        """
        if self._kept is None:
            raise ValueError("the replay buffer is empty: add a rollout before sampling from it")
        states, reward = self._kept
        rows = self._rows(reward, n, rng)
        weights = reward.new_ones(states.shape[1] - 1)
        if self.mode == "reward+gamma":
            weights = self.gamma ** torch.arange(len(weights) - 1, -1, -1, device=reward.device)
        k = torch.multinomial(weights, n, replacement=True, generator=rng)
        return states[rows, k], k

    def _rows(self, reward: Tensor, n: int, rng: Generator) -> Tensor:
        size = len(reward)
        if self.mode == "reward":
            return reward.topk(min(n, size)).indices.repeat(-(-n // size))[:n]
        if self.mode == "reward+gamma":
            priority = reward - reward.min()
            return torch.multinomial(priority + priority.mean() * 1e-3 + 1e-12, n, replacement=True, generator=rng)
        oldest = torch.zeros(n, dtype=torch.long, device=reward.device)
        if self.mode == "on_policy":
            oldest += size - self._newest
        if self.mode == "on_policy+random":
            oldest[: n // 2] += size - self._newest
        unit = torch.rand(n, generator=rng, device=reward.device)
        return oldest + (unit * (size - oldest)).long()
