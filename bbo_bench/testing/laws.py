"""Laws that regression on the Gaussian problem leads to: an exact denoiser's sampler ends near its law, not at it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from bbo_bench.core import Problem
from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.transition import Transition
from bbo_bench.domains import Box
from bbo_bench.testing.gaussian import SCHEDULER, moments, slopes

Choice = Callable[[float, float], tuple[float, float, float]]
"""What a choice makes of a law's mean and variance, and the weight λ of the prior's output beside it."""


class Shift(nn.Module):
    """A denoiser that predicts one output for all latents of a timestep, at first v = 0, the exact one for N(0, I)."""

    def __init__(self, dim: int, timesteps: int = 1000) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(timesteps, dim))

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """See `Denoiser`."""
        return self.table[timestep].expand_as(x)


def shift_problem(steps: int = 20) -> Problem:
    """The Gaussian problem for policies that shift the prior's steps by constants."""
    box = Box(torch.full((2,), -20.0), torch.full((2,), 20.0))
    return Problem(box, DiffusionPrior(Shift(2), Standardize(box), SCHEDULER, {"steps": steps}), (2,))


def output_slopes(transition: Transition) -> Tensor:
    """How a step's mean changes with the network's output, a `T`-dim tensor."""
    k, one = torch.arange(transition.steps), torch.ones(transition.steps, 1)
    return transition.mean(k, 0 * one, one)[:, 0]


def noising(transition: Transition) -> tuple[Tensor, Tensor]:
    """What x_0 and the noise are multiplied by in x_t, two `T`-dim tensors."""
    k, one = torch.arange(transition.steps), torch.ones(transition.steps, 1)
    return transition.noise(k, one, 0 * one)[:, 0], transition.noise(k, 0 * one, one)[:, 0]


def regressed(transition: Transition, mean: float, variance: float) -> tuple[Tensor, Tensor]:
    """Slopes and shifts of the steps by the exact denoiser of N(mean, variance), two `T`-dim tensors."""
    signal, noise = noising(transition)
    slope = signal * variance / (signal**2 * variance + noise**2)
    shift = mean * (1 - slope * signal)
    k, zero = torch.arange(transition.steps), torch.zeros(transition.steps, 1)

    def step(x: Tensor, x0: Tensor) -> Tensor:
        return transition.mean(k, x, transition.target(k, x, x0[:, None]))[:, 0]

    shifts = step(zero, shift)
    return step(zero + 1, slope + shift) - shifts, shifts


def resting(transition: Transition, choice: Choice, sets: int = 500) -> tuple[float, float]:
    """Mean and variance of x_0 where choosing, regressing and sampling anew comes to rest, if laws are normal."""
    prior = slopes(transition)
    mean, variance = moments(transition, torch.zeros_like(prior))
    for _ in range(sets):
        chosen_mean, chosen_variance, anchor = choice(mean, variance)
        slope, shift = regressed(transition, chosen_mean, chosen_variance)
        mean, variance = moments(transition, shift / (1 + anchor), (slope + anchor * prior) / (1 + anchor))
    return mean, variance


def regressed_samples(transition: Transition, atoms: Tensor, weights: Tensor, n: int, rng: Generator) -> Tensor:
    """`n` samples of x_0 by the exact denoiser of a law in one dimension, given as `m` weighted atoms."""
    signal, noise = noising(transition)
    x = torch.randn(n, 1, generator=rng)
    for k in range(transition.steps):
        posterior = (weights.log() - (x - signal[k] * atoms) ** 2 / (2 * noise[k] ** 2)).softmax(1)
        x0 = (posterior @ atoms)[:, None]
        x = transition.step(k, transition.mean(k, x, transition.target(k, x, x0)), rng)
    return x[:, 0]
