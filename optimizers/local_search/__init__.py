"""Local search: neighbours of the best designs so far; a floor for everything that learns."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem
from bbo_bench.domains import Box, Sequences


class LocalSearch(ArchiveOptimizer):
    """Asks for neighbours of the best designs, as many of each.

    A neighbour of a sequence differs in one token, or in two, three, ... where all nearer ones are known. One of a
    vector is a Gaussian step away.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        best: Designs whose neighbours are asked for.
        step: Standard deviation of a step, in those of round 0, in every coordinate.

    Raises:
        ValueError: If a setting is out of range.
    """

    domains = (Box, Sequences)

    def __init__(self, problem: Problem, rng: Generator, *, best: int, step: float) -> None:
        super().__init__(problem, rng)
        if best < 1 or step <= 0:
            raise ValueError(f"expected best >= 1 and step > 0, got {best=}, {step=}")
        self.best, self.step = best, step

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        centers = self.to_vectors(self.top(self.best))
        if isinstance(self.domain, Sequences):
            return self.to_designs(self._neighbours(centers, n))
        start = self.to_vectors(self.rounds[0][0])
        spread = start.std(0, correction=min(1, len(start) - 1))
        spread = spread.where(spread > 0, 12**-0.5)  # where round 0 tells nothing, that of the uniform distribution
        noise = torch.randn(n, centers.shape[1], generator=self.rng, device=self.rng.device).to(centers)
        return self.to_designs(centers[torch.arange(n) % len(centers)] + self.step * spread * noise)

    def _neighbours(self, centers: Tensor, n: int) -> Tensor:
        """`n x d` new sequences, as close to one of `k x d` centers as there are; known ones where all are known."""
        d, found = centers.shape[1], centers[:0]
        many = 8 * n
        center = centers[torch.arange(many, device=centers.device) % len(centers)]
        for radius in range(1, d + 1):
            moved = self.replaced(center, self.uniform(center).argsort(1).argsort(1) < radius)
            found = torch.cat([found, self.unseen(moved, found)])[:n]
            if len(found) == n:
                return found
        return torch.cat([found, center])[:n]
