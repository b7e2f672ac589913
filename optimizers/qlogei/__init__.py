"""Batch Bayesian optimization by noisy log expected improvement (Ament et al. 2023), by BoTorch."""

from __future__ import annotations

import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.models.gpytorch import BatchedMultiOutputGPyTorchModel
from botorch.optim.optimize import optimize_acqf
from botorch.sampling.normal import SobolQMCNormalSampler
from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.seeding import seeded
from bbo_bench.surrogate.gp import GPOptimizer

__all__ = ["QLogEI"]


class QLogEI(GPOptimizer):
    """Asks for batches that jointly maximize qLogNEI, each given that the batches before it scored as predicted.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        batch: Designs of a round that are optimized jointly.
        restarts: Starting batches of an optimization.
        raw_samples: Sobol batches from which the starting ones are chosen, beside as many around the best designs.
        around_best: Standard deviation of the latter, in units of the search box.
        steps: Iterations of an optimization.
        mc_samples: Draws that estimate the acquisition value.
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
        batch: int,
        restarts: int,
        raw_samples: int,
        around_best: float,
        steps: int,
        mc_samples: int,
        margin: float,
        whiten: bool | None,
        max_points: int,
        fit_steps: int,
    ) -> None:
        super().__init__(problem, rng, whiten=whiten, max_points=max_points, fit_steps=fit_steps)
        counts = {
            "batch": batch,
            "restarts": restarts,
            "raw_samples": raw_samples,
            "steps": steps,
            "mc_samples": mc_samples,
        }
        if not (min(counts.values()) >= 1 and around_best > 0 and margin >= 0):
            got = f"{counts}, {around_best=}, {margin=}"
            raise ValueError(f"expected counts of at least 1, around_best > 0 and margin >= 0, got {got}")
        self.batch, self.restarts, self.raw_samples = batch, restarts, raw_samples
        self.around_best, self.steps, self.mc_samples, self.margin = around_best, steps, mc_samples, margin

    def propose(self, n: int) -> Tensor:
        """Batches for `n` designs; their predicted scores count as observed for the batches after them."""
        model: BatchedMultiOutputGPyTorchModel = self.gp
        v, told = self.v, len(self.v)
        with seeded(self.rng):
            while len(v) < told + n:
                batch = self._optimize(model, v, min(self.batch, told + n - len(v)))
                with torch.no_grad():
                    model = model.condition_on_observations(batch, model.posterior(batch).mean)
                v = torch.cat([v, batch])
        return v[told:]

    def _optimize(self, model: BatchedMultiOutputGPyTorchModel, v: Tensor, q: int) -> Tensor:
        """`q x d` points that maximize the acquisition function together, given `n x d` points seen."""
        sampler = SobolQMCNormalSampler(torch.Size([self.mc_samples]), seed=int(torch.randint(2**31 - 1, ())))
        acquisition = qLogNoisyExpectedImprovement(model, v, sampler=sampler, prune_baseline=True)
        options: dict[str, bool | float | int | str] = {
            "maxiter": self.steps,
            "sample_around_best": True,
            "sample_around_best_sigma": self.around_best,
        }
        points, _ = optimize_acqf(
            acquisition, self._bounds(v), q, self.restarts, raw_samples=self.raw_samples, options=options
        )
        return self.within(points)

    def _bounds(self, v: Tensor) -> Tensor:
        """`2 x d` corners of the search box, with `n x d` points that a move into the domain has taken out of it."""
        low, high = self.v.amin(0), self.v.amax(0)
        margin = self.margin * torch.where(high > low, high - low, 1.0)
        return torch.stack([torch.minimum(low - margin, v.amin(0)), torch.maximum(high + margin, v.amax(0))])
