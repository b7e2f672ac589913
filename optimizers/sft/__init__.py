"""Supervised fine-tuning on the best likely designs: the third alignment of "Maximize Your Diffusion"."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.matching import Matching
from bbo_bench.core import Problem

ORIGINS = ("policy", "foundation")


class SFT(Matching):
    """Fits the policy to its best samples, those left out that the foundation model finds unlikely.

    The foundation model is the prior; a sample is likely if its ELBO is at least a quantile of that of the first
    round's designs, which the prior has made. The loss is `Matching`'s.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        best: Share of a set that is learnt from.
        unlikely: The quantile; 0 leaves out what no design of the first round is as unlikely as.
        origin: From what every round starts: `policy`, what the round before has made, or `foundation`, the prior.
        **shared: See `Matching`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self, problem: Problem, rng: Generator, *, best: float, unlikely: float, origin: str, **shared: Any
    ) -> None:
        super().__init__(problem, rng, **shared)
        if not 0 < best <= 1 or not 0 <= unlikely < 1:
            raise ValueError(f"expected 0 < best <= 1 and 0 <= unlikely < 1, got {best=}, {unlikely=}")
        if origin not in ORIGINS:
            raise ValueError(f"expected origin to be one of {', '.join(ORIGINS)}, got {origin=}")
        self.best, self.unlikely, self.origin = best, unlikely, origin

    def learn(self) -> None:
        """See `Generative.learn`."""
        if self.origin == "foundation":
            self.policy = self.untrained()
        super().learn()

    @torch.no_grad()
    def scored(self, n: int) -> tuple[Tensor, Tensor]:
        """See `FineTuner.scored`: the likely ones, at least two."""
        z, reward = super().scored(n)
        elbo = self.prior.elbo(z)
        least = torch.minimum(
            self.prior.elbo(self.proposed()).quantile(self.unlikely), elbo.topk(min(2, len(z))).values[-1]
        )
        likely = elbo >= least
        return z[likely], reward[likely]

    def weights(self, reward: Tensor) -> Tensor:
        """See `Matching.weights`: alike for the best, 0 for all else."""
        kept = max(1, round(self.best * len(reward)))
        return torch.zeros_like(reward).index_fill(0, reward.topk(kept).indices, 1 / kept)
