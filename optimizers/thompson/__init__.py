"""Thompson sampling over the whole box, by BoTorch's pathwise draws of a Gaussian process (Wilson et al. 2020)."""

from __future__ import annotations

from typing import cast

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.generation.gen import gen_candidates_scipy
from botorch.sampling.pathwise.posterior_samplers import get_matheron_path_model
from botorch.utils.sampling import draw_sobol_samples
from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.seeding import seeded
from bbo_bench.surrogate.gp import GPOptimizer

__all__ = ["Thompson"]


class Thompson(GPOptimizer):
    """Asks for maximizers of as many functions, drawn from the posterior, as it is asked for designs.

    A function is a sum of random Fourier features, corrected for the told scores, so that it can be followed uphill by
    its gradient: from the best of Sobol points in the search box and of points around the best designs.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        points: Sobol points, and as many around the best designs.
        around_best: Standard deviation of the latter, in units of the search box.
        steps: Iterations of the ascent.
        margin: The search box spans the designs told so far, extended by this fraction at every side.
        whiten: See `GPOptimizer`.
        max_points: See `GPOptimizer`.
        fit_steps: See `GPOptimizer`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        points: int,
        around_best: float,
        steps: int,
        margin: float,
        whiten: bool | None,
        max_points: int,
        fit_steps: int,
    ) -> None:
        super().__init__(problem, rng, whiten=whiten, tanimoto=None, max_points=max_points, fit_steps=fit_steps)
        if not (min(points, steps) >= 1 and around_best > 0 and margin >= 0):
            got = f"{points=}, {steps=}, {around_best=}, {margin=}"
            raise ValueError(f"expected points >= 1, steps >= 1, around_best > 0 and margin >= 0, got {got}")
        self.points, self.around_best, self.steps, self.margin = points, around_best, steps, margin

    def propose(self, n: int) -> Tensor:
        """See `GPOptimizer.propose`."""
        low, high = self.bounds(self.v, self.margin)
        with seeded(self.rng):
            functions = get_matheron_path_model(self.gp, sample_shape=torch.Size([n]))
            sobol = draw_sobol_samples(torch.stack([low, high]), self.points, q=1).squeeze(1)
            best = self.v[self.mean(self.v).argsort(descending=True, stable=True)[:n]]
            center = best[torch.arange(self.points, device=best.device) % len(best)]
            near = center + self.around_best * (high - low) * torch.randn_like(center)
        start = torch.cat([sobol, near.clamp(low, high)])
        with torch.no_grad():
            found = functions(start).squeeze(-1).argmax(1)
        v, _ = gen_candidates_scipy(
            start[found, None],
            cast(AcquisitionFunction, lambda x: functions(x).flatten()),
            lower_bounds=low,
            upper_bounds=high,
            options={"maxiter": self.steps},
            use_parallel_mode=False,
        )
        return self.within(v.squeeze(1))
