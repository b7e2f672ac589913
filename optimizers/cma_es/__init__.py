"""CMA-ES (Hansen and Ostermeier 2001) by the package `cma`, one generation per round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import cma
import numpy as np
import torch
from cma.sigma_adaptation import CMAAdaptSigmaCSA
from numpy.typing import NDArray
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem
from bbo_bench.whitening import Whitening

__all__ = ["CmaEs"]


class CmaEs(ArchiveOptimizer):
    """A Gaussian that starts as the mean and covariance of round 0; each round is one generation, round 0 the first.

    Rounds below 4 + ⌊3 ln d⌋ designs, the package's own population, are put together until they have as many. Step
    sizes follow path lengths in every dimension: the package's two-point adaptation, from 300 on, needs designs of its
    own making. The strategy is played again from the told rounds whenever they grow, so that the state is data alone.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        sigma: Initial step size, in standard deviations of round 0.
        parents: Fraction of a generation that is recombined, μ/λ.
        diagonal: Whether the covariance stays diagonal in the axes of round 0, which is learnt faster in many
            dimensions (sep-CMA-ES, Ros and Hansen 2008).

    Raises:
        ValueError: If `sigma` is not positive, or `parents` no fraction.
    """

    def __init__(self, problem: Problem, rng: Generator, *, sigma: float, parents: float, diagonal: bool) -> None:
        super().__init__(problem, rng)
        if not (sigma > 0 and 0 < parents <= 1):
            raise ValueError(f"expected sigma > 0 and 0 < parents <= 1, got {sigma=}, {parents=}")
        self.sigma, self.parents, self.diagonal = sigma, parents, diagonal

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        return self.to_designs(self.axes.inverse(torch.from_numpy(np.stack(self.strategy.ask(n)))))

    def update(self) -> None:
        """Start from round 0 and play all generations."""
        self.axes = Whitening(self.to_vectors(self.rounds[0][0]).cpu())
        d = len(self.axes.center)
        least = 4 + int(3 * math.log(d))
        popsize = max(len(self.rounds[0][1]), least)
        options = {
            "popsize": popsize,
            "CMA_mu": self.mu(popsize),
            "AdaptSigma": CMAAdaptSigmaCSA,
            "CMA_mirrors": 0,
            "seed": np.nan,
            "randn": self._randn,
            "verbose": -9,
        } | ({"CMA_diagonal": True} if self.diagonal else {})
        self.strategy = cma.CMAEvolutionStrategy(np.zeros(d), self.sigma, options)
        for x, y in generations(self.rounds, least):
            self._generation(x, y)

    def mu(self, popsize: int) -> int:
        """How many of a generation are recombined."""
        return max(2, round(self.parents * popsize))

    def _generation(self, x: Tensor, y: Tensor) -> None:
        """Tell `n` designs and scores, after setting all that depends on this `n`: weights, learning rates, damping."""
        es = self.strategy
        if len(y) != es.popsize:
            es.opts["CMA_mu"] = self.mu(len(y))
            es.sp.set(es.opts, popsize=len(y), verbose=False)
            es.adapt_sigma.initialize_settings(es, reset=True)
        es.ask(len(y))  # brings its eigenvectors up to date, as `cma`'s own `feed_for_resume` does
        es.tell(list(self.axes(self.to_vectors(x).cpu()).numpy()), (-y).tolist())

    def _randn(self, *size: int) -> NDArray[np.float64]:
        """Standard normal numbers from `rng`."""
        return torch.randn(size, generator=self.rng, device=self.rng.device).double().cpu().numpy()

    def diagnostics(self) -> dict[str, float]:
        """Adds `sigma`, the step size, and `axis_ratio`, the longest axis over the shortest, both after whitening."""
        axes = self.strategy.D
        return super().diagnostics() | {"sigma": float(self.strategy.sigma), "axis_ratio": float(max(axes) / min(axes))}


def generations(rounds: Iterable[tuple[Tensor, Tensor]], least: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Designs and scores of the rounds; those of less than `least` designs are put together until they have as many."""
    x, y = [], []
    for designs, scores in rounds:
        x.append(designs)
        y.append(scores)
        if sum(map(len, y)) >= least:
            yield torch.cat(x), torch.cat(y)
            x, y = [], []
