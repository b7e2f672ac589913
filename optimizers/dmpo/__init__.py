"""DMPO: divergence minimization preference optimization of a diffusion model."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from bbo_bench.alignment.preference import DesignPairs
from bbo_bench.core import Problem


class DMPO(DesignPairs):
    """Reverse KL divergence of the policy's preferences from the labels (after Li et al. 2025, arXiv:2507.07510).

    KL(policy ‖ label) = q log(q/p) + (1 - q) log((1 - q)/(1 - p)) with q = σ(u), u the logit of Diffusion-DPO, and
    p = ε + (1 - 2ε) σ((r_a - r_b)/τ).

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        smoothing: ε, which keeps labels off 0 and 1, where the divergence is infinite.
        **shared: See `DesignPairs`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, *, smoothing: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if not 0 < smoothing < 0.5:
            raise ValueError(f"expected 0 < smoothing < 0.5, got {smoothing=}")
        self.smoothing = smoothing

    def divergence(self, logit: Tensor, label: Tensor) -> Tensor:
        """See `DesignPairs.divergence`."""
        p, q = self.smoothing + (1 - 2 * self.smoothing) * label, logit.sigmoid()
        return q * (logsigmoid(logit) - p.log()) + (1 - q) * (logsigmoid(-logit) - (1 - p).log())
