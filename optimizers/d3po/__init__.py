"""D3PO: direct preference for denoising diffusion policy optimization."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from bbo_bench.alignment.preference import PathPairs, check_temperature, differences
from bbo_bench.core import Problem


class D3PO(PathPairs):
    """Every step of two trajectories explains the preference between their ends (Yang et al. 2024), with soft labels.

    The error of a pair's steps is the cross-entropy of the label σ((r_a - r_b)/τ) and σ((α/τ) (log ρ_t^a - log ρ_t^b)),
    ρ_t = p_θ/p of x_{t-1} given x_t.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        temperature: τ of the labels.
        **shared: See `PathPairs`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, *, temperature: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        check_temperature(temperature)
        self.temperature = temperature

    def error(self, ratio: Tensor, reward: Tensor) -> Tensor:
        """See `PathPairs.error`; `n x n x T`."""
        logit = self.kl_weight / self.temperature * differences(ratio)
        label = (differences(reward) / self.temperature).sigmoid()
        return binary_cross_entropy_with_logits(logit, label[..., None].expand_as(logit), reduction="none")
