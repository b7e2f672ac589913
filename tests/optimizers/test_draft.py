"""DRaFT against plain backpropagation, known gradients and, with a KL weight and K = T, the tilted prior.

With all steps kept the loss is E[α Σ_t KL_t - r(x_0)], whose optimum is the prior tilted by exp(r/α). With v_0 the
variance of the prior's samples, that has variance v_0 and mean v_0 b/α for the reward b·x, and for -‖x - c‖²/2 the
variance v = 1/(1/v_0 + 1/α) and the mean v c/α.
"""

import pytest
import torch
from torch import nn

from bbo_bench.optimizers.draft import DRaFT
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, Quadratic, bias_slope, check, moments, problem, tuned

STEPS = 20


def method(proxy=Linear, **settings):
    defaults = {"K": None, "renoised": 0, "updates": 1, "batch_size": 128, "training": TRAINING}
    made = DRaFT(problem(STEPS), generator(0), proxy=proxy, **(defaults | settings))
    made.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return made


def first_gradient(made):
    made.rng.manual_seed(0)
    loss = next(made.losses())
    weights = made.policy.trainable().values()
    return torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)


def test_through_all_steps_it_is_plain_backpropagation():
    made = method(Quadratic, K=STEPS)
    nn.init.normal_(made.policy.network.out.weight, std=0.3, generator=generator(1))
    gradient = first_gradient(made)
    made.rng.manual_seed(0)
    *_, x0 = made.transition.walk(made.policy, made.start(made.batch_size), made.rng)
    plain = torch.autograd.grad(-made.reward(x0).mean(), made.policy.trainable().values())
    assert all(torch.allclose(g, p, rtol=1e-4, atol=1e-6) for g, p in zip(gradient, plain, strict=True))


@pytest.mark.parametrize("K", [1, 5, STEPS])
def test_the_first_gradient_is_that_of_the_last_K_steps(K):
    made = method(K=K)
    kept = torch.arange(STEPS) >= STEPS - K
    assert torch.allclose(first_gradient(made)[-1], -bias_slope(made.transition, kept) * Linear().b, rtol=1e-4)


def test_renoised_copies_follow_the_one_step_prediction():
    """x̂_0 = signal x_1 + slope v has the gradient slope · b in the output layer's bias."""
    made = method(K=1, renoised=4)
    last, zero = STEPS - 1, torch.zeros(1, 2)
    slope = made.transition.denoise(last, zero, zero + 1)[0, 0]
    assert torch.allclose(first_gradient(made)[-1], -slope * Linear().b, rtol=1e-4)


def test_renoised_copies_share_their_x0_and_nothing_else():
    """x̂_0 is a multiple of x_1 before training, so copies of one x_0 differ by two independent draws of x_1's noise."""
    made, seen = method(K=1, renoised=2, batch_size=4000), []
    made.reward = lambda z: seen.append(z) or z.sum(1)
    next(made.losses())
    first, second = seen[0].chunk(2)
    last, one = STEPS - 1, torch.ones(1, 2)
    noise = made.transition.denoise(last, made.transition.noise(last, 0 * one, one), 0 * one)[0, 0]
    assert float((first - second).detach().std()) == pytest.approx(2**0.5 * float(noise), rel=0.05)


@pytest.mark.parametrize("settings", [{"K": 1}, {"K": 1, "renoised": 2}, {"K": None}])
def test_the_reward_ascends(settings):
    before = float(Quadratic()(method().sample(2000)).mean())
    z = tuned(method(Quadratic, updates=50, **settings), 2000)
    assert float(Quadratic()(z).mean()) > before + 0.5


@pytest.mark.slow
def test_with_kl_it_meets_the_tilted_distribution_of_a_linear_reward():
    made = method(updates=400, batch_size=256, kl_weight=1.0)
    _, variance = moments(made.transition, torch.zeros(STEPS))
    check(tuned(made), variance * Linear().b, variance)


@pytest.mark.slow
def test_with_kl_it_meets_the_tilted_distribution_of_a_quadratic_reward():
    made = method(Quadratic, updates=400, batch_size=256, kl_weight=1.0)
    _, natural = moments(made.transition, torch.zeros(STEPS))
    variance = 1 / (1 / natural + 1)
    check(tuned(made), variance * Quadratic().c, variance)


@pytest.mark.parametrize(
    ("settings", "got"),
    [
        ({"K": 0}, "got K=0"),
        ({"K": STEPS + 1}, f"1 <= K <= {STEPS}.*got K=21"),
        ({"K": 2, "renoised": 1}, "got renoised=1, K=2"),
        ({"K": 1, "renoised": 1, "kl_weight": 0.1}, "kl_weight=0.1"),
        ({"renoised": -1}, "got renoised=-1"),
        ({"proxy": None}, "DRaFT.*got proxy=null"),
        ({"updates": 0}, "got updates=0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, got):
    with pytest.raises(ValueError, match=f"expected .*{got}"):
        method(**settings)
