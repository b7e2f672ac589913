"""D3PO: direct preference for denoising diffusion policy optimization."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from bbo_bench.core import Problem
from bbo_bench.diffusion.preference import PathPairs, Paths, check_temperature, differences


class D3PO(PathPairs):
    """Every step of two trajectories explains the preference between their ends (Yang et al. 2024), with soft labels.

    The cross-entropy of σ((r_a - r_b)/τ) and σ((α/τ) (log ρ_t^a - log ρ_t^b)), ρ_t = p_θ/p of x_{t-1} given x_t,
    averaged over steps.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        clip: The c of log ρ_t / √(1 + (log ρ_t / c)²), which saturates at ± c nats but always has a gradient; None
            leaves log ρ_t as it is.
        temperature: τ of the labels.
        **shared: See `PathPairs`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self, problem: Problem, rng: Generator, *, clip: float | None, temperature: float, **shared: Any
    ) -> None:
        super().__init__(problem, rng, **shared)
        check_temperature(temperature)
        if clip is not None and clip <= 0:
            raise ValueError(f"expected clip > 0, or null for none, got {clip=}")
        self.clip, self.temperature = clip, temperature

    def loss(self, paths: Paths) -> Tensor:
        """See `PathPairs.loss`."""
        ratio = self.log_ratio(paths)
        if self.clip is not None:
            ratio = ratio / (1 + (ratio / self.clip) ** 2).sqrt()
        logit = self.kl_weight / self.temperature * differences(ratio)
        label = (differences(paths.reward) / self.temperature).sigmoid()
        return binary_cross_entropy_with_logits(logit, label[..., None].expand_as(logit))
