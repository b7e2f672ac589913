"""Guidance: every denoising step is shifted along the gradient of the posterior mean's reward."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from bbo_bench.alignment.dual import MOST
from bbo_bench.alignment.steering import Outlook, Tilted
from bbo_bench.core import Problem
from bbo_bench.diffusion.transition import Transition

SIGNAL = 1e-4
"""Share ā_t of x_0 in the variance of x_t below which steps are not guided."""


class Guidance(Tilted):
    """Reward guidance by the posterior mean (Chung et al. 2023, DPS; Bansal et al. 2023, universal guidance).

    The gradient g of v(x_t) = r(x̂_0(x_t)) shifts the score of x_t by g/α, as if the prior were tilted by exp(r/α). So
    the noise becomes ε - √(1-ā_t) g/α, and the posterior mean x̂_0 + (1-ā_t)/√ā_t g/α, whatever the network predicts.

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        kl_weight: Weight α of the KL divergence to the prior that the strength 1/α stands for; None with `scale` or
            `kl_budget`.
        scale: How far a step's mean is shifted along the gradient, however large that is, in standard deviations of
            the step per dimension (Yang et al. 2024); None with `kl_weight` or `kl_budget`.
        kl_budget: Nats that the shifts of all steps may come to, in the place of both.
        **shared: See `Steered`.

    Raises:
        ValueError: If not exactly one of `kl_weight`, `scale` and `kl_budget` is given, or it is not positive, or the
            sampler is deterministic and has no standard deviations for `scale` or `kl_budget`.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        kl_weight: float | None,
        scale: float | None,
        kl_budget: float | None = None,
        **shared: Any,
    ) -> None:
        given = [each for each in (kl_weight, scale, kl_budget) if each is not None]
        if len(given) != 1 or given[0] <= 0:
            raise ValueError(
                "expected kl_weight > 0, scale > 0 or kl_budget > 0, and null for the others, "
                f"got {kl_weight=}, {scale=}, {kl_budget=}"
            )
        weight = MOST if scale is not None else kl_weight  # where the length of a shift is given, α plays no part
        super().__init__(problem, rng, kl_weight=weight, kl_budget=kl_budget, **shared)
        self.scale = scale
        if scale is not None:
            self.check_stochastic()
        self.covariance = unit_covariance(self.transition)

    def draw(self, n: int) -> Tensor:
        """See `Steered.draw`."""
        x, self.spent = self.prior.noise(n, self.rng), 0.0
        for k in range(self.transition.steps):
            outlook = self.look(k, x, gradient=True)
            mean = self.guided(k, x, outlook)
            if self.kl_budget is not None:
                self.spent = self.spent + self.transition.kl(k, mean, self.mean(k, x, outlook.x0))
            x = self.transition.step(k, mean, self.rng)
        return x

    def guided(self, k: int, x: Tensor, outlook: Outlook) -> Tensor:
        """Mean of x_{t-1} given `n x latent_shape` x_t and what they are expected to become."""
        gradient = outlook.gradient
        if self.scale is None:
            return self.mean(k, x, outlook.x0 + 1 / self.kl_weight * self.covariance[k] * gradient)
        direction = normalize(gradient.flatten(1)).reshape_as(gradient)
        length = self.scale * math.sqrt(self.prior.size) * self.transition.std[k]
        return self.mean(k, x, outlook.x0) + length * direction


def unit_covariance(transition: Transition) -> Tensor:
    """Factors from the slope of x̂_0(x_t) to the covariance of x_0 given x_t, σ²/a where x_t = a x_0 + σ ε, `T`.

    They are (1-ā_t)/√ā_t for a diffusion; 0 where x_t holds next to nothing of x_0, so that there is nothing to guide,
    and a network's slope, times 1/√ā_t, would be its error.
    """
    signal, noise = transition.noising.unbind(1)
    return torch.where(transition.alpha_bar > SIGNAL, noise**2 / signal, 0.0)
