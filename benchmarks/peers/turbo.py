"""`turbo` and `turbo_raw` beside TuRBO-1 as BoTorch's tutorial has it, from the same first designs.

    python benchmarks/peers/turbo.py --seeds 10 --csv results/peers/turbo.csv

Settings: Ackley's function in 20 coordinates as in the tutorial, 40 Sobol points and 106 batches of 4; and the suite's
rounds on ackley_20, hartmann_6 and airfoil. It goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from botorch.fit import fit_gpytorch_mll
from botorch.generation import MaxPosteriorSampling
from botorch.models import SingleTaskGP
from gpytorch.constraints import Interval
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from harness import compare
from torch import Generator, Tensor
from torch.quasirandom import SobolEngine

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Prior, Problem
from bbo_bench.domains import Box
from bbo_bench.library import ROUNDS, builder, load_task
from bbo_bench.seeding import seeded
from bbo_bench.tasks.synthetic import Synthetic


class Tutorial(ArchiveOptimizer):
    """TuRBO-1 with the tutorial's settings: https://botorch.org/docs/tutorials/turbo_1/.

    The process is fitted to the standardized scores of all points, with one noise level of at most 1e-3. A round counts
    as one success or one failure. Where the tutorial stops, the region being too small, it stays as it is.
    """

    def update(self) -> None:
        """Count the last round."""
        n, d = len(self.rounds[-1][0]), self.to_vectors(self.rounds[-1][0]).shape[1]
        top = float(self.rounds[-1][1].max())
        if len(self.rounds) == 1:
            self.length, self.best, self.successes, self.failures = 0.8, top, 0, 0
            return
        improved = top > self.best + 1e-3 * abs(self.best)
        self.successes, self.failures = (self.successes + 1, 0) if improved else (0, self.failures + 1)
        if self.successes == 10:
            self.length, self.successes = min(2 * self.length, 1.6), 0
        elif self.failures == math.ceil(max(4 / n, d / n)):
            self.length, self.failures = max(self.length / 2, 0.5**7), 0
        self.best = max(self.best, top)

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        u, y = self.to_vectors(self.x), ((self.y - self.y.mean()) / self.y.std())[:, None]
        d = u.shape[1]
        kernel = ScaleKernel(MaternKernel(nu=2.5, ard_num_dims=d, lengthscale_constraint=Interval(0.005, 4.0)))
        likelihood = GaussianLikelihood(noise_constraint=Interval(1e-8, 1e-3))
        model = SingleTaskGP(u, y, covar_module=kernel, likelihood=likelihood, outcome_transform=None)
        with seeded(self.rng):
            fit_gpytorch_mll(ExactMarginalLogLikelihood(likelihood, model))
            scale = kernel.base_kernel.lengthscale.detach().squeeze()
            scale = scale / scale.mean()
            scale = scale / scale.prod().pow(1 / d)
            center = u[y.argmax()]
            low, high = ((center + side * scale * self.length / 2).clamp(0, 1) for side in (-1, 1))
            count = min(5000, max(2000, 200 * d))
            sobol = low + (high - low) * SobolEngine(d, scramble=True).draw(count).double()
            moved = torch.rand(count, d) <= min(20 / d, 1)
            still = (~moved).all(1)
            moved[still, torch.randint(d, (int(still.sum()),))] = True
            with torch.no_grad():
                sampled = MaxPosteriorSampling(model, replacement=False)(torch.where(moved, sobol, center), n)
        return self.to_designs(sampled)


class Uniform(Prior):
    """Scrambled Sobol points of a box."""

    def __init__(self, box: Box) -> None:
        self.box, self.latent_shape = box, box.shape

    def sample(self, n: int, rng: Generator) -> Tensor:
        """See `Prior.sample`."""
        seed = int(torch.randint(2**31 - 1, (), generator=rng))
        return self.box.unnormalize(SobolEngine(len(self.box.lower), scramble=True, seed=seed).draw(n))

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`."""
        return z

    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        return x

    def to(self, device: torch.device) -> Uniform:
        """See `Prior.to`."""
        return self


class FromSobol(Synthetic):
    """A test function without noise, from Sobol points of its whole box."""

    def problem(self, budget: tuple[int, ...], device: torch.device) -> Problem:
        """See `Task.problem`."""
        return Problem(self.domain, Uniform(self.domain), budget)


def main() -> None:
    """Make the runs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--csv", type=Path, default=Path("results/peers/turbo.csv"))
    parser.add_argument("--settings", nargs="+", default=["tutorial", "ackley_20", "hartmann_6", "airfoil"])
    arguments = parser.parse_args()
    known = {name: (load_task(name), ROUNDS) for name in ("ackley_20", "hartmann_6", "airfoil")}
    known["tutorial"] = (FromSobol("ackley", 20, 0.0, -14.53, 0.0, -14.53), (40, *[4] * 106))
    contenders = {"tutorial": Tutorial, "turbo": builder("turbo", {}), "turbo_raw": builder("turbo_raw", {})}
    compare(arguments.csv, {name: known[name] for name in arguments.settings}, contenders, arguments.seeds)


if __name__ == "__main__":
    main()
