"""AdaLead (Sinai et al. 2020): mutants of the best sequences are mutated on as long as a model finds them no worse."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.scale import Scale
from bbo_bench.surrogate.guided import ModelGuided


class AdaLead(ModelGuided):
    """Greedy hill climbing on a model, from recombined parents whose scores are close to the best.

    Parents are the sequences whose scores are at most `threshold` below the best one's. They are recombined, every one
    with a random other, and mutated; a child whose prediction is no lower than its parent's at the start is mutated
    again. Of all sequences that the model has seen the best are asked for.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        threshold: κ, in standard deviations of round 0's scores.
        recombination: Probability that two parents swap their strands at a place.
        mutations: Expected mutations of a child, at least 1.
        **shared: See `ModelGuided`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        threshold: float,
        recombination: float,
        mutations: float,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        if self.predictions < 2:
            raise ValueError(f"expected predictions >= 2, for parents and children, got {self.predictions}")
        if not (threshold >= 0 and 0 <= recombination <= 1 and mutations >= 1):
            raise ValueError(
                "expected threshold >= 0, 0 <= recombination <= 1 and mutations >= 1, "
                f"got {threshold=}, {recombination=}, {mutations=}"
            )
        self.threshold, self.recombination, self.mutations = threshold, recombination, mutations

    def pool(self, n: int) -> Tensor:
        """See `ModelGuided.pool`."""
        parents, found, left = self._parents(), [], self.predictions * n
        while left > 0:
            roots = self._recombined(parents[torch.arange(n, device=parents.device) % len(parents)])
            level = self.promise(roots)
            nodes, left = roots, left - len(roots)
            while len(nodes) and left > 0:
                nodes, level = nodes[:left], level[:left]
                children = self.mutated(nodes, self.mutations)
                promise = self.promise(children)
                found.append(children)
                left -= len(children)
                better = promise >= level
                nodes, level = children[better], level[better]
        new = self.unseen(torch.cat(found))
        return new[self.promise(new).argsort(descending=True, stable=True)]

    def _parents(self) -> Tensor:
        """`k x d` distinct sequences whose scores are close to the best."""
        scale = Scale.of(self.rounds[0][1]).std
        near = self.y >= self.y.max() - self.threshold * scale
        parents: Tensor = torch.unique(self.to_vectors(self.x[near]), dim=0)
        return parents

    def _recombined(self, parents: Tensor) -> Tensor:
        """`n x d` sequences, each alternating between one of `n x d` parents and a random other one."""
        n = len(parents)
        mates = parents[torch.randperm(n, generator=self.rng, device=self.rng.device).to(parents.device)]
        swapped = (self.uniform(parents) < self.recombination).cumsum(1) % 2 == 1
        return torch.where(swapped, mates, parents)
