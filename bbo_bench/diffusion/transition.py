"""The sampler's steps p(x_{t-1} | x_t) as a table of coefficients, read off a diffusers scheduler."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Self

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Generator, Tensor

from bbo_bench.diffusion.schedules import SAMPLERS, Scheduler, coefficients

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Maps `n x latent_shape` noisy latents and `n` timesteps (or one) to predictions of the latents' shape."""


class Transition:
    """Gaussian steps N(x_{t-1}; mean, std² I) from noise to data, whose mean is affine in x_t and the network's output.

    The steps are DDIM's, those of a sampler in `SAMPLERS`, or of Flow-GRPO's stochastic sampler where the scheduler is
    a rectified flow's; see `coefficients`. Steps are numbered `k = 0, ..., T-1`; `k = 0` is the noisiest, and `T-1-k`
    steps remain after step `k`. A step may be an int or an `n`-dim tensor, one per sample.

    Args:
        scheduler: Noise schedule and prediction type; clipping must be off, since it is not affine.
        steps: Number T of sampling steps.
        eta: Stochasticity η of the steps, in [0, 1].
        min_std: Floor of the steps' standard deviation in latent units, so that the last step has a density.
        sampler: A name in `SAMPLERS`, for a diffusion and η = 1; None for `coefficients`.
        given: Bools of a latent's shape: which of its numbers are given, a prompt's say. No step changes them, and
            densities and divergences are those of the others. None for none.

    Raises:
        ValueError: If the scheduler clips its samples, has fewer timesteps, or is not the sampler's.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        steps: int = 50,
        eta: float = 1.0,
        min_std: float = 0.01,
        sampler: str | None = None,
        given: Tensor | None = None,
    ) -> None:
        known = scheduler.config["num_train_timesteps"]
        if not 1 <= steps <= known:
            raise ValueError(f"expected 1 to {known} sampling steps, as many as the prior's timesteps, got {steps=}")
        if sampler is None:
            table = coefficients(copy.deepcopy(scheduler), steps, eta)
        elif sampler not in SAMPLERS:
            raise ValueError(f"expected a sampler of {', '.join(SAMPLERS)}, or none, got {sampler!r}")
        elif eta != 1 or not isinstance(scheduler, DDIMScheduler):
            raise ValueError(
                f"the sampler {sampler} is a diffusion's, with eta=1, got {eta=}, {type(scheduler).__name__}"
            )
        else:
            table = SAMPLERS[sampler](copy.deepcopy(scheduler), steps)
        self.steps = steps
        self.timesteps = table.timesteps
        self.noising = table.noising
        """`T x 2` factors of x_0 and of the noise in x_t."""
        self.std = table.step[:, 2].clamp(min=min_std if eta > 0 else 0.0)
        self.kl_per_error = table.step[:, 1] ** 2 / (2 * self.std**2)
        """`T` factors from the squared error of an output to the KL divergence of the step, in nats; η > 0."""
        self._mean = table.step[:, :2]
        self._start = table.start
        self.given = given
        self._given = 0 if given is None else int(given.sum())

    @property
    def alpha_bar(self) -> Tensor:
        """`T` shares ā of x_0 in x_t, as squares: x_t is √ā x_0 + √(1 - ā) ε, for a flow up to a factor."""
        square = self.noising**2
        return square[:, 0] / square.sum(1)

    def mean(self, k: int | Tensor, x: Tensor, output: Tensor) -> Tensor:
        """Mean of x_{t-1} given `n x latent_shape` x_t and the network's output."""
        return self.held(_affine(self._mean[k], x, output), x)

    def mean_by(self, denoiser: Denoiser, k: int | Tensor, x: Tensor) -> Tensor:
        """Mean of x_{t-1} given `n x latent_shape` x_t, by a denoiser."""
        return self.mean(k, x, denoiser(x, self.timesteps[k]))

    def denoise(self, k: int | Tensor, x: Tensor, output: Tensor) -> Tensor:
        """Posterior mean E[x_0 | x_t], `n x latent_shape` (Tweedie's formula)."""
        return self.held(_affine(self._start[k], x, output), x)

    def denoise_by_mean(self, k: int | Tensor, x: Tensor, mean: Tensor) -> Tensor:
        """Posterior mean E[x_0 | x_t] of the network by whose output the step from x_t has this mean."""
        on_x, on_output = self._mean[k].unbind(-1)
        return self.denoise(k, x, (mean - _expand(on_x, x) * x) / _expand(on_output, x))

    def noise(self, k: int | Tensor, x0: Tensor, noise: Tensor) -> Tensor:
        """x_t, drawn from q(x_t | x_0) with the given standard normal noise."""
        return self.held(_affine(self.noising[k], x0, noise), x0)

    def noise_back(self, k: int, x_next: Tensor, noise: Tensor) -> Tensor:
        """x_t, drawn from q(x_t | x_{t-1}) with the given standard normal noise: the forward step against step k."""
        signal, std = self.noising[k]
        earlier = self.noising[k + 1] if k + 1 < self.steps else self.noising.new_tensor([1.0, 0.0])
        kept = signal / earlier[0]
        back = torch.stack([kept, (std**2 - (kept * earlier[1]) ** 2).sqrt()])
        return self.held(_affine(back, x_next, noise), x_next)

    def noise_in(self, k: int | Tensor, x: Tensor, x0: Tensor) -> Tensor:
        """The noise of x_t if it came from x_0: `noise` of the two is x_t again. What is given has none."""
        signal, noise = self.noising[k].unbind(-1)
        return self.held((x - _expand(signal, x) * x0) / _expand(noise, x))

    def target(self, k: int | Tensor, x: Tensor, x0: Tensor) -> Tensor:
        """The network's output for x_t whose `denoise` is x_0; 0 for what is given."""
        on_x, on_output = self._start[k].unbind(-1)
        return self.held((x0 - _expand(on_x, x) * x) / _expand(on_output, x))

    @property
    def on_state(self) -> Tensor:
        """`T` factors of x_t in the mean of x_{t-1}."""
        return self._mean[:, 0]

    @property
    def on_output(self) -> Tensor:
        """`T` factors of the network's output in the mean of x_{t-1}."""
        return self._mean[:, 1]

    @property
    def x0_per_output(self) -> Tensor:
        """`T` factors from the network's output to what it adds to the posterior mean of x_0."""
        return self._start[:, 1]

    def log_prob(self, k: int | Tensor, mean: Tensor, x_next: Tensor) -> Tensor:
        """Log density N(x_{t-1}; mean, std² I) in nats, summed over the latent's dimensions, an `n`-dim tensor."""
        dim = x_next[0].numel() - self._given
        std = self.std[k]
        return -squared(x_next - mean) / (2 * std**2) - dim * (std.log() + 0.5 * math.log(2 * math.pi))

    def kl(self, k: int | Tensor, mean: Tensor, reference: Tensor) -> Tensor:
        """KL divergence of steps of equal std in nats, summed over the latent's dimensions, an `n`-dim tensor."""
        return squared(mean - reference) / (2 * self.std[k] ** 2)

    def output_kl(self, k: int | Tensor, output: Tensor, reference: Tensor) -> Tensor:
        """The same of the steps that two of the network's outputs lead to."""
        return self.kl_per_error[k] * squared(output - reference)

    def step(self, k: int | Tensor, mean: Tensor, rng: Generator) -> Tensor:
        """x_{t-1}, drawn around its mean; differentiable in the mean."""
        noise = torch.randn(mean.shape, generator=rng, device=mean.device, dtype=mean.dtype)
        return self.held(mean + _expand(self.std[k], mean) * noise, mean)

    def walk(self, denoiser: Denoiser, x: Tensor, rng: Generator, first: int = 0) -> Iterator[Tensor]:
        """The states that follow `n x latent_shape` ones, down to x_0; step `first` is taken from the given ones."""
        for k in range(first, self.steps):
            x = self.step(k, self.mean_by(denoiser, k, x), rng)
            yield x

    def held(self, x: Tensor, given: Tensor | float = 0.0) -> Tensor:
        """`n x latent_shape` numbers, those in the places of what is given taken from `given`."""
        return x if self.given is None else torch.where(self.given, given, x)

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


def squared(x: Tensor) -> Tensor:
    """Squared lengths of `n x latent_shape` vectors, an `n`-dim tensor."""
    return x.flatten(1).square().sum(1)
