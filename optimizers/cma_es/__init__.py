"""CMA-ES (Hansen and Ostermeier 2001) by the package `cma`, one generation per round."""

from __future__ import annotations

import cma
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem
from bbo_bench.whitening import Whitening

__all__ = ["CmaEs"]


class CmaEs(ArchiveOptimizer):
    """A Gaussian that starts as the mean and covariance of round 0; each round is one generation, round 0 the first.

    The strategy is played again from the told rounds whenever they grow, so that the state is data alone.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        sigma: Initial step size, in standard deviations of round 0.
        parents: Fraction of a generation that is recombined, μ/λ.

    Raises:
        ValueError: If `sigma` is not positive, or `parents` no fraction.
    """

    def __init__(self, problem: Problem, rng: Generator, *, sigma: float, parents: float) -> None:
        super().__init__(problem, rng)
        if not (sigma > 0 and 0 < parents <= 1):
            raise ValueError(f"expected sigma > 0 and 0 < parents <= 1, got {sigma=}, {parents=}")
        self.sigma, self.parents = sigma, parents

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        return self.to_designs(self.axes.inverse(torch.from_numpy(np.stack(self.strategy.ask(n)))))

    def update(self) -> None:
        """Start from round 0 and play all rounds."""
        self.axes = Whitening(self.to_vectors(self.rounds[0][0]).cpu())
        options = {"seed": np.nan, "randn": self._randn, "verbose": -9}
        self.strategy = cma.CMAEvolutionStrategy(np.zeros(len(self.axes.center)), self.sigma, options)
        for x, y in self.rounds:
            self._generation(x, y)

    def _generation(self, x: Tensor, y: Tensor) -> None:
        """Tell `n` designs and scores, after setting the learning rates and weights that belong to this `n`."""
        es = self.strategy
        es.opts["CMA_mu"] = max(2, round(self.parents * len(y)))
        es.sp.set(es.opts, popsize=len(y), verbose=False)
        es.ask(len(y))  # brings its eigenvectors up to date, as `cma`'s own `feed_for_resume` does
        es.tell(list(self.axes(self.to_vectors(x).cpu()).numpy()), (-y).tolist())

    def _randn(self, *size: int) -> NDArray[np.float64]:
        """Standard normal numbers from `rng`."""
        return torch.randn(size, generator=self.rng, device=self.rng.device).double().cpu().numpy()

    def diagnostics(self) -> dict[str, float]:
        """Adds `sigma`, the step size, and `axis_ratio`, the longest axis over the shortest, both after whitening."""
        axes = self.strategy.D
        return super().diagnostics() | {"sigma": float(self.strategy.sigma), "axis_ratio": float(max(axes) / min(axes))}
