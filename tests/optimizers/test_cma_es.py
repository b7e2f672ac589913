"""CMA-ES starts from round 0 and moves towards what scored well."""

import cma
import numpy as np
import pytest
import torch

from bbo_bench.core import Problem
from bbo_bench.domains import Box
from bbo_bench.optimizers.cma_es import generations


def test_starts_from_mean_and_covariance_of_round_0(problem, play, build):
    optimizer = build("cma_es", problem)
    first = play(optimizer, rounds=1).rounds[0]
    start = optimizer.to_designs(optimizer.axes.center[None])[0]
    assert torch.allclose(start, first.mean(0), atol=1e-5)
    optimizer.rounds = []
    z = torch.randn(20_000, 10, generator=torch.Generator().manual_seed(0)).double()
    spread = optimizer.to_designs(optimizer.axes.inverse(z)).T.cov()
    assert torch.allclose(spread, first.T.cov(), atol=0.1)


def test_mean_after_round_0_is_the_weighted_mean_of_the_best_tenth(problem, play, build):
    optimizer = build("cma_es", problem, parents=0.1)
    first = play(optimizer, rounds=1).rounds[0]
    weights = np.log(3.5) - np.log(np.arange(1, 4))  # 3 parents of 32 designs
    best = first[optimizer.y.argsort(descending=True)[:3]].double()
    expected = torch.from_numpy(weights / weights.sum()) @ best
    mean = optimizer.axes.inverse(torch.from_numpy(optimizer.strategy.mean)[None])
    assert torch.allclose(optimizer.to_designs(mean)[0].double(), expected, atol=1e-5)


def test_step_size_falls_at_the_optimum(problem, play, build):
    optimizer = build("cma_es", problem)
    play(optimizer, score=lambda x: -x.square().sum(1))
    assert optimizer.diagnostics()["sigma"] < 1


def test_beats_random_search(problem, play, build, random_best):
    assert play(build("cma_es", problem)).best > random_best / 2


def test_finds_a_corner_of_the_box(cramped, play, build):
    run = play(build("cma_es", cramped))
    assert (run.x == cramped.domain.upper).any(), "designs beyond the border are moved onto it"
    assert run.best > -1.2


def test_resumes_from_its_state(problem, play, build):
    optimizer, other = (build("cma_es", problem) for _ in range(2))
    play(optimizer, rounds=2)
    other.load_state_dict(optimizer.state_dict())
    for each in (optimizer, other):
        each.rng.manual_seed(5)
    assert torch.equal(optimizer.ask(40), other.ask(40))


def sphere(x):
    return -(x - 2).square().mean(1)


def free_rein(dim, rounds):
    """A problem whose box no design leaves, and the designs of its rounds."""
    domain = Box(torch.full((dim,), -10.0), torch.full((dim,), 10.0))
    designs = [torch.randn(n, dim, generator=torch.Generator().manual_seed(i)) for i, n in enumerate(rounds)]
    return Problem(domain, None, rounds), designs


def package(dim, population, parents, sigma=1.0):
    """The package's own strategy for a population."""
    options = {"popsize": population, "CMA_mu": round(parents * population), "seed": 1, "verbose": -9}
    return cma.CMAEvolutionStrategy(np.zeros(dim), sigma, options)


@pytest.mark.parametrize(("dim", "population"), [(2, 8), (10, 32), (18, 64)])
def test_trajectories_are_those_of_the_package(build, dim, population):
    problem, designs = free_rein(dim, (population,) * 4)
    optimizer = build("cma_es", problem, sigma=0.8, parents=0.5)
    expected = package(dim, population, 0.5, 0.8)
    for x in designs:
        y = sphere(x).double()
        optimizer.tell(x, y)
        expected.ask()
        expected.tell(list(optimizer.axes(optimizer.to_vectors(x)).numpy()), (-y).tolist())
        strategy = optimizer.strategy
        assert np.array_equal(strategy.mean, expected.mean) and strategy.sigma == expected.sigma
        assert np.array_equal(strategy.sm.C, expected.sm.C)


def test_learning_rates_and_damping_are_those_of_the_present_population(build):
    problem, designs = free_rein(20, (64, 512))
    optimizer = build("cma_es", problem, parents=0.31)
    for x in designs:
        optimizer.tell(x, sphere(x).double())
        expected, rule = package(20, len(x), 0.31), optimizer.strategy.adapt_sigma
        assert (rule.cs, rule.damps) == (expected.adapt_sigma.cs, expected.adapt_sigma.damps)
        for rate in ("mu", "cc", "c1", "cmu"):
            assert getattr(optimizer.strategy.sp, rate) == getattr(expected.sp, rate)
        weights = np.array(list(expected.sp.weights))
        np.testing.assert_allclose(list(optimizer.strategy.sp.weights), weights, rtol=1e-12, atol=1e-18)
    assert rule.cs == 0.5 and rule.damps == pytest.approx(8.79, abs=0.005)


def test_small_rounds_are_put_together(build):
    problem, designs = free_rein(10, (4, 4, 1, 1, 32, 1))
    optimizer = build("cma_es", problem)
    for x in designs:
        optimizer.tell(x, sphere(x).double())
    first, second = generations(optimizer.rounds, 10)
    assert torch.equal(first[0], torch.cat(designs[:4])) and torch.equal(second[0], designs[4])
    assert torch.equal(first[1], sphere(first[0]).double())
    assert optimizer.strategy.countiter == 2 and optimizer.strategy.countevals == 42
