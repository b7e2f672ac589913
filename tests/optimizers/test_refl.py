"""ReFL against the known gradient of the one-step prediction."""

import pytest
import torch

from bbo_bench.optimizers.refl import ReFL
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, Quadratic, problem, tuned

STEPS = 20


def method(proxy=Linear, **settings):
    defaults = {"earliest": 0.75, "target": None, "updates": 1, "batch_size": 128, "training": TRAINING}
    made = ReFL(problem(STEPS), generator(0), proxy=proxy, **(defaults | settings))
    made.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return made


def one_hot(m):
    return (torch.arange(STEPS) == m).tolist()


@pytest.mark.parametrize("m", [0, 15, STEPS - 1])
def test_the_first_gradient_is_that_of_the_one_step_prediction(m):
    """x̂_0 = signal x_t + slope v has the gradient slope · b in the output layer's bias."""
    made, zero = method(), torch.zeros(1, 2)
    [bias] = torch.autograd.grad(made.loss(one_hot(m)), made.policy.network.out.bias)
    slope = made.transition.denoise(m, zero, zero + 1)[0, 0]
    assert torch.allclose(bias, -slope * Linear().b, rtol=1e-4)


def test_it_predicts_from_every_late_step_and_no_early_one():
    kept = method(updates=400).kept()
    assert (kept.sum(1) == 1).all()
    counts = kept.sum(0)
    assert counts[:15].sum() == 0
    assert (counts[15:] > 50).all()


def test_a_reward_above_the_target_gives_no_gradient():
    made = method(target=-100.0)
    [bias] = torch.autograd.grad(made.loss(one_hot(STEPS - 1)), made.policy.network.out.bias)
    assert bias.count_nonzero() == 0


def test_the_reward_ascends():
    before = float(Quadratic()(method().sample(2000)).mean())
    z = tuned(method(Quadratic, updates=50), 2000)
    assert float(Quadratic()(z).mean()) > before + 0.5


@pytest.mark.parametrize(
    ("settings", "got"),
    [
        ({"earliest": 1.0}, "got earliest=1.0"),
        ({"kl_weight": 0.1}, "no KL term, got kl_weight=0.1, kl_budget=None"),
        ({"kl_budget": 4}, "no KL term, got kl_weight=0, kl_budget=4"),
        ({"proxy": None}, "ReFL.*got proxy=null"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, got):
    with pytest.raises(ValueError, match=f"expected .*{got}"):
        method(**settings)
