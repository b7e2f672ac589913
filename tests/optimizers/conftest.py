"""A score without a model: a narrow Gaussian prior in a wide box, and the loop in ten lines."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from bbo_bench.core import Optimizer, Prior, Problem
from bbo_bench.domains import Box
from bbo_bench.seeding import generator
from bbo_bench.testing.probe import made

DIMENSION = 10
BUDGET = (32, 64, 96)
OPTIMUM = 2.0
NOISE_STD = 0.05


class Gaussian(Prior):
    """Designs of mean 0 and covariance I, cut at the box."""

    latent_shape = torch.Size([DIMENSION])

    def __init__(self, domain: Box) -> None:
        self.domain = domain

    def sample(self, n, rng):
        return torch.randn(n, DIMENSION, generator=rng)

    def decode(self, z):
        return self.domain.clamp(z)

    def encode(self, x):
        return x

    def to(self, device):
        return self


def sphere(x):
    """Highest, with 0, where every coordinate is 2: two standard deviations from the prior's mean."""
    return -(x - OPTIMUM).square().mean(1)


@pytest.fixture
def problem() -> Problem:
    domain = Box(torch.full((DIMENSION,), -10.0), torch.full((DIMENSION,), 10.0))
    return Problem(domain, Gaussian(domain), BUDGET)


@pytest.fixture
def cramped() -> Problem:
    """The optimum of `sphere` is a corner of this box."""
    domain = Box(torch.full((DIMENSION,), -10.0), torch.full((DIMENSION,), OPTIMUM))
    return Problem(domain, Gaussian(domain), BUDGET)


@pytest.fixture
def play() -> Callable[..., SimpleNamespace]:
    """Run an optimizer for some rounds of its budget; gives all designs and the optimizer."""

    def run(optimizer, score=sphere, seed=0, rounds=None):
        problem, asked = optimizer.problem, []
        for i, n in enumerate(problem.budget[:rounds]):
            optimizer.rng.manual_seed(generator(seed, "ask", i).initial_seed())
            x = problem.prior.decode(problem.prior.sample(n, generator(seed, "prior"))) if i == 0 else optimizer.ask(n)
            asked.append(problem.domain.check(x))
            noise = NOISE_STD * torch.randn(n, generator=generator(seed, "noise", i), dtype=torch.float64)
            optimizer.rng.manual_seed(generator(seed, "tell", i).initial_seed())
            optimizer.tell(x, score(x).double() + noise)
        return SimpleNamespace(rounds=asked, x=torch.cat(asked), best=float(score(torch.cat(asked)).max()))

    return run


@pytest.fixture
def build() -> Callable[..., Optimizer]:
    """Make an optimizer with the settings of its YAML, some of them changed."""

    def make(name, problem, **changes):
        return made("optimizer", name, changes)(problem, generator(0, "build"))

    return make


@pytest.fixture
def random_best(problem, play, build) -> float:
    """What as many samples of the prior reach."""
    return play(build("prior_sampling", problem)).best
