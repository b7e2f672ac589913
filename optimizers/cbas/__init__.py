"""CbAS: conditioning by adaptive sampling."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.exceeding import Exceeding
from bbo_bench.alignment.matching import Matching
from bbo_bench.core import Problem


class CbAS(Exceeding, Matching):
    """Regresses on samples with weights p(x)/π(x) P(y > τ | x) (Brookes, Park and Listgarten 2019).

    The weights make of samples of the policy π those of the prior given that y > τ. The ratio is that of the evidence
    lower bounds, of prior and policy at the same noise and its opposite, whose errors cancel; it is cut at the root of
    a set's size, as its mean is 1 (Ionides 2008): what a policy makes once by chance, it takes for impossible. See
    `Exceeding` for the threshold, `Matching` for all else.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        effective: Share of a set whose samples count at least, by Kish's effective size: weights are flattened to a
            power below 1 where they would be of fewer.
        **shared: See `Exceeding` and `Matching`; no KL weight, as the ratio plays its part.

    Raises:
        ValueError: If a setting is out of range, or there is a KL weight.
    """

    def __init__(self, problem: Problem, rng: Generator, *, effective: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if not 0 <= effective < 1:
            raise ValueError(f"expected 0 <= effective < 1, got {effective=}")
        if self.regularized:
            raise ValueError("the ratio of prior and policy plays the KL's part: set kl_weight=0 and kl_budget=null")
        self.effective = effective

    @torch.no_grad()
    def scored(self, n: int) -> tuple[Tensor, Tensor]:
        """Fresh samples with the logarithms of their weights."""
        z = self.sample(n)
        return z, self.reward(z) + self.log_ratio(z).clamp(max=math.log(n) / 2)

    @torch.no_grad()
    def log_ratio(self, z: Tensor) -> Tensor:
        """Evidence lower bounds of `n x latent_shape` latents, the prior's less the policy's, in nats, `n`."""
        step, total = self.transition, z.new_zeros(len(z))
        twice, networks = z.repeat(2, *[1] * (z.ndim - 1)), (self.network(), self.reference)
        for k in range(step.steps):
            noise = self.prior.noise(len(z), self.rng)
            at = torch.full((len(twice),), k, device=z.device)
            policy, prior = (
                self.denoising_error(each, twice, at, torch.cat([noise, -noise])).reshape(2, -1).mean(0)
                for each in networks
            )
            total += step.kl_per_error[k] * (policy - prior)
        return total

    def weights(self, reward: Tensor) -> Tensor:
        """See `Matching.weights`."""
        power = torch.linspace(1, 0, 65, device=reward.device)
        weights = (power[:, None] * reward).softmax(1)
        enough = 1 / weights.square().sum(1) >= self.effective * len(reward)
        return weights[enough.to(torch.uint8).argmax()]
