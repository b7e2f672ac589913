"""What methods share that steer a prior, by hand."""

import math

import pytest
import torch

from bbo_bench.alignment.generative import Generative
from bbo_bench.core import Problem, UnsuitableError
from bbo_bench.domains import Box
from bbo_bench.seeding import generator


class Plain(Generative):
    def sample(self, n):
        return self.prior.sample(n, self.rng)


def steered(gaussian, budget=(2, 3, 4), **settings):
    box = Box(torch.full((2,), -20.0), torch.full((2,), 20.0))
    return Plain(Problem(box, gaussian, budget), generator(0), proxy=None, **settings)


def test_progress_goes_from_0_in_the_first_round_to_1_in_the_last(gaussian):
    optimizer = steered(gaussian)
    seen = []
    for n in (2, 3, 4):
        optimizer.tell(torch.zeros(n, 2), torch.arange(n).double())
        seen.append((optimizer.round, optimizer.progress))
    assert seen == [(0, 0.0), (1, 0.5), (2, 1.0)]
    alone = steered(gaussian, (2,))
    alone.tell(torch.zeros(2, 2), torch.zeros(2))
    assert alone.progress == 0


def test_the_bonus_is_the_weighted_mean_distance_in_root_mean_squares(gaussian):
    optimizer = steered(gaussian, diversity=0.5)
    bonus = optimizer.bonus(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]]))
    expected = [(2 + 4) / 2, (2 + math.sqrt(20)) / 2, (4 + math.sqrt(20)) / 2]
    torch.testing.assert_close(bonus, torch.tensor(expected) * 0.5 / math.sqrt(2))
    assert optimizer.bonus(torch.ones(1, 2)).tolist() == [0]
    assert steered(gaussian).bonus(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).tolist() == [0, 0]


def test_a_sampler_without_noise_is_refused_where_noise_is_needed(gaussian):
    optimizer = steered(gaussian)
    optimizer.check_stochastic()
    optimizer.transition = gaussian.sampler(20, eta=0)
    with pytest.raises(UnsuitableError, match="needs a stochastic sampler"):
        optimizer.check_stochastic()
