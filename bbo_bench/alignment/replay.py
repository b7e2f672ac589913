"""Replay of denoising trajectories."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor


def _uniform(reward: Tensor, n: int, rng: Generator) -> Tensor:
    return torch.randint(len(reward), (n,), generator=rng, device=reward.device)


def _best(reward: Tensor, n: int, rng: Generator) -> Tensor:
    return reward.topk(min(n, len(reward))).indices.repeat(-(-n // len(reward)))[:n]


def _prioritized(reward: Tensor, n: int, rng: Generator) -> Tensor:
    priority = reward - reward.min()
    return torch.multinomial(priority + priority.mean() * 1e-3 + 1e-12, n, replacement=True, generator=rng)


def _positive(reward: Tensor, n: int, rng: Generator) -> Tensor:
    return torch.multinomial(reward.clamp(min=0) + 1e-12, n, replacement=True, generator=rng)


class Mode(NamedTuple):
    """How training states are drawn."""

    rows: Callable[[Tensor, int, Generator], Tensor]
    """Numbers of trajectories, as many as asked for, given all rewards."""
    on_policy: float = 0.0
    """Share of a batch that comes from the newest rollout instead, uniformly."""
    discounted: bool = False
    """Whether steps are drawn ∝ γ^{t-1} instead of uniformly."""


MODES = {
    "random": Mode(_uniform),
    "on_policy": Mode(_uniform, on_policy=1.0),
    "reward": Mode(_best),
    "on_policy+random": Mode(_uniform, on_policy=0.5),
    "reward+gamma": Mode(_prioritized, discounted=True),
    "positive+gamma": Mode(_positive, discounted=True),
}


class Replay:
    """The newest trajectories, from which training states (x_t, step) are drawn.

    Modes: `random`, uniform over trajectories and steps; `on_policy`, the newest rollout; `reward`, the trajectories of
    highest reward; `on_policy+random`, half and half; `reward+gamma`, probability ∝ (reward - lowest reward) · γ^{t-1},
    which favours high rewards and late steps; `positive+gamma`, the same ∝ max(reward, 0) · γ^{t-1}, as SQDF's authors
    have it. The subtracted minimum makes priorities safe for negative rewards, and invariant to what is added to all of
    them; without it trajectories of negative reward are never drawn while there are others.

    Args:
        capacity: Number of trajectories that are kept; the oldest go first.
        mode: How training states are drawn.
        gamma: Discount per denoising step, for `reward+gamma`.
        on_policy: Share of a batch that is drawn from the newest rollout, the rest as the mode says; None is the mode's
            own, 0 for most.

    Raises:
        ValueError: If the mode is unknown, or the share does not go with it.
    """

    def __init__(
        self, capacity: int = 1024, mode: str = "reward+gamma", gamma: float = 1.0, on_policy: float | None = None
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"the replay mode must be one of {', '.join(MODES)}, got {mode!r}")
        if on_policy is not None and (mode == "on_policy" or not 0 <= on_policy < 1):
            raise ValueError(
                "the on-policy share of a replay must lie in [0, 1), and be null in mode on_policy, where it is 1, "
                f"got {on_policy} in mode {mode}"
            )
        self.capacity, self.mode, self.gamma = capacity, MODES[mode], gamma
        self.on_policy = self.mode.on_policy if on_policy is None else on_policy
        self._kept: tuple[Tensor, Tensor] | None = None
        self._newest = 0

    def add(self, states: Tensor, reward: Tensor) -> None:
        """Add the newest trajectories: states x_T, ..., x_0, `n x (T+1) x latent_shape`, and `n` rewards of x_0."""
        self._newest = min(len(reward), self.capacity)
        if self._kept is not None:
            states, reward = torch.cat([self._kept[0], states]), torch.cat([self._kept[1], reward])
        self._kept = states[-self.capacity :], reward[-self.capacity :]

    def sample(self, n: int, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """States x_t, `n x latent_shape`, their step numbers, and for how many steps each stands, `n`-dim tensors.

        What is multiplied by the latter has the sum over a trajectory's steps for its mean, however they are drawn.

        Raises:
            ValueError: If nothing has been added.
        """
        if self._kept is None:
            raise ValueError("the replay buffer is empty: add a rollout before sampling from it")
        states, reward = self._kept
        fresh = int(self.on_policy * n)
        newest = len(reward) - self._newest + _uniform(reward[-self._newest :], fresh, rng)
        rows = torch.cat([newest, self.mode.rows(reward, n - fresh, rng)])
        weights = reward.new_ones(states.shape[1] - 1)
        if self.mode.discounted:
            weights = self.gamma ** torch.arange(len(weights) - 1, -1, -1, device=reward.device)
        k = torch.multinomial(weights, n, replacement=True, generator=rng)
        return states[rows, k], k, weights.sum() / weights[k]
