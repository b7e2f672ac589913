"""DRaFT: direct reward fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.backprop import Backprop
from bbo_bench.core import Problem


class DRaFT(Backprop):
    """Backpropagates the reward through the last K denoising steps (Clark et al., ICLR 2024, algorithm 1).

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        K: Last steps that the gradient passes; None for all.
        renoised: Noisy copies of every x_0, each denoised by one step, whose mean reward is followed (DRaFT-LV, for
            K = 1); 0 for the reward of x_0 itself.
        **shared: See `Backprop`.

    Raises:
        ValueError: If K does not lie in 1, ..., T, or copies go with another K or a KL weight.
    """

    def __init__(self, problem: Problem, rng: Generator, *, K: int | None, renoised: int, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        steps = self.transition.steps
        self.K = steps if K is None else K
        if not 1 <= self.K <= steps:
            raise ValueError(f"expected 1 <= K <= {steps}, the sampler's steps, or null for all, got {K=}")
        if renoised < 0 or (renoised and (self.K != 1 or self.regularized)):
            raise ValueError(
                f"expected renoised = 0, or renoised >= 1 with K=1, kl_weight=0, no kl_budget, got {renoised=}, {K=}, "
                f"kl_weight={shared.get('kl_weight', 0)}, kl_budget={shared.get('kl_budget')}"
            )
        self.renoised = renoised

    def kept(self) -> Tensor:
        """See `Backprop.kept`: the last K."""
        k = torch.arange(self.transition.steps)
        return (k >= len(k) - self.K).expand(self.updates, -1)

    def loss(self, kept: Sequence[bool]) -> Tensor:
        """See `Backprop.loss`."""
        if not self.renoised:
            return super().loss(kept)
        step, last = self.transition, self.transition.steps - 1
        x0 = self.sample(self.batch_size).repeat(self.renoised, *[1] * len(self.prior.latent_shape))
        x1 = step.noise(last, x0, self.prior.noise(len(x0), self.rng))
        return -self.reward(step.denoise(last, x1, self.output(self.policy, last, x1))).mean()
