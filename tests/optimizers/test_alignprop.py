"""AlignProp: where it cuts, what its first gradient is, and that cutting at random moves no optimum.

If a step keeps its gradient, so do all later ones. What it gets is thus the whole gradient of the objective by its
output, and the cut but scales it by the probability that it is kept. The optimum with a KL weight is the tilted prior.
"""

import pytest
import torch
from scipy.stats import truncnorm

from bbo_bench.optimizers.alignprop import AlignProp
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, Quadratic, bias_slope, check, moments, problem, tuned

STEPS = 20


def method(proxy=Linear, **settings):
    defaults = {"cut_mean": 0.84, "cut_std": 0.1, "updates": 1, "batch_size": 128, "training": TRAINING}
    made = AlignProp(problem(STEPS), generator(0), proxy=proxy, **(defaults | settings))
    made.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return made


@pytest.mark.parametrize("cut_std", [0.1, 1.0])
def test_the_cut_is_a_truncated_normal(cut_std):
    made = method(updates=20_000, cut_std=cut_std)
    kept = made.kept()
    mean, std = 0.84 * STEPS, cut_std * STEPS
    law = truncnorm((1 - mean) / std, (STEPS - mean) / std, mean, std)
    kept_if_cut_before = torch.as_tensor(law.cdf(torch.arange(1, STEPS + 1)))
    assert torch.equal(kept, kept.cummax(1).values)
    assert torch.allclose(kept.double().mean(0), kept_if_cut_before, atol=0.015)


def test_the_first_gradient_is_that_of_the_kept_steps():
    made = method(batch_size=512)
    [kept] = method(batch_size=512).kept()
    [bias] = torch.autograd.grad(next(made.losses()), made.policy.network.out.bias)
    assert torch.allclose(bias, -bias_slope(made.transition, kept) * Linear().b, rtol=1e-4)


def test_the_reward_ascends():
    before = float(Quadratic()(method().sample(2000)).mean())
    z = tuned(method(Quadratic, updates=50), 2000)
    assert float(Quadratic()(z).mean()) > before + 0.5


@pytest.mark.slow
def test_with_kl_it_meets_the_tilted_distribution_of_a_quadratic_reward():
    made = method(Quadratic, cut_mean=0.0, cut_std=0.5, updates=400, batch_size=256, kl_weight=1.0)
    _, natural = moments(made.transition, torch.zeros(STEPS))
    variance = 1 / (1 / natural + 1)
    check(tuned(made), variance * Quadratic().c, variance)


@pytest.mark.parametrize(
    ("settings", "got"),
    [
        ({"cut_mean": 1.5}, "got cut_mean=1.5"),
        ({"cut_std": 0.0}, "cut_std=0.0"),
        ({"proxy": None}, "AlignProp.*got proxy=null"),
    ],
)
def test_settings_out_of_range_are_refused(settings, got):
    with pytest.raises(ValueError, match=f"expected .*{got}"):
        method(**settings)
