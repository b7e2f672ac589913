"""DAS: diffusion alignment as sampling, by tempered sequential Monte Carlo."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.steering import Tilted, chosen_nats
from bbo_bench.core import Problem

CHAIN = 100
"""Steps of the chain for which the tempering rate is given."""


class DAS(Tilted):
    """Sequential Monte Carlo towards the prior tilted by exp(r/α) (Kim et al., ICLR 2025).

    Every design is drawn, by weight, from K particles of its own. With λ rising from 0 to 1 over the steps, particles
    move by twisted proposals q = N(μ + σ_t² λ_{t-1} ∇v(x_t)/α, σ_t² I), and are weighted by p(x_{t-1} | x_t)
    exp(λ_{t-1} v(x_{t-1})/α) / (q(x_{t-1} | x_t) exp(λ_t v(x_t)/α)), where v(x_t) = r(x̂_0(x_t)). They are resampled
    where their effective number is below K/2, which that of two particles never is: they are weighted only.

    Of a KL budget a proposal spends its divergence from the prior's step, and a choice by weights, where particles are
    resampled and at the end, log K less its entropy.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        particles: Number K of particles for every design.
        tempering: Rate ρ of λ = (1 + ρ)^i - 1 after i steps of a chain of 100, up to 1; λ is 1 at the end in any case.
        **shared: See `Tilted`.

    Raises:
        ValueError: If a number is out of range, or the sampler is deterministic.
    """

    def __init__(self, problem: Problem, rng: Generator, *, particles: int, tempering: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if self.kl_weight <= 0 or particles < 2 or tempering <= 0:
            raise ValueError(
                "expected kl_weight > 0, particles >= 2 (one particle cannot be weighted against others) and "
                f"tempering > 0, got kl_weight={self.kl_weight}, {particles=}, {tempering=}"
            )
        self.check_stochastic()
        steps = torch.linspace(0, CHAIN, self.transition.steps + 1, device=rng.device)
        self.ramp = ((1 + tempering) ** steps - 1).clamp(max=1)
        self.ramp[-1] = 1
        self.per_design = particles

    @property
    def inverse_temperature(self) -> Tensor:
        """λ/α, a `T+1`-dim tensor."""
        return self.ramp / self.kl_weight

    def draw(self, n: int) -> Tensor:
        """See `Steered.draw`."""
        x, log_weight = self.population(n)
        self.spent = self.spent + chosen_nats(log_weight)
        drawn = torch.multinomial(log_weight.softmax(1), 1, generator=self.rng).squeeze(1)
        return x[torch.arange(n, device=x.device), drawn]

    def population(self, n: int) -> tuple[Tensor, Tensor]:
        """Particles of `n` designs, `n x K x latent_shape`, and their log weights, `n x K`."""
        step, shape = self.transition, (n, self.per_design)
        x, self.spent = self.prior.noise(n, self.rng, self.per_design), 0.0
        x0, value, gradient = self.look(0, x, gradient=True)
        log_weight = x.new_zeros(shape)
        for k, (now, then) in enumerate(self.inverse_temperature.unfold(0, 2, 1)):
            before = log_weight
            log_weight, rows = resampled(before, self.rng)
            x, x0, value, gradient = (each[rows] for each in (x, x0, value, gradient))
            mean = self.mean(k, x, x0)
            proposal = mean + step.std[k] ** 2 * then * gradient
            again = torch.where((log_weight == before).all(1), 0.0, chosen_nats(before))
            self.spent = self.spent + again + step.kl(k, proposal, mean).reshape(shape).mean(1)
            x = step.step(k, proposal, self.rng)
            log_ratio = step.log_prob(k, mean, x) - step.log_prob(k, proposal, x) - now * value
            x0, value, gradient = self.look(k + 1, x, gradient=k + 1 < step.steps)
            log_weight = log_weight + (log_ratio + then * value).reshape(shape)
        return x.reshape(*shape, *x.shape[1:]), log_weight


def resampled(log_weight: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Systematic resampling of the sets of particles whose effective size is below half of their number.

    Args:
        log_weight: Of `n` sets of K particles, `n x K`.
        rng: Draws one offset per set.

    Returns:
        The new log weights, `n x K`, and which of the `nK` particles follow, an `nK`-dim tensor.
    """
    n, size = log_weight.shape
    weight = log_weight.softmax(1)
    kept = torch.arange(size, device=weight.device)
    offset = torch.rand(n, 1, generator=rng, device=weight.device)
    drawn = torch.searchsorted(weight.cumsum(1), (kept + offset) / size).clamp(max=size - 1)
    poor = 1 / weight.square().sum(1, keepdim=True) < size / 2
    rows = torch.where(poor, drawn, kept) + torch.arange(n, device=weight.device)[:, None] * size
    return torch.where(poor, 0.0, log_weight), rows.flatten()
