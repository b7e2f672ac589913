"""The sampler's steps p(x_{t-1} | x_t) as a table of coefficients, read off a diffusers scheduler."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Self

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Generator, Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Maps `n x latent_shape` noisy latents and `n` timesteps (or one) to predictions of the latents' shape."""


class Transition:
    """Gaussian steps N(x_{t-1}; mean, std² I) from noise to data, whose mean is affine in x_t and the network's output.

    A DDIM step (Song et al. 2021, eq. 12; η = 1 is the DDPM posterior) is affine in sample, output and noise, so the
    scheduler's own `step` with unit inputs gives all its coefficients. Steps are numbered `k = 0, ..., T-1`; `k = 0` is
    the noisiest, and `T-1-k` steps remain after step `k`. A step may be an int or an `n`-dim tensor, one per sample.

    Args:
        scheduler: Noise schedule and prediction type; clipping must be off, since it is not affine.
        steps: Number T of sampling steps.
        eta: Stochasticity η of the steps, in [0, 1].
        min_std: Floor of the steps' standard deviation in latent units, so that the last step has a density.

    Raises:
        ValueError: If the scheduler clips its samples.
    """

    def __init__(self, scheduler: DDIMScheduler, steps: int = 50, eta: float = 1.0, min_std: float = 0.01) -> None:
        if scheduler.config.clip_sample or scheduler.config.thresholding:
            raise ValueError("a clipped step is not affine: set clip_sample=False and thresholding=False")
        scheduler = copy.deepcopy(scheduler)
        scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()  # 1 - ā_{t-1} - σ_t² cancels at the first step
        scheduler.set_timesteps(steps)
        sample, output, noise = torch.eye(3, dtype=torch.double)
        unit = [
            scheduler.step(output, t, sample, eta=eta, variance_noise=noise if eta > 0 else None)
            for t in scheduler.timesteps
        ]
        prev = torch.stack([step.prev_sample for step in unit]).float()
        start = torch.stack([step.pred_original_sample for step in unit]).float()
        self.steps = steps
        self.timesteps = scheduler.timesteps.clone()
        self.alpha_bar = scheduler.alphas_cumprod[self.timesteps].float()
        self.std = prev[:, 2].clamp(min=min_std if eta > 0 else 0.0)
        self.kl_per_error = prev[:, 1] ** 2 / (2 * self.std**2)
        """`T` factors from the squared error of an output to the KL divergence of the step, in nats; η > 0."""
        self._mean = prev[:, :2]
        self._start = start[:, :2]

    def mean(self, k: int | Tensor, x: Tensor, output: Tensor) -> Tensor:
        """Mean of x_{t-1} given `n x latent_shape` x_t and the network's output."""
        return _affine(self._mean[k], x, output)

    def mean_by(self, denoiser: Denoiser, k: int | Tensor, x: Tensor) -> Tensor:
        """Mean of x_{t-1} given `n x latent_shape` x_t, by a denoiser."""
        return self.mean(k, x, denoiser(x, self.timesteps[k]))

    def denoise(self, k: int | Tensor, x: Tensor, output: Tensor) -> Tensor:
        """Posterior mean E[x_0 | x_t], `n x latent_shape` (Tweedie's formula)."""
        return _affine(self._start[k], x, output)

    def noise(self, k: int | Tensor, x0: Tensor, noise: Tensor) -> Tensor:
        """x_t, drawn from q(x_t | x_0) with the given standard normal noise."""
        alpha_bar = self.alpha_bar[k]
        return _affine(torch.stack([alpha_bar.sqrt(), (1 - alpha_bar).sqrt()], -1), x0, noise)

    def target(self, k: int | Tensor, x: Tensor, x0: Tensor) -> Tensor:
        """The network's output for x_t whose `denoise` is x_0."""
        on_x, on_output = self._start[k].unbind(-1)
        return (x0 - _expand(on_x, x) * x) / _expand(on_output, x)

    def log_prob(self, k: int | Tensor, mean: Tensor, x_next: Tensor) -> Tensor:
        """Log density N(x_{t-1}; mean, std² I) in nats, summed over the latent's dimensions, an `n`-dim tensor."""
        dim = x_next[0].numel()
        std = self.std[k]
        return -_square(x_next - mean) / (2 * std**2) - dim * (std.log() + 0.5 * math.log(2 * math.pi))

    def kl(self, k: int | Tensor, mean: Tensor, reference: Tensor) -> Tensor:
        """KL divergence of steps of equal std in nats, summed over the latent's dimensions, an `n`-dim tensor."""
        return _square(mean - reference) / (2 * self.std[k] ** 2)

    def step(self, k: int | Tensor, mean: Tensor, rng: Generator) -> Tensor:
        """x_{t-1}, drawn around its mean; differentiable in the mean."""
        return mean + _expand(self.std[k], mean) * torch.randn(
            mean.shape, generator=rng, device=mean.device, dtype=mean.dtype
        )

    def walk(self, denoiser: Denoiser, x: Tensor, rng: Generator) -> Iterator[Tensor]:
        """The states x_{T-1}, ..., x_0 that follow `n x latent_shape` x_T."""
        for k in range(self.steps):
            x = self.step(k, self.mean_by(denoiser, k, x), rng)
            yield x

    def to(self, device: torch.device) -> Self:
        """This table on `device`."""
        moved = type(self).__new__(type(self))
        moved.__dict__ = {key: v.to(device) if isinstance(v, Tensor) else v for key, v in self.__dict__.items()}
        return moved


def _affine(coefficients: Tensor, first: Tensor, second: Tensor) -> Tensor:
    a, b = coefficients.unbind(-1)
    return _expand(a, first) * first + _expand(b, second) * second


def _expand(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(value.shape + (1,) * (like.ndim - value.ndim)) if value.ndim else value


def _square(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(1)
