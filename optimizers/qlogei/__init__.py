"""Batch Bayesian optimization by noisy log expected improvement (Ament et al. 2023), by BoTorch."""

from __future__ import annotations

import math
from functools import partial

import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.models.gpytorch import BatchedMultiOutputGPyTorchModel
from botorch.optim.optimize import optimize_acqf
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.utils.safe_math import log_fatplus
from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.domains import Box, Sequences
from bbo_bench.seeding import seeded
from bbo_bench.surrogate.gp import GPOptimizer, jittered

__all__ = ["QLogEI"]

POOL = 4
"""Sequences of a pool for one that is chosen."""
GENERATIONS = 10
"""In which a pool is bred."""
MUTATIONS = 1.5
"""Expected mutations of a sequence in a generation."""
CHUNK = 512
"""Sequences of a posterior whose variances alone matter: it holds their covariances too."""
INCUMBENTS = 32
"""Known sequences, those of the highest means, above which a draw improves."""
TAU = 1e-6
"""Smoothing of the positive part, as in BoTorch's qLogNEI."""


class QLogEI(GPOptimizer):
    """Asks for batches that jointly maximize qLogNEI, each given that the batches before it scored as predicted.

    In a box a batch is optimized by gradients. Of sequences a pool is bred, generation by generation those of the
    highest expected improvement, and a batch is chosen from it, one by one.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        batch: Designs of a round that are optimized jointly, or chosen from the same posterior draws.
        restarts: Starting batches of an optimization.
        raw_samples: Sobol batches from which the starting ones are chosen, beside as many around the best designs.
        around_best: Standard deviation of the latter, in units of the search box.
        steps: Iterations of an optimization.
        mc_samples: Draws that estimate the acquisition value.
        margin: The search box spans the designs told so far, extended by this fraction at every side.
        whiten: See `GPOptimizer`.
        tanimoto: See `GPOptimizer`.
        max_points: See `GPOptimizer`.
        fit_steps: See `GPOptimizer`.

    Raises:
        ValueError: If a setting is out of range.
    """

    domains = (Box, Sequences)

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
        tanimoto: bool | None,
        max_points: int,
        fit_steps: int,
    ) -> None:
        super().__init__(problem, rng, whiten=whiten, tanimoto=tanimoto, max_points=max_points, fit_steps=fit_steps)
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
        best = partial(self._chosen, self._bred(POOL * n)) if isinstance(self.domain, Sequences) else self._optimized
        model: BatchedMultiOutputGPyTorchModel = self.gp
        v, told = self.v, len(self.v)
        with seeded(self.rng):
            while len(v) < told + n:
                batch = best(model, v, min(self.batch, told + n - len(v)))
                with torch.no_grad():
                    model = model.condition_on_observations(batch, model.posterior(batch).mean)
                v = torch.cat([v, batch])
        return v[told:]

    def _optimized(self, model: BatchedMultiOutputGPyTorchModel, v: Tensor, q: int) -> Tensor:
        """`q x d` points that maximize the acquisition function together, given `n x d` points seen."""
        sampler = SobolQMCNormalSampler(torch.Size([self.mc_samples]), seed=int(torch.randint(2**31 - 1, ())))
        acquisition = qLogNoisyExpectedImprovement(model, v, sampler=sampler, prune_baseline=True)
        options: dict[str, bool | float | int | str] = {
            "maxiter": self.steps,
            "sample_around_best": True,
            "sample_around_best_sigma": self.around_best,
            "init_batch_limit": 8,
        }
        points, _ = optimize_acqf(
            acquisition, self.bounds(v, self.margin), q, self.restarts, raw_samples=self.raw_samples, options=options
        )
        return self.within(points)

    @torch.no_grad()
    def _bred(self, n: int) -> Tensor:
        """`n x d` new sequences of high expected improvement, or fewer; mutants of the told ones and of each other."""
        told = self.to_vectors(self.x)
        mean = self.mean(told)
        best, parents, pool = mean.max(), told[mean.argsort(descending=True)[:n]], told[:0]
        for _ in range(GENERATIONS):
            mutants = self.mutated(parents[torch.arange(n, device=told.device) % len(parents)], MUTATIONS)
            pool = self.unseen(torch.cat([pool, mutants]))
            if len(pool):
                promise = self._log_expected_improvement(pool, best)
                parents = pool = pool[promise.argsort(descending=True, stable=True)[:n]]
        return pool

    def _log_expected_improvement(self, v: Tensor, best: Tensor) -> Tensor:
        """Of `m x d` sequences over the score `best`, an `m`-dim tensor."""
        found = []
        for some in torch.split(v, CHUNK):
            posterior = self.gp.posterior(some)
            std = posterior.variance.clamp_min(1e-12).sqrt()
            found.append(log_expected_improvement(posterior.mean, std, self.scale(best)).squeeze(-1))
        return torch.cat(found)

    @torch.no_grad()
    def _chosen(self, pool: Tensor, model: BatchedMultiOutputGPyTorchModel, v: Tensor, q: int) -> Tensor:
        """`q x d` sequences of a pool, one by one that of the highest qLogNEI beside those before it."""
        new = self.unseen(pool, v)
        if len(new) < q:
            new = torch.cat([new, self.to_vectors(self.domain.sample(q - len(new), self.rng))])
        mean = model.posterior(v).mean.squeeze(-1)
        base = v[mean.argsort(descending=True, stable=True)[:INCUMBENTS]]
        with jittered():
            draws = model.posterior(torch.cat([base, new])).rsample(torch.Size([self.mc_samples])).squeeze(-1)
        top, draws = draws[:, : len(base)].amax(1, keepdim=True), draws[:, len(base) :]
        free = torch.ones(len(new), dtype=torch.bool, device=v.device)
        for _ in range(q):
            improvement = log_fatplus(draws - top, TAU).logsumexp(0)
            pick = improvement.where(free, -torch.inf).argmax()
            free[pick] = False
            top = torch.maximum(top, draws[:, pick, None])
        return new[~free]


def log_expected_improvement(mean: Tensor, std: Tensor, best: Tensor) -> Tensor:
    """Log E[max(f - best, 0)] of f ~ N(mean, std²), a tensor of the shape of `mean` in double precision.

    With z = (mean - best) / std it is log std + log(φ(z) + z Φ(z)), where below 0 the sum is φ(z) (1 - |z| M(|z|)) with
    the Mills ratio M, which decays with 1 / z² and not with φ.
    """
    z = ((mean - best) / std).clamp(min=-1e5)
    below, above = z.clamp(max=0), z.clamp(min=0)
    mills = math.sqrt(math.pi / 2) * torch.special.erfcx(-below / math.sqrt(2))
    log_density = -z.square() / 2 - math.log(2 * math.pi) / 2
    log_below = log_density + (1 + below * mills).log()
    log_above = (log_density.exp() + above * torch.special.ndtr(above)).log()
    return std.log() + torch.where(z < 0, log_below, log_above)
