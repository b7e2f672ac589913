"""Best of N: the prior's samples, sifted by the proxy, or by the oracle."""

from __future__ import annotations

import math
from bisect import bisect
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import check_counts
from bbo_bench.alignment.steering import Steered
from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Domain, Problem

MOST = 10_000
"""Samples for a design that a budget may ask for."""


class BestOfN(Steered):
    """Every design is the best, by the proxy, of N samples of the prior.

    Its divergence from the prior is at most log N - (N - 1)/N nats (Beirami et al. 2024, theorem 1).

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        candidates: Number N of samples for every design; None with `kl_budget`.
        kl_budget: Nats that designs may be from the prior's: N is the largest that is within; None with `candidates`.
        **shared: See `Steered`.

    Raises:
        ValueError: If not exactly one of both is given, `candidates` is below 1, or the budget is not positive or asks
            for more than `MOST` samples.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        candidates: int | None,
        kl_budget: float | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        if (candidates is None) == (kl_budget is None):
            raise ValueError(
                f"expected candidates or kl_budget, and null for the other, got {candidates=}, {kl_budget=}"
            )
        self.per_design = within(kl_budget) if candidates is None else candidates
        check_counts(candidates=self.per_design)
        self.budgeted = candidates is None

    @torch.no_grad()
    def draw(self, n: int) -> Tensor:
        """See `Steered.draw`."""
        z = self.prior.sample(n, self.rng, self.per_design)
        best = self.reward(z).reshape(n, -1).argmax(1)
        return z[torch.arange(n, device=z.device) * self.per_design + best]

    def diagnostics(self) -> dict[str, float]:
        """The proxy's held-out error; under a budget the bound of the divergence, in nats."""
        return ({"kl": nats(self.per_design)} if self.budgeted else {}) | super().diagnostics()


def nats(n: int) -> float:
    """Divergence of the best of `n` samples from the samples' own law, at most."""
    return math.log(n) - (n - 1) / n


def within(kl_budget: float | None) -> int:
    """The largest number of samples whose best is within a budget of nats."""
    if kl_budget is None or not 0 < kl_budget <= nats(MOST):
        raise ValueError(
            f"expected 0 < kl_budget <= {nats(MOST):.2f} nats, which are the best of {MOST:,} samples, got {kl_budget=}"
        )
    return bisect(range(1, MOST + 1), kl_budget, key=nats)


class BestQueried(ArchiveOptimizer):
    """Queries samples of the prior and ships those of the highest observed scores: best of N by the oracle itself."""

    domains = (Domain,)

    def ask(self, n: int) -> Tensor:
        """Fresh samples of the prior."""
        prior = self.problem.prior
        return prior.decode(prior.sample(n, self.rng))
