"""What inference-time methods share: they steer the frozen prior's sampler by the proxy, and train nothing."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.diffusion.generative import Generative


class Outlook(NamedTuple):
    """What `n` latents are expected to become."""

    x0: Tensor
    """`n x latent_shape`: the frozen prior's posterior mean of x_0."""
    value: Tensor
    """`n` rewards of it."""
    gradient: Tensor
    """`n x latent_shape`: of the value, by the latents; zero where it was not asked for."""


class Steered(Generative):
    """Samples the frozen prior with a say of the proxy at every step, or at the end. `tell` refits the proxy alone.

    A latent's value is the reward of its posterior mean of x_0: v(x_t) = r(x̂_0(x_t)), and r(x_0) at the end.

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        batch: Latents that are handled at once, which bounds the memory.
        **shared: See `Generative`.

    Raises:
        ValueError: If there is no proxy, or `batch` is below 1.
    """

    per_design: int = 1
    """Latents that are handled for every design."""

    def __init__(self, problem: Problem, rng: Generator, *, batch: int, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if self.proxy is None:
            raise ValueError(f"expected a proxy, which {type(self).__name__} is steered by, got proxy=null")
        if batch < 1:
            raise ValueError(f"expected batch >= 1, got {batch=}")
        self.batch = batch

    @abstractmethod
    def draw(self, n: int) -> Tensor:
        """`n x latent_shape` latents of designs, made in one batch."""

    def sample(self, n: int) -> Tensor:
        """Fresh designs, as many at once as `batch` allows."""
        most = max(self.batch // self.per_design, 1)
        return torch.cat([self.draw(min(most, n - made)) for made in range(0, n, most)])

    def look(self, k: int, x: Tensor, *, gradient: bool = False) -> Outlook:
        """Outlook of `n x latent_shape` x_t, by one pass of the network; step `k` starts from x_t, x_0 is `k` = T."""
        with torch.set_grad_enabled(gradient):
            x = x.detach().requires_grad_(gradient)
            x0 = x if k == self.transition.steps else self.posterior_mean(k, x)
            value = self.reward(x0)
            slope = torch.autograd.grad(value.sum(), x)[0] if gradient else torch.zeros_like(x)
        return Outlook(x0.detach(), value.detach(), slope)

    def posterior_mean(self, k: int, x: Tensor) -> Tensor:
        """E[x_0 | x_t] by the frozen prior, `n x latent_shape`."""
        return self.transition.denoise(k, x, self.reference(x, self.transition.timesteps[k]))

    def mean(self, k: int, x: Tensor, x0: Tensor) -> Tensor:
        """Mean of x_{t-1} given x_t, where the posterior mean of x_0 is `n x latent_shape` `x0`."""
        return self.transition.mean(k, x, self.transition.target(k, x, x0))
