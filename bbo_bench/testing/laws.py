"""What regression on a known law makes of the Gaussian problem's sampler: it ends near that law, not at it."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from bbo_bench.diffusion.transition import Transition
from bbo_bench.testing.gaussian import moments


def regressed_moments(transition: Transition, mean: float, variance: float) -> tuple[float, float]:
    """Mean and variance of x_0 by the exact denoiser of N(mean, variance): E[x_0 | x_t] is affine in x_t."""
    signal, noise = noising(transition)
    slope = signal * variance / (signal**2 * variance + noise**2)
    shift = mean * (1 - slope * signal)
    k, zero = torch.arange(transition.steps), torch.zeros(transition.steps, 1)

    def step(x: Tensor, x0: Tensor) -> Tensor:
        return transition.mean(k, x, transition.target(k, x, x0[:, None]))[:, 0]

    return moments(transition, step(zero, shift), step(zero + 1, slope + shift) - step(zero, shift))


def regressed_samples(transition: Transition, atoms: Tensor, weights: Tensor, n: int, rng: Generator) -> Tensor:
    """`n` samples of x_0 by the exact denoiser of a law in one dimension, given as `m` weighted atoms."""
    signal, noise = noising(transition)
    x = torch.randn(n, 1, generator=rng)
    for k in range(transition.steps):
        posterior = (weights.log() - (x - signal[k] * atoms) ** 2 / (2 * noise[k] ** 2)).softmax(1)
        x0 = (posterior @ atoms)[:, None]
        x = transition.step(k, transition.mean(k, x, transition.target(k, x, x0)), rng)
    return x[:, 0]


def noising(transition: Transition) -> tuple[Tensor, Tensor]:
    """What x_0 and the noise are multiplied by in x_t, two `T`-dim tensors."""
    k, one = torch.arange(transition.steps), torch.ones(transition.steps, 1)
    return transition.noise(k, one, 0 * one)[:, 0], transition.noise(k, 0 * one, one)[:, 0]
