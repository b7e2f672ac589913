"""SVDD: soft value-based decoding, which chooses among proposals at every denoising step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.steering import Tilted, chosen_nats
from bbo_bench.core import Problem


class SVDD(Tilted):
    """Soft value-based decoding by the posterior mean, SVDD-PM (Li et al. 2024, algorithm 1).

    Every step draws M proposals x_{t-1} from the prior and takes one with probability ∝ exp(v(x_{t-1})/α), where v is
    the reward of the posterior mean. No gradient is used. A choice spends log M less its entropy of a KL budget.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        proposals: Number M of proposals.
        **shared: See `Tilted`; a `kl_weight` of 0 takes the proposal of the highest value, as the published code does.

    Raises:
        ValueError: If there are fewer than 2 proposals, `kl_weight` is negative, or the sampler is deterministic.
    """

    def __init__(self, problem: Problem, rng: Generator, *, proposals: int, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if self.kl_weight < 0 or proposals < 2:
            raise ValueError(
                f"expected kl_weight >= 0 and proposals >= 2, got kl_weight={self.kl_weight}, {proposals=}"
            )
        self.check_stochastic()
        self.per_design = proposals

    def draw(self, n: int) -> Tensor:
        """See `Steered.draw`."""
        x, self.spent = self.prior.noise(n, self.rng), 0.0
        x0 = self.look(0, x).x0
        for k in range(self.transition.steps):
            mean = self.mean(k, x, x0).repeat_interleave(self.per_design, 0)
            x = self.transition.step(k, mean, self.rng)
            outlook = self.look(k + 1, x)
            rows = self.chosen(outlook.value.reshape(n, -1))
            x, x0 = x[rows], outlook.x0[rows]
        return x

    def chosen(self, value: Tensor) -> Tensor:
        """One row of `nM` proposals per design, given their `n x M` values, an `n`-dim tensor."""
        first = torch.arange(len(value), device=value.device) * value.shape[1]
        if self.kl_weight == 0:
            return first + value.argmax(1)
        log_weight = value / self.kl_weight
        self.spent = self.spent + chosen_nats(log_weight)
        return first + torch.multinomial(log_weight.softmax(1), 1, generator=self.rng).squeeze(1)
