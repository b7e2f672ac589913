"""PRDP: proximal reward difference prediction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.diffusion.preference import PathPairs, Paths, differences


class PRDP(PathPairs):
    """Log-ratios of whole trajectories predict the differences of their rewards (Deng et al. 2024).

    The loss is the mean over pairs of (α (log ρ^a - log ρ^b) - (r_a - r_b))², log ρ = Σ_t log ρ_t, or the same with
    each log ρ_t clipped to what it was when the step was drawn ± clip, whichever is larger.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        clip: Nats by which a step's log-ratio may change while a rollout is learnt from.
        **shared: See `PathPairs`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, *, clip: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if clip <= 0:
            raise ValueError(f"expected clip > 0, got {clip=}")
        self.clip = clip

    def loss(self, paths: Paths) -> Tensor:
        """See `PathPairs.loss`."""
        ratio = self.log_ratio(paths)
        clipped = ratio.clamp(paths.behaviour - self.clip, paths.behaviour + self.clip)
        return torch.maximum(self.error(ratio, paths.reward), self.error(clipped, paths.reward)).mean()

    def error(self, ratio: Tensor, reward: Tensor) -> Tensor:
        """Squared errors of all reward differences, `n x n`, as `n x T` log-ratios predict them."""
        return differences(self.kl_weight * ratio.sum(1) - reward).square()
