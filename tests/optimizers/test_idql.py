"""IDQL: how a critic chooses among plans that start alike."""

from dataclasses import replace

import pytest
import torch

from bbo_bench.seeding import generator
from bbo_bench.testing.probe import Probe, made, problem_of


def idql(**changes):
    optimizer = made("optimizer", "idql", changes)(problem_of(Probe(), (8, 8)), generator(0))
    x = torch.randn(8, 2, generator=generator(1))
    optimizer.tell(x, x[:, 1])
    optimizer.reward = lambda z: z[:, 1]
    return optimizer


def candidates():
    z = torch.zeros(5000, 3, 2)
    z[:, :, 1] = torch.tensor([0.0, 1.0, 2.0])
    return z, z[..., 1]


def test_greedy_takes_the_best_softmax_draws_and_expectation_averages():
    z, value = candidates()
    share = torch.tensor([0.0, 1.0, 2.0]).div(0.5).softmax(0)
    assert (idql(choice="greedy", temperature=0.5).chosen(z, value)[:, 1] == 2).all()
    drawn = idql(choice="softmax", temperature=0.5).chosen(z, value)[:, 1]
    torch.testing.assert_close(torch.bincount(drawn.long()) / len(drawn), share, atol=0.03, rtol=0)
    mean = idql(choice="expectation", temperature=0.5).chosen(z, value)[:, 1]
    torch.testing.assert_close(mean, (share @ torch.tensor([0.0, 1.0, 2.0])).expand(5000))


def test_the_weights_of_an_expectile_critic_count_only_signs():
    optimizer = idql(choice="expectile")
    assert optimizer.proxy.expectile == 0.7
    z, _ = candidates()
    share = torch.tensor([0.3, 0.7, 0.7]) / 1.7
    advantage = torch.tensor([-5.0, 0.0, 0.1]).expand(5000, -1)
    assert torch.allclose(optimizer.shares(advantage), share)
    drawn = optimizer.chosen(z, advantage)[:, 1]
    torch.testing.assert_close(torch.bincount(drawn.long()) / len(drawn), share, atol=0.03, rtol=0)


def test_advantages_are_values_without_that_of_the_start():
    critic = idql().proxy
    z = torch.randn(20, 2, generator=generator(3))
    observation, _ = critic._data.steps(critic._decode(z))
    torch.testing.assert_close(critic.advantage(z) + critic.value(observation[:, 0]), critic.predict(z))
    critic._data = replace(critic._data, relative=True)
    torch.testing.assert_close(critic.advantage(z), critic.predict(z))


def test_more_candidates_are_better_and_starts_stay_the_priors():
    few, many = (idql(candidates=n, choice="greedy").sample(500) for n in (1, 64))
    assert float(many[:, 1].mean()) > float(few[:, 1].mean()) + 0.5
    start = many[:, 0]
    assert abs(float(start.mean())) < 0.15 and float(start.std()) == pytest.approx(float(few[:, 0].std()), rel=0.15)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"choice": "best"}, "greedy, softmax, expectation, got choice='best'"),
        ({"temperature": 0.0}, "temperature > 0, got temperature=0.0"),
        ({"candidates": 0}, "got candidates=0"),
        ({"proxy": None}, "got proxy=null"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        idql(**setting)


def test_the_candidates_of_a_start_share_what_is_given():
    optimizer = idql(candidates=16, choice="softmax")
    starts = torch.randn(50, 2, generator=generator(2))
    optimizer.prior.sample = lambda n, rng: starts[:n]
    z = optimizer.draw(50)
    assert torch.equal(z[:, 0], starts[:, 0]) and not torch.isclose(z[:, 1], starts[:, 1]).any()
