"""A genetic algorithm, one generation per round."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer, novel
from bbo_bench.core import Problem
from bbo_bench.domains import Box, Sequences

__all__ = ["Genetic"]

LEAST = 8
"""Parents at least: fewer are soon all alike."""
SPARE = 4
"""Sequences bred for one that is asked for, and how often vectors are bred again, as some have been queried before."""


class Genetic(ArchiveOptimizer):
    """Truncation selection from the whole archive, crossover, mutation.

    Vectors: blend crossover and Gaussian mutation. Blend crossover (BLX-α, Eshelman and Schaffer 1993) draws every
    coordinate uniformly between its two parents and α of their distance beyond them; at α = .5 it keeps the spread of
    the parents on average. Sequences: some have their end from another parent (one-point crossover, Holland 1975), so
    that neighbours stay together, all have a point mutation at least. What was queried before is bred again.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        parents: How many of the best designs of all rounds pairs are drawn from, as a share of the round before, but
            no fewer than `LEAST`; they survive until better ones are found.
        blend: The α of the crossover.
        mutation_rate: Probability that a coordinate mutates.
        mutation_scale: Standard deviation of a mutation, in standard deviations of that coordinate over the parents.
        crossover: Probability that a sequence has two parents.
        mutations: Expected point mutations of a sequence, at least 1.

    Raises:
        ValueError: If a setting is out of range.
    """

    domains = (Box, Sequences)

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        parents: float,
        blend: float,
        mutation_rate: float,
        mutation_scale: float,
        crossover: float,
        mutations: float,
    ) -> None:
        super().__init__(problem, rng)
        shares = 0 < parents <= 1 and 0 <= mutation_rate <= 1 and 0 <= crossover <= 1
        if not (shares and min(blend, mutation_scale) >= 0 and mutations >= 1):
            got = f"{parents=}, {blend=}, {mutation_rate=}, {mutation_scale=}, {crossover=}, {mutations=}"
            raise ValueError(
                "expected 0 < parents <= 1, 0 <= mutation_rate <= 1, 0 <= crossover <= 1, mutations >= 1 and all else "
                f"at least 0, got {got}"
            )
        self.parents, self.blend = parents, blend
        self.mutation_rate, self.mutation_scale = mutation_rate, mutation_scale
        self.crossover, self.mutations = crossover, mutations

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`; samples of the prior as long as a single design is known, which has no mate."""
        kept = max(LEAST, round(self.parents * len(self.rounds[-1][0])))
        parents = self.to_vectors(self.top(kept))
        if (parents == parents[0]).all():
            return self.problem.prior.decode(self.problem.prior.sample(n, self.rng))
        if isinstance(self.domain, Sequences):
            children = self.mutated(self._recombine(parents, SPARE * n), self.mutations)
            return self.to_designs(torch.cat([self.unseen(children), children])[:n])
        children = self._bred(parents, n)
        for _ in range(SPARE):
            copies = ~novel(self.to_designs(children), self.x)
            if not copies.any():
                break
            children[copies] = self._bred(parents, int(copies.sum()))
        return self.to_designs(children)

    def _bred(self, parents: Tensor, n: int) -> Tensor:
        """`n x d` points, children of random pairs out of `k x d` parents, mutated."""
        return self._mutate(self._cross(parents, n), parents.std(0))

    def _cross(self, parents: Tensor, n: int) -> Tensor:
        """`n x d` children of random pairs out of `k x d` parents."""
        first, second = self._pairs(parents, n)
        share = self.uniform(first) * (1 + 2 * self.blend) - self.blend
        return first + share * (second - first)

    def _mutate(self, u: Tensor, spread: Tensor) -> Tensor:
        """`n x d` points with Gaussian noise in some coordinates."""
        noise = torch.randn(u.shape, generator=self.rng, device=self.rng.device).to(u)
        return u + (self.uniform(u) < self.mutation_rate) * self.mutation_scale * spread * noise

    def _recombine(self, parents: Tensor, n: int) -> Tensor:
        """`n x d` sequences of `k x d` parents; some have their tokens from a random place on from a second one."""
        first, second = self._pairs(parents, n)
        d = first.shape[1]
        place = 1 + (self.uniform(first[:, :1]) * (d - 1)).floor()
        crossed = self.uniform(first[:, :1]) < self.crossover
        return torch.where(crossed & (torch.arange(d, device=first.device) >= place), second, first)

    def _pairs(self, parents: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """`n x d` first and second parents, drawn from `k x d`."""
        pair = torch.randint(len(parents), (2, n), generator=self.rng, device=self.rng.device).to(parents.device)
        return parents[pair[0]], parents[pair[1]]
