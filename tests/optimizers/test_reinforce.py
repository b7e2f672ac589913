"""REINFORCE against its closed form, DDPO's exact policy gradient of the steps that are kept, and the tilted prior.

On the problem of `bbo_bench.testing.gaussian`, with a linear reward b·x, an output of step t adds to x_0 by a constant
slope, so that the gradient of E[b·x_0] by the output layer's bias is known.
"""

import pytest
import torch

from bbo_bench.alignment.credit import Decreasing, Similarity, Truncation
from bbo_bench.optimizers.ddpo import DDPO
from bbo_bench.optimizers.reinforce import Reinforce
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import (
    TRAINING,
    Linear,
    Quadratic,
    check,
    later_slopes,
    moments,
    problem,
    tilting_shifts,
    tuned,
)

STEPS = 10
N = 200_000
B = Linear().b
SETTINGS = {
    "proxy": Linear,
    "iterations": 1,
    "samples": 64,
    "epochs": 1,
    "minibatches": 1,
    "clip": None,
    "max_advantage": 50.0,
    "training": TRAINING,
}


def reinforce(cls=Reinforce, **changes):
    own = {"truncation": Truncation(), "credit": None} if cls is Reinforce else {}
    optimizer = cls(problem(STEPS), generator(0), **SETTINGS | own | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def exact(optimizer, weight):
    """The gradient by the bias with weights of all steps, and four standard errors of its estimate from N rollouts."""
    step = optimizer.transition
    k, one = torch.arange(STEPS), torch.ones(STEPS, 1)
    on_output = step.mean(k, 0 * one, one)[:, 0]
    error = 4 * float((weight * on_output / step.std).norm() * B.norm()) / N**0.5
    return -(weight * on_output * later_slopes(step)).sum() * B, error


def first_gradient(optimizer, n):
    """Of the loss at the prior, in units of the reward and summed over the steps, by the output layer's bias."""
    steps = optimizer.experience(optimizer.rollout(n))
    *_, bias = torch.autograd.grad(optimizer.loss(steps), list(optimizer.policy.trainable().values()))
    return bias * optimizer.scale * len(steps.k) / n


@pytest.mark.parametrize("K", [1, 4, pytest.param(STEPS, marks=pytest.mark.slow)])
def test_the_gradient_is_that_of_the_last_steps(K):
    optimizer = reinforce(truncation=Truncation(K, K))
    expected, error = exact(optimizer, (torch.arange(STEPS) >= STEPS - K).float())
    torch.testing.assert_close(first_gradient(optimizer, N), expected, rtol=0.02, atol=error)


def test_credit_weighs_the_steps():
    optimizer = reinforce(credit=Decreasing(0.9), truncation=Truncation(4, 4))
    weight = torch.cat([torch.zeros(STEPS - 4), 0.9 ** (50 / STEPS * torch.arange(3.0, -1, -1))])
    expected, error = exact(optimizer, weight / weight.sum() * 4)
    torch.testing.assert_close(first_gradient(optimizer, N), expected, rtol=0.02, atol=error)


def test_truncation_to_all_steps_is_the_full_gradient():
    ours, ddpo = reinforce(truncation=Truncation(STEPS, STEPS), kl_weight=0.3), reinforce(DDPO, kl_weight=0.3)
    for optimizer in (ours, ddpo):
        optimizer.rng.manual_seed(1)
    torch.testing.assert_close(first_gradient(ours, 100), first_gradient(ddpo, 100), rtol=0, atol=0)


@pytest.mark.slow
def test_with_kl_it_meets_the_tilted_distribution():
    optimizer = reinforce(kl_weight=1.0, iterations=600, samples=256, max_advantage=5.0)
    mean, variance = moments(optimizer.transition, tilting_shifts(optimizer.transition))
    check(tuned(optimizer), mean * B, variance)


@pytest.mark.parametrize(
    "settings", [{"credit": Similarity()}, {"truncation": Truncation(5, 2)}, {"clip": 0.2, "minibatches": 4}]
)
def test_the_reward_ascends(settings):
    before = float(Quadratic()(reinforce().sample(2000)).mean())
    z = tuned(reinforce(proxy=Quadratic, iterations=60, samples=256, max_advantage=5.0, **settings), 2000)
    assert float(Quadratic()(z).mean()) > before + 0.5


def test_more_steps_than_there_are_are_refused():
    with pytest.raises(ValueError, match=r"K <= 10, the sampler's steps, got .*last=11"):
        reinforce(truncation=Truncation(2, 11))
