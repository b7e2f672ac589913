"""Guidance on the problem of `bbo_bench.testing.gaussian`, where x̂_0 = √ā_t x_t.

The gradient of r = b·x is √ā_t b, so guidance adds (1-ā_t) b/α to the posterior mean, on which the step's mean depends
by the factor √ā_{t-1} β_t / (1-ā_t) with β_t = 1 - ā_t/ā_{t-1}: a shift by √ā_{t-1} β_t b/α. With many steps these sum
up to the tilted N(0, I), which is N(b/α, I). The gradient of r = -‖x - c‖²/2 is √ā_t (c - √ā_t x_t): it leaves out that
x_0 varies given x_t, and overshoots.
"""

import pytest
import torch

from bbo_bench.diffusion.transition import Transition
from bbo_bench.optimizers.guidance import Guidance
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import Linear, Quadratic, check, moments, problem, slopes, tuned

ALPHA = 0.8


def guidance(proxy, where, **changes):
    settings = {"kl_weight": ALPHA, "scale": None, "batch": 50_000} | changes
    return Guidance(where, generator(0), proxy=proxy, **settings)


def shifts(step):
    """Shifts of the steps' means per unit of b/α; none at the first step, where ā is 2e-9."""
    following = torch.cat([step.alpha_bar[1:], torch.ones(1)])
    return following.sqrt() * (1 - step.alpha_bar / following) * (step.alpha_bar > 1e-4)


def test_guidance_by_a_linear_reward_meets_its_law():
    optimizer = guidance(Linear, problem(20))
    mean, variance = moments(optimizer.transition, shifts(optimizer.transition) / ALPHA)
    check(tuned(optimizer), mean * Linear().b, variance)


@pytest.mark.parametrize("flow", [False, True])
def test_with_many_steps_a_linear_reward_tilts_the_prior(flow):
    check(tuned(guidance(Linear, problem(100, flow=flow)), 4000), Linear().b / ALPHA, 1.0)


def test_guidance_by_a_quadratic_reward_overshoots_as_derived():
    optimizer = guidance(Quadratic, problem(20))
    step = optimizer.transition
    pull = shifts(step) / ALPHA
    mean, variance = moments(step, pull, slopes(step) - pull * step.alpha_bar.sqrt())
    tilted = 1 / (ALPHA / moments(step, torch.zeros(20))[1] + 1)
    assert mean > 1.1 * tilted
    check(tuned(optimizer), mean * Quadratic().c, variance)


def test_a_normalized_gradient_shifts_by_its_direction_alone():
    optimizer = guidance(Linear, problem(20), kl_weight=None, scale=0.3)
    step = optimizer.transition
    length, variance = moments(step, 0.3 * 2**0.5 * step.std)
    check(tuned(optimizer), length * Linear().b / Linear().b.norm(), variance)


@pytest.mark.parametrize(
    "wrong", [{"kl_weight": 0.0}, {"kl_weight": None}, {"scale": 1.0}, {"kl_weight": None, "scale": -1.0}]
)
def test_one_strength_is_wanted(wrong):
    with pytest.raises(ValueError, match="expected kl_weight > 0, scale > 0 or kl_budget > 0, and null for the others"):
        guidance(Linear, problem(5), **wrong)


def test_a_deterministic_sampler_has_no_length_to_scale():
    where = problem(5)
    where.prior.transition = Transition(where.prior.scheduler, steps=5, eta=0.0)
    guidance(Linear, where)
    with pytest.raises(ValueError, match="stochastic sampler"):
        guidance(Linear, where, kl_weight=None, scale=1.0)
