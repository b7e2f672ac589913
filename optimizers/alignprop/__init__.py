"""AlignProp: reward backpropagation with random truncation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.backprop import Backprop
from bbo_bench.core import Problem


class AlignProp(Backprop):
    """Backpropagates the reward to a random step, drawn for every batch (Prabhudesai et al. 2023, arXiv:2310.03739).

    The gradient passes steps m, ..., T-1, of which 0 is the noisiest; m is normal, truncated to [1, T).

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        cut_mean: Mean of m before it is truncated, as a part of T.
        cut_std: Standard deviation of m before it is truncated, as a part of T.
        **shared: See `Backprop`.

    Raises:
        ValueError: If mean or standard deviation are out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, *, cut_mean: float, cut_std: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if not 0 <= cut_mean <= 1 or cut_std <= 0:
            raise ValueError(f"expected 0 <= cut_mean <= 1 and cut_std > 0, got {cut_mean=}, {cut_std=}")
        self.cut_mean, self.cut_std = cut_mean, cut_std

    def kept(self) -> Tensor:
        """See `Backprop.kept`."""
        steps, rng = self.transition.steps, self.rng
        mean, std = self.cut_mean * steps, self.cut_std * steps
        low, high = torch.special.ndtr((torch.tensor([1.0, steps], device=rng.device) - mean) / std)
        quantile = low + (high - low) * torch.rand(self.updates, 1, generator=rng, device=rng.device)
        m: Tensor = (mean + std * torch.special.ndtri(quantile)).floor().clamp(1, steps - 1)
        return torch.arange(steps, device=rng.device) >= m
