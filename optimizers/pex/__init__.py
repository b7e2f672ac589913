"""PEX (Ren et al., ICML 2022): proximal exploration, which prefers high predictions close to a wild type."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.surrogate.guided import ModelGuided


class PEX(ModelGuided):
    """Mutates what is on the frontier of score and closeness to a wild type, and asks for such frontiers of a model.

    The wild type is the best sequence of round 0. A distance's best sequences are on the frontier of the archive if
    their scores exceed all that are closer. They are mutated; of the mutants, upper concave envelopes of the
    predictions over the distance are asked for, one after the other.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        neighbours: Sequences of a distance that may be on the archive's frontier.
        mutations: Expected mutations of a child, at least 1.
        **shared: See `ModelGuided`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, *, neighbours: int, mutations: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if neighbours < 1 or mutations < 1:
            raise ValueError(f"expected neighbours >= 1 and mutations >= 1, got {neighbours=}, {mutations=}")
        self.neighbours, self.mutations = neighbours, mutations

    def pool(self, n: int) -> Tensor:
        """See `ModelGuided.pool`."""
        x, y = self.rounds[0]
        wild = self.to_vectors(x)[y.argmax()]
        parents = self._frontier(wild)
        drawn = torch.randint(len(parents), (self.predictions * n,), generator=self.rng, device=self.rng.device)
        new = self.unseen(self.mutated(parents[drawn.to(parents.device)], self.mutations))
        distance, promise = (new != wild).sum(1), self.promise(new)
        order = promise.argsort(descending=True, stable=True)
        distances, promises = distance[order].tolist(), promise[order].tolist()
        left: list[int] = list(range(len(order)))
        chosen: list[int] = []
        while left and len(chosen) < n:
            found = envelope([distances[i] for i in left], [promises[i] for i in left])
            chosen += [left[i] for i in found]
            taken = set(found)
            left = [each for i, each in enumerate(left) if i not in taken]
        return new[order[chosen]]

    def _frontier(self, wild: Tensor) -> Tensor:
        """`k x d` sequences of the archive that score more than all closer ones."""
        u = self.to_vectors(self.x)
        distance = (u != wild).sum(1)
        kept, height = [], -torch.inf
        for each in torch.arange(int(distance.max()) + 1):
            rows = (distance == each).nonzero()[:, 0]
            rows = rows[self.y[rows].argsort(descending=True, stable=True)][: self.neighbours]
            kept.append(rows[self.y[rows] > height])
            height = max(height, float(self.y[rows].max()) if len(rows) else height)
        parents: Tensor = torch.unique(u[torch.cat(kept)], dim=0)
        return parents


def envelope(distances: list[int], promises: list[float]) -> list[int]:
    """Which of `m` points, their promises descending, are on the upper concave envelope, as far as it rises.

    It begins with the best of the least distance and ends with the best of all (Andrew's monotone chain).
    """
    best: dict[int, int] = {}
    for i, distance in enumerate(distances):
        best.setdefault(distance, i)
    hull: list[int] = []
    for distance in sorted(best):
        i = best[distance]
        if hull and promises[i] <= promises[hull[-1]]:
            continue
        while len(hull) > 1 and _below(hull[-2], hull[-1], i, distances, promises):
            hull.pop()
        hull.append(i)
    return hull


def _below(a: int, b: int, c: int, x: list[int], y: list[float]) -> bool:
    """Whether point b is on or below the line from a to c."""
    return (y[b] - y[a]) * (x[c] - x[a]) <= (y[c] - y[a]) * (x[b] - x[a])
