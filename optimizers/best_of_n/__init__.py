"""Best of N: the prior's samples, sifted by the proxy, or by the oracle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Domain, Problem
from bbo_bench.diffusion.finetune import check_counts
from bbo_bench.diffusion.steering import Steered


class BestOfN(Steered):
    """Every design is the best, by the proxy, of N samples of the prior.

    Its divergence from the prior is at most log N - (N - 1)/N nats (Beirami et al. 2024, theorem 1).

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        candidates: Number N of samples for every design.
        **shared: See `Steered`.

    Raises:
        ValueError: If `candidates` is below 1.
    """

    def __init__(self, problem: Problem, rng: Generator, *, candidates: int, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(candidates=candidates)
        self.per_design = candidates

    @torch.no_grad()
    def draw(self, n: int) -> Tensor:
        """See `Steered.draw`."""
        z = self.prior.sample(n * self.per_design, self.rng)
        best = self.reward(z).reshape(n, -1).argmax(1)
        return z[torch.arange(n, device=z.device) * self.per_design + best]


class BestQueried(ArchiveOptimizer):
    """Queries samples of the prior and ships those of the highest observed scores: best of N by the oracle itself."""

    domains = (Domain,)

    def ask(self, n: int) -> Tensor:
        """Fresh samples of the prior."""
        prior = self.problem.prior
        return prior.decode(prior.sample(n, self.rng))
