"""The baseline of baselines learns nothing."""

import torch

from bbo_bench.seeding import generator


def test_asks_for_what_the_prior_gives(problem, play, build):
    optimizer = build("prior_sampling", problem)
    play(optimizer)
    optimizer.rng.manual_seed(3)
    expected = problem.prior.sample(5, torch.Generator().manual_seed(3))
    assert torch.equal(optimizer.ask(5), expected)
    assert optimizer.state_dict() == {}


def test_samples_are_fresh(problem, build):
    optimizer = build("prior_sampling", problem)
    optimizer.rng = generator(0, "fresh")
    assert not torch.equal(optimizer.recommend(5), optimizer.recommend(5))
