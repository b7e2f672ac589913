"""AWM on the Gaussian problem with the linear reward b·x, whose optimum is derived for policies that shift steps.

Let v_θ = v_p + δ_t, so that samples are N(m, V I), and A = b·(x_0 - m)/s. The gradient in δ_t of w_t E[A |v_θ - v|²]
is 2 w_t E[A (v_θ - v)] = -2 w_t Cov(A, v), as E[A] = 0 and v_p = 0; with v = √ā ε - √(1-ā) x_0 that is
2 w_t √(1-ā) V b/s. The prior's term, 2 w_t α δ_t / s, balances it at δ_t = -√(1-ā) V b/α, whatever the weighting w_t.
The denoiser of N(m, I) has just that shift for m = b/α: in the limit of many steps the policy is the tilted prior.
"""

from dataclasses import replace

import pytest
import torch

from bbo_bench.alignment.policy_gradient import clipped
from bbo_bench.optimizers.awm import AWM, bounded_exp
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, Quadratic, check, moments, problem, tuned
from bbo_bench.testing.laws import noising, output_slopes, shift_problem
from bbo_bench.testing.probe import Probe, problem_of

B = Linear().b
SETTINGS = {
    "proxy": Linear,
    "iterations": 300,
    "samples": 512,
    "minibatches": 1,
    "timesteps": 4,
    "clip": 1.0,
    "max_advantage": 5.0,
    "weighting": "uniform",
    "ema_weight": 1.0,
    "ema_decay": 0.3,
}


def awm(on, learning_rate=2e-3, **changes):
    optimizer = AWM(on, generator(0), training=replace(TRAINING, learning_rate=learning_rate), **SETTINGS | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def optimum(step, kl_weight):
    """Mean, per unit of b, and variance of the samples."""
    _, variance = moments(step, torch.zeros(step.steps))
    return moments(step, -output_slopes(step) * noising(step)[1] * variance / kl_weight)


def test_the_optimum_is_the_tilted_prior():
    step = problem(50).prior.transition
    mean, variance = optimum(step, 1.0)
    assert mean == pytest.approx(variance, rel=1e-3)


@pytest.mark.parametrize("weighting", ["uniform", "elbo"])
@pytest.mark.parametrize("minibatches", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_awm_meets_its_optimum(weighting, minibatches):
    optimizer = awm(shift_problem(), kl_weight=1.0, weighting=weighting, minibatches=minibatches, learning_rate=0.01)
    mean, variance = optimum(optimizer.transition, 1.0)
    check(tuned(optimizer), mean * B, variance)


@pytest.mark.slow
def test_a_network_meets_it_where_the_prior_weighs_enough():
    optimizer = awm(problem(), kl_weight=2.0, iterations=400)
    mean, variance = optimum(optimizer.transition, 2.0)
    check(tuned(optimizer, 40_000), mean * B, variance, shift=0.1)


@pytest.mark.parametrize("weighting", ["uniform", "elbo"])
def test_the_gradient_on_policy_is_that_of_the_weighted_denoising_loss(weighting):
    optimizer = awm(problem(), weighting=weighting, ema_weight=0.0)
    z, reward = optimizer.scored(64)
    noised = optimizer.noised(z, reward)
    weights = list(optimizer.policy.trainable().values())
    got = torch.autograd.grad(optimizer.loss(noised), weights, allow_unused=True)
    error = (optimizer.policy(noised.x, optimizer.transition.timesteps[noised.k]) - noised.target).square().sum(1)
    expected = (noised.advantage * optimizer.weight[noised.k] * error).mean()
    for one, other in zip(got, torch.autograd.grad(expected, weights, allow_unused=True), strict=True):
        torch.testing.assert_close(one, other)
    standard = ((reward - reward.mean()) / reward.std()).clamp(-5, 5) / 5
    torch.testing.assert_close(noised.advantage, standard.repeat_interleave(4))


def test_bad_samples_push_no_farther_than_the_clip():
    optimizer = awm(problem(), ema_weight=0.0, minibatches=2, clip=0.2)
    noised = optimizer.noised(*optimizer.scored(256))
    noised = noised._replace(advantage=-torch.ones_like(noised.advantage))
    descent = torch.optim.Adam(optimizer.policy.trainable().values(), lr=1e-2)
    for _ in range(10_000):
        loss = optimizer.loss(noised)
        assert float(loss.detach()) >= 0.8 - 1e-6
        descent.zero_grad()
        loss.backward()
        if not any(weights.grad.any() for weights in optimizer.policy.trainable().values()):
            break  # all are below the clip, and none is pushed any more
        descent.step()
    else:
        pytest.fail("bad samples are still pushed")
    assert float(loss.detach()) == pytest.approx(0.8, abs=1e-6)


def test_without_weight_on_the_prior_reward_ascends_and_stays_finite():
    optimizer = awm(problem(), proxy=Quadratic, iterations=300)
    before = optimizer.sample(4000)
    after = tuned(optimizer)
    rise = Quadratic()(after).mean() - Quadratic()(before).mean()
    assert after.isfinite().all() and rise > 2 and after.abs().max() < 10


def test_the_moving_average_follows_and_is_kept():
    class Saved(Linear):
        def load_state_dict(self, state, device):
            assert state == {}

    optimizer = awm(problem(), iterations=3, ema_decay=0.9, proxy=Saved)
    first = {name: p.clone() for name, p in optimizer.ema.weights().items()}
    tuned(optimizer, 8)
    state = optimizer.state_dict()
    moved = [key for key in first if not torch.equal(first[key], state["ema"][key])]
    assert moved
    for key in moved:
        far, near = (state["policy"][key] - each[key] for each in (first, state["ema"]))
        assert near.norm() < far.norm()
    other = awm(problem(), proxy=Saved)
    other.load_state_dict(state)
    assert all(torch.equal(other.ema.weights()[key], state["ema"][key]) for key in first)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"clip": 0.0}, "clip > 0.*got clip=0.0"),
        ({"ema_decay": 1.0}, "ema_decay < 1, got .*ema_decay=1.0"),
        ({"ema_weight": -1.0}, "ema_weight >= 0.*ema_weight=-1.0"),
        ({"weighting": "snr"}, "one of uniform, elbo, got weighting='snr'"),
        ({"timesteps": 0}, "counts of at least 1, got timesteps=0"),
    ],
)
def test_settings_out_of_range_are_refused(build, setting, message):
    with pytest.raises(ValueError, match=message):
        build("awm", problem_of(Probe(), (8,)), **setting)


def test_a_bad_sample_is_corrected_however_far_its_likelihood_has_risen():
    log_ratio = torch.tensor([-3.0, 1.0, 19.0, 40.0, 200.0], requires_grad=True)
    ratio = bounded_exp(log_ratio)
    torch.testing.assert_close(ratio[:3], log_ratio[:3].exp())
    loss = -clipped(ratio, -torch.ones(5), 0.5)
    (gradient,) = torch.autograd.grad(loss.sum(), log_ratio)
    assert gradient.isfinite().all() and gradient[0] == 0, "below the clip there is nothing to correct"
    assert (gradient[1:] > 0).all() and gradient[3] == gradient[4]
