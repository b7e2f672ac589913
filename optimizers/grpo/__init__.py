"""GRPO: group-relative policy optimization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import Rollout
from bbo_bench.alignment.groups import deviations, grouped
from bbo_bench.alignment.policy_gradient import PolicyGradient, Steps
from bbo_bench.core import Problem
from bbo_bench.scale import deviation


class GRPO(PolicyGradient):
    """Policy gradient over denoising steps of trajectories that are compared with those of the same initial noise.

    DanceGRPO (Xue et al. 2025) for diffusions and, where the prior is a rectified flow, for Flow-GRPO's stochastic
    sampler (Liu et al. 2025), with the exact KL divergence to the prior of `PolicyGradient`.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        group: Trajectories that share their initial noise.
        group_std: Whether advantages are in standard deviations of their group, as DanceGRPO's, or of the rollout.
        fraction: Share of each trajectory's steps that is learnt from, drawn anew for each rollout.
        **shared: See `PolicyGradient`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        group: int,
        group_std: bool,
        fraction: float,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        if not 2 <= group <= self.samples:
            raise ValueError(f"expected 2 <= group <= samples, got {group=}, samples={self.samples}")
        if not 0 < fraction <= 1:
            raise ValueError(f"expected 0 < fraction <= 1, got {fraction=}")
        self.group, self.group_std = group, group_std
        self.learnt = max(round(fraction * self.transition.steps), 1)

    def start(self, n: int) -> Tensor:
        """See `FineTuner.start`; noise is shared within groups."""
        group = self.groups(n)
        return self.prior.noise(int(group.max()) + 1, self.rng)[group]

    def groups(self, n: int) -> Tensor:
        """Group numbers of `n` trajectories."""
        return grouped(n, self.group, self.rng.device, self.prior.codec.turns)

    def experience(self, rollout: Rollout) -> Steps:
        """As many random steps of every trajectory as are learnt from."""
        everything = super().experience(rollout)
        n, length = rollout.trajectories.means.shape[:2]
        order = torch.rand(n, length, generator=self.rng, device=self.rng.device).argsort(1)[:, : self.learnt]
        rows = order + length * torch.arange(n, device=order.device)[:, None]
        return Steps(*(part[rows.flatten()] for part in everything))

    def centered(self, returns: Tensor, rollout: Rollout) -> Tensor:
        """What returns have above the mean of the others of their group, normalized."""
        above, std = deviations(returns, self.groups(len(returns)))
        scale = deviation(returns)
        return self.normalized(above / (std + 1e-8) * scale if self.group_std else above, scale)
