"""In-painting: latents of which a part is known, in training and in sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import check_counts
from bbo_bench.diffusion.transition import Denoiser

if TYPE_CHECKING:
    from bbo_bench.diffusion.prior import DiffusionPrior


@dataclass(frozen=True)
class Prefix:
    """Causal masks: of a plan, laid out row by row, a prefix is known, as to a planner that has come so far.

    Attributes:
        unknown: Share of examples of which nothing is known.
        length: Of the others' prefixes; None draws log-uniform ones, from the first number to all but the last.

    Raises:
        ValueError: If the share does not lie in [0, 1], or a length is below 1.
    """

    unknown: float = 0.5
    length: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.unknown <= 1 or (self.length is not None and self.length < 1):
            raise ValueError(f"expected 0 <= unknown <= 1 and a length of at least 1, or null, got {self}")

    def __call__(self, z: Tensor, rng: Generator) -> Tensor:
        """Which numbers of `n x latent_shape` latents are known, bools of their shape."""
        u = torch.rand(2, len(z), generator=rng, device=z.device)
        drawn = (z[0].numel() ** u[0]).floor() if self.length is None else torch.full_like(u[0], self.length)
        length = drawn * (u[1] >= self.unknown)
        return (torch.arange(z[0].numel(), device=z.device) < length[:, None]).reshape(z.shape)


@torch.no_grad()
def inpaint(
    prior: DiffusionPrior,
    z: Tensor,
    known: Tensor,
    rng: Generator,
    *,
    denoiser: Denoiser | None = None,
    resamples: int = 1,
) -> Tensor:
    """`n x latent_shape` latents that agree with `z` where it is `known`, the rest drawn by the prior's sampler.

    The network sees the known numbers as they are, as priors are trained to with `Prefix`. Every step is repeated
    `resamples` times, noised back in between, so that the rest can agree with what is known (RePaint, Lugmayr et al.
    2022, algorithm 1).

    Args:
        prior: A diffusion prior.
        z: `n x latent_shape` latents; what is not known may be anything finite.
        known: Bools of the same shape, or of one latent's.
        rng: Generator on the prior's device.
        denoiser: Another network than the prior's, for instance a policy.
        resamples: How often every step is taken.

    Raises:
        ValueError: If shapes or counts are wrong.
    """
    check_counts(resamples=resamples)
    if z.shape[1:] != prior.latent_shape or known.shape not in (z.shape, prior.latent_shape):
        raise ValueError(
            f"expected latents of {tuple(prior.latent_shape)} and as many bools, "
            f"got {tuple(z.shape)} and {tuple(known.shape)}"
        )
    step, x = prior.transition, prior.noise(len(z), rng)
    for k in range(step.steps):
        for left in reversed(range(resamples)):
            ahead = step.step(k, step.mean_by(denoiser or prior.denoiser, k, torch.where(known, z, x)), rng)
            x = step.noise_back(k, ahead, prior.noise(len(z), rng)) if left else ahead
    return torch.where(known, z, x)
