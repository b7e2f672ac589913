"""Truncation and credit weights."""

import pytest
import torch

from bbo_bench.alignment.credit import Decreasing, Similarity, Truncation
from bbo_bench.alignment.finetune import Trajectories
from bbo_bench.seeding import generator


def trajectories(n=5, K=8):
    states = torch.randn(n, K + 1, 3, 2, generator=generator(0)).cumsum(1)
    return Trajectories(states, states[:, 1:])


@pytest.mark.parametrize("credit", [Decreasing(0.9), Decreasing(1.0), Similarity()])
def test_weights_have_mean_1_and_are_no_less_than_0(credit):
    weights = credit(trajectories(), 50)
    assert weights.shape == (5, 8) and (weights >= 0).all()
    torch.testing.assert_close(weights.mean(1), torch.ones(5))


def test_decreasing_weights_fall_with_the_steps_that_are_left():
    weights = Decreasing(0.9)(trajectories(), 50)[0]
    torch.testing.assert_close(weights / weights[-1], 0.9 ** torch.arange(7.0, -1, -1))
    half = Decreasing(0.9)(trajectories(), 25)[0]
    torch.testing.assert_close(half / half[-1], 0.81 ** torch.arange(7.0, -1, -1))


def test_similarity_is_the_cosine_with_where_it_ends():
    paths = trajectories(1, 3)
    paths.states[0, 1:, 0] = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
    paths.states[0, 1:, 1:] = 0
    torch.testing.assert_close(Similarity()(paths, 50), torch.tensor([[1.5, 0.0, 1.5]]))


def test_truncation_goes_from_first_to_last():
    assert [Truncation(10, 4)(20, progress) for progress in (0.0, 0.5, 1.0)] == [10, 7, 4]
    assert Truncation()(20, 0.3) == 20 and Truncation(last=7)(20, 0.3) == 7
    Truncation(20, 1).check(20)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Truncation(0, 1), "at least one step.*first=0"),
        (lambda: Truncation(3, None), "first=last=null, got .*first=3"),
        (lambda: Truncation(21, 1).check(20), "K <= 20.*first=21"),
        (lambda: Decreasing(0.0), "0 < gamma <= 1, got gamma=0.0"),
        (lambda: Decreasing(1.1), "0 < gamma <= 1, got gamma=1.1"),
    ],
)
def test_what_makes_no_sense_is_refused(made, message):
    with pytest.raises(ValueError, match=message):
        made()
