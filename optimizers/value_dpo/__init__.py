"""Preference optimization with pairs that a value orders: the second alignment of "Maximize Your Diffusion"."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from bbo_bench.alignment.preference import DesignPairs
from bbo_bench.core import Problem
from bbo_bench.diffusion.transition import Transition

WEIGHTINGS = ("elbo", "min_snr")
LARGEST_SNR = 5.0


class ValueDPO(DesignPairs):
    """Prefers, of two designs, the one of higher value (Huh and Mohapatra 2025, eqs. 10 to 12).

    The loss is Diffusion-DPO's with a weight ω(λ_t) of the denoising errors; see `DesignPairs`. Values are the proxy's
    rewards, a critic's, or the oracle's scores; labels are hard, but pairs that are closer than `margin` do not count.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        margin: Least difference of the values of a pair, in prior standard deviations of the score; noise of the score
            should not order pairs.
        weighting: ω: `elbo`, 1, with which errors estimate log-likelihoods; `min_snr`, min(SNR, 5) / SNR, which weighs
            late steps less (Hang et al. 2023), scaled to the same total.
        **shared: See `DesignPairs`; α / `temperature` is the loss's β.

    Raises:
        ValueError: If a setting is out of range, or there is a `kl_budget`: hard labels that agree with each other are
            explained the better the farther the policy goes, at whatever α.
    """

    def __init__(self, problem: Problem, rng: Generator, *, margin: float, weighting: str, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if self.dual is not None:
            raise ValueError("hard labels have no optimum that α could hold at a kl_budget: expected kl_weight > 0")
        if margin < 0:
            raise ValueError(f"expected margin >= 0, got {margin=}")
        if weighting not in WEIGHTINGS:
            raise ValueError(f"expected weighting to be one of {', '.join(WEIGHTINGS)}, got {weighting=}")
        self.margin = margin
        if weighting == "min_snr":
            weighed = self._nats * min_snr(self.transition)
            self._nats = weighed * (self._share @ self._nats) / (self._share @ weighed)

    def loss(self, z: Tensor, reward: Tensor) -> Tensor:
        """See `DesignPairs.loss`."""
        k = torch.multinomial(self._share, z.shape[1], replacement=True, generator=self.rng)
        noise = torch.randn(z.shape[1:], generator=self.rng, device=z.device)
        counted = ((reward[0] - reward[1]).abs() > self.margin).to(reward)
        losses = self.divergence(self.logit(z, k, noise), (reward[0] > reward[1]).to(reward))
        return (counted * losses).sum() / counted.sum().clamp(min=1)

    def divergence(self, logit: Tensor, label: Tensor) -> Tensor:
        """See `DesignPairs.divergence`: -log σ of the logit of what is preferred."""
        return binary_cross_entropy_with_logits(logit, label, reduction="none")


def min_snr(transition: Transition) -> Tensor:
    """min(SNR, 5) / SNR of the sampler's steps, a `T`-dim tensor."""
    snr = transition.alpha_bar / (1 - transition.alpha_bar).clamp(min=1e-12)
    return (LARGEST_SNR / snr.clamp(min=1e-12)).clamp(max=1)
