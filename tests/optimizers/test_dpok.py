"""DPOK: the optimum of a gradient that leaves out the divergence of later steps.

A step's mean m maximizes E[r(x_0) | x_{t-1}] - α |m - A_t x|² / 2σ_t², where later steps are what they are. For r = b·x
the expectation has the slope of later steps, which is the prior's, so that the shift is the tilted prior's. For r =
-‖x - c‖²/2, later steps that take x_{t-1} to P x_{t-1} + S c on average make it

    m = (α A_t x + σ_t² P (1 - S) c) / (α + σ_t² P²),

from the last step (P = 1, S = 0) to the first. It stops short of the tilted prior's mean: that later steps will pay
less for their divergence, the nearer this one brings them, does not count.
"""

import pytest
import torch

from bbo_bench.optimizers.dpok import DPOK
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import (
    TRAINING,
    Linear,
    Quadratic,
    check,
    moments,
    problem,
    settled,
    slopes,
    tempering_steps,
    tilting_shifts,
    tuned,
)

STEPS = 10


def dpok(**changes):
    settings = {
        "proxy": Linear,
        "kl_weight": 1.0,
        "iterations": 60,
        "samples": 1024,
        "epochs": 1,
        "minibatches": 4,
        "clip": 0.2,
        "value_updates": 10,
        "value_learning_rate": 2e-3,
        "max_advantage": 5.0,
        "training": TRAINING,
    }
    optimizer = DPOK(problem(STEPS), generator(0), **settings | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def short_sighted_steps(transition, kl_weight=1.0):
    """Slopes and shifts, per unit of c, of the module's docstring."""
    p, s = 1.0, 0.0
    steps = []
    for a, std in zip(slopes(transition).flip(0).tolist(), transition.std.flip(0).tolist(), strict=True):
        shrink = 1 / (kl_weight + std**2 * p**2)
        slope, shift = shrink * kl_weight * a, shrink * std**2 * p * (1 - s)
        steps.append((slope, shift))
        p, s = p * slope, s + p * shift
    slope, shift = torch.tensor(steps).flip(0).unbind(1)
    return slope, shift


def test_a_linear_reward_tilts_the_prior():
    optimizer = dpok()
    mean, variance = moments(optimizer.transition, tilting_shifts(optimizer.transition))
    check(settled(optimizer), mean * Linear().b, variance)


@pytest.mark.slow
def test_a_quadratic_reward_is_met_where_later_divergences_do_not_count():
    optimizer = dpok(proxy=Quadratic)
    step = optimizer.transition
    slope, shift = short_sighted_steps(step)
    mean, variance = moments(step, shift, slope)
    exact_slope, exact_shift = tempering_steps(step)
    assert mean < 0.9 * moments(step, exact_shift, exact_slope)[0]
    check(settled(optimizer), mean * Quadratic().c, variance)


def test_the_numbers_of_the_readme():
    step = problem(50).prior.transition
    slope, shift = short_sighted_steps(step)
    assert moments(step, shift, slope) == pytest.approx((0.407, 0.526), abs=5e-4)


def test_outside_the_band_there_is_no_gradient_in_either_direction():
    optimizer = dpok(kl_weight=0.0)
    steps = optimizer.experience(optimizer.rollout(16))
    weights = list(optimizer.policy.trainable().values())
    for shift in (1.0, -1.0):  # log-ratios of the policy to a behaviour that was less or more likely to do this
        away = steps._replace(behaviour=steps.behaviour - shift)
        assert all(not g.any() for g in torch.autograd.grad(optimizer.loss(away), weights))
    assert any(g.any() for g in torch.autograd.grad(optimizer.loss(steps), weights))


def test_the_value_function_learns_the_expected_reward():
    """Under the prior, E[b·x_0 | x_T] is b·x_T times the product of all slopes, and at the last step about b·x_1."""
    optimizer = dpok(value_updates=1500)
    optimizer.experience(optimizer.rollout(2048))
    x = torch.randn(500, 2, generator=generator(3))
    timesteps = optimizer.transition.timesteps
    whole = float(slopes(optimizer.transition).prod())
    for k, slope in ((0, whole), (STEPS - 1, float(slopes(optimizer.transition)[-1]))):
        with torch.no_grad():
            value = optimizer.value(x, timesteps[k].expand(500))
        assert float((value - slope * x @ Linear().b).square().mean().sqrt()) < 0.15


def test_the_first_baseline_is_the_mean_of_the_prior():
    """V is 0 before training, and rewards are standardized by the prior's designs."""
    optimizer = dpok()
    rollout = optimizer.rollout(64)
    above = rollout.reward - rollout.reward.mean()
    advantage = optimizer.advantages(rollout, torch.zeros(64, STEPS))
    expected = above / rollout.reward[:, None].expand(-1, STEPS).std()
    torch.testing.assert_close(advantage, expected[:, None].expand(-1, STEPS))


def test_without_kl_the_reward_ascends():
    assert float((tuned(dpok(kl_weight=0.0, iterations=20), 4000) @ Linear().b).mean()) > 0.5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"clip": 0.0}, "expected clip > 0.*got clip=0.0"),
        ({"value_updates": 0}, "counts of at least 1, got updates=0"),
        ({"value_learning_rate": 0.0}, "expected learning_rate > 0, got learning_rate=0.0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        dpok(**setting)


def test_a_buffer_holds_the_newest_transitions_of_all_rollouts():
    optimizer, seen = dpok(iterations=3, samples=8, minibatches=1, buffer=100), []
    optimizer.passes = lambda steps: seen.append(steps) or iter(())
    tuned(optimizer, 1)
    first, second, third = seen
    assert [len(steps.k) for steps in seen] == [80, 100, 100]
    assert torch.equal(second.x[:20], first.x[-20:]) and torch.equal(third.x[:20], second.x[-20:])
    with pytest.raises(ValueError, match="got buffer=0"):
        dpok(buffer=0)
