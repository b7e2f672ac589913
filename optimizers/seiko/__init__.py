"""SEIKO: feedback-efficient online fine-tuning of diffusion models."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.backprop import Backprop
from bbo_bench.core import Problem
from bbo_bench.diffusion.transition import Denoiser


class SEIKO(Backprop):
    """Optimistic reward, with KL divergences to the prior and to the last round's policy (Uehara et al., ICML 2024).

    Round i maximizes E[r̃(x_0)] - α KL(p ‖ p_0) - β KL(p ‖ p_{i-1}) over path measures, with p_0 the prior. Optimism r̃
    is the proxy's. For every batch, step k = 0, ..., T-1, of which 0 is the noisiest, keeps its gradient with
    probability (k + 1) / (T + 1), independently, and the last one always, as a batch that keeps none has no gradient.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        kl_weight_previous: Weight β, in the unit of `kl_weight`, which is α.
        adaptive: Whether to learn after every round; otherwise all rounds ask the prior, and all updates come at the
            end.
        **shared: See `Backprop`.

    Raises:
        ValueError: If β is negative.
    """

    def __init__(
        self, problem: Problem, rng: Generator, *, kl_weight_previous: float, adaptive: bool, **shared: Any
    ) -> None:
        super().__init__(problem, rng, **shared)
        if kl_weight_previous < 0:
            raise ValueError(f"expected kl_weight_previous >= 0, got {kl_weight_previous=}")
        self.kl_weight_previous, self.adaptive = kl_weight_previous, adaptive
        self.previous: Denoiser = self.reference

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        self.previous = copy.deepcopy(self.policy.merged()).requires_grad_(False)
        if self.adaptive or len(self.y) >= sum(self.problem.budget):
            yield from super().losses()

    def references(self) -> list[tuple[float | Tensor, Denoiser]]:
        """See `Backprop.references`."""
        previous = [(self.kl_weight_previous, self.previous)] if self.kl_weight_previous else []
        return [*super().references(), *previous]

    def kept(self) -> Tensor:
        """See `Backprop.kept`."""
        steps, device = self.transition.steps, self.rng.device
        updates = self.updates if self.adaptive else self.updates * len(self.problem.budget)
        probability = torch.arange(1, steps + 1, device=device) / (steps + 1)
        probability[-1] = 1
        return torch.rand(updates, steps, generator=self.rng, device=device) < probability
