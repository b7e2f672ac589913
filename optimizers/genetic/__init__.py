"""A genetic algorithm, one generation per round."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem
from bbo_bench.domains import Box, Sequences

__all__ = ["Genetic"]

SPARE = 4
"""Sequences bred for one that is asked for, as some have been queried before."""


class Genetic(ArchiveOptimizer):
    """Truncation selection from the whole archive, crossover, mutation.

    Vectors: blend crossover and Gaussian mutation. Blend crossover (BLX-α, Eshelman and Schaffer 1993) draws every
    coordinate uniformly between its two parents and α of their distance beyond them; at α = .5 it keeps the spread of
    the parents on average. Sequences: every token comes from one of its two parents (uniform crossover, Syswerda 1989),
    and point mutations; children that were queried before are left out.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        parents: Best designs of all rounds, from which pairs are drawn; they survive until better ones are found.
        blend: The α of the crossover.
        mutation_rate: Probability that a coordinate mutates.
        mutation_scale: Standard deviation of a mutation, in standard deviations of that coordinate over the parents.
        point_mutations: Expected mutations of a sequence.

    Raises:
        ValueError: If a setting is out of range.
    """

    domains = (Box, Sequences)

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        parents: int,
        blend: float,
        mutation_rate: float,
        mutation_scale: float,
        point_mutations: float,
    ) -> None:
        super().__init__(problem, rng)
        if not (parents >= 2 and 0 <= mutation_rate <= 1 and min(blend, mutation_scale, point_mutations) >= 0):
            got = f"{parents=}, {blend=}, {mutation_rate=}, {mutation_scale=}, {point_mutations=}"
            raise ValueError(f"expected parents >= 2, 0 <= mutation_rate <= 1 and all else at least 0, got {got}")
        self.parents, self.blend = parents, blend
        self.mutation_rate, self.mutation_scale = mutation_rate, mutation_scale
        self.point_mutations = point_mutations

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`; samples of the prior as long as a single design is known, which has no mate."""
        parents = self.to_vectors(self.recommend(self.parents))
        if (parents == parents[0]).all():
            return self.problem.prior.decode(self.problem.prior.sample(n, self.rng))
        if isinstance(self.domain, Sequences):
            children = self._substitute(self._recombine(parents, SPARE * n), self.domain.size)
            return self.to_designs(torch.cat([self.unseen(children), children])[:n])
        return self.to_designs(self._mutate(self._cross(parents, n), parents.std(0)))

    def _cross(self, parents: Tensor, n: int) -> Tensor:
        """`n x d` children of random pairs out of `k x d` parents."""
        first, second = self._pairs(parents, n)
        share = self._rand(first) * (1 + 2 * self.blend) - self.blend
        return first + share * (second - first)

    def _mutate(self, u: Tensor, spread: Tensor) -> Tensor:
        """`n x d` points with Gaussian noise in some coordinates."""
        noise = torch.randn(u.shape, generator=self.rng, device=self.rng.device).to(u)
        return u + (self._rand(u) < self.mutation_rate) * self.mutation_scale * spread * noise

    def _recombine(self, parents: Tensor, n: int) -> Tensor:
        """`n x d` sequences, each token from one of a random pair out of `k x d` parents."""
        first, second = self._pairs(parents, n)
        return torch.where(self._rand(first) < 0.5, first, second)

    def _substitute(self, u: Tensor, size: int) -> Tensor:
        """`n x d` sequences with random tokens put in the place of some of them, each of `size` - 1 others."""
        mutated = self._rand(u) < self.point_mutations / u.shape[1]
        return torch.where(mutated, (u + 1 + (self._rand(u) * (size - 1)).floor()) % size, u)

    def _pairs(self, parents: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """`n x d` first and second parents, drawn from `k x d`."""
        pair = torch.randint(len(parents), (2, n), generator=self.rng, device=self.rng.device).to(parents.device)
        return parents[pair[0]], parents[pair[1]]

    def _rand(self, like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=self.rng, device=self.rng.device).to(like)
