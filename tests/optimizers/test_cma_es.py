"""CMA-ES starts from round 0 and moves towards what scored well."""

import numpy as np
import torch


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
