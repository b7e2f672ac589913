"""A real-coded genetic algorithm, one generation per round."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem

__all__ = ["Genetic"]


class Genetic(ArchiveOptimizer):
    """Truncation selection from the whole archive, blend crossover, Gaussian mutation.

    Blend crossover (BLX-α, Eshelman and Schaffer 1993) draws every coordinate uniformly between its two parents and α
    of their distance beyond them; at α = .5 it keeps the spread of the parents on average.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        parents: Best designs of all rounds, from which pairs are drawn; they survive until better ones are found.
        blend: The α of the crossover.
        mutation_rate: Probability that a coordinate mutates.
        mutation_scale: Standard deviation of a mutation, in standard deviations of that coordinate over the parents.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        parents: int,
        blend: float,
        mutation_rate: float,
        mutation_scale: float,
    ) -> None:
        super().__init__(problem, rng)
        if not (parents >= 2 and blend >= 0 and 0 <= mutation_rate <= 1 and mutation_scale >= 0):
            got = f"{parents=}, {blend=}, {mutation_rate=}, {mutation_scale=}"
            raise ValueError(
                f"expected parents >= 2, blend >= 0, 0 <= mutation_rate <= 1 and mutation_scale >= 0, got {got}"
            )
        self.parents, self.blend = parents, blend
        self.mutation_rate, self.mutation_scale = mutation_rate, mutation_scale

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        parents = self.to_unit(self.recommend(self.parents))
        return self.to_designs(self._mutate(self._cross(parents, n), parents.std(0)))

    def _cross(self, parents: Tensor, n: int) -> Tensor:
        """`n x d` children of random pairs out of `k x d` parents."""
        pair = torch.randint(len(parents), (2, n), generator=self.rng, device=self.rng.device).to(parents.device)
        first: Tensor = parents[pair[0]]
        second: Tensor = parents[pair[1]]
        share = self._rand(first) * (1 + 2 * self.blend) - self.blend
        return first + share * (second - first)

    def _mutate(self, u: Tensor, spread: Tensor) -> Tensor:
        """`n x d` points with Gaussian noise in some coordinates."""
        noise = torch.randn(u.shape, generator=self.rng, device=self.rng.device).to(u)
        return u + (self._rand(u) < self.mutation_rate) * self.mutation_scale * spread * noise

    def _rand(self, like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=self.rng, device=self.rng.device).to(like)
