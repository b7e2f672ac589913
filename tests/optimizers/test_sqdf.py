"""SQDF's known bias: its estimate of x_0 has no spread, so that it overshoots where the reward curves down."""

import pytest
import torch

from bbo_bench.diffusion.transition import Transition
from bbo_bench.optimizers.sqdf import SQDF
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Quadratic, check, moments, problem, slopes, tuned


def shrinkage(step: Transition) -> torch.Tensor:
    """1 + σ² ā_{t-1} of every step.

    For α = γ = 1 a step's loss |√ā m - c|²/2 + |m - A x|²/2σ² has its minimum at m = (A x + σ² √ā c) / (1 + σ² ā).
    """
    return 1 + step.std**2 * torch.cat([step.alpha_bar[1:], torch.ones(1)])


def optima(step: Transition) -> tuple[float, float, float]:
    """For α = γ = 1 mean, per unit of c, and variance of SQDF's optimum; both of the tilted prior, which are equal."""
    shrink = shrinkage(step)
    mean, variance = moments(step, (step.std**2 * (shrink - 1)).sqrt() / shrink, slopes(step) / shrink)
    _, natural = moments(step, torch.zeros(step.steps))
    return mean, variance, 1 / (1 / natural + 1)


def test_the_numbers_of_the_readme():
    assert optima(problem(50).prior.transition) == pytest.approx((0.595, 0.432, 0.478), abs=5e-4)


@pytest.mark.slow
def test_sqdf_overshoots_a_quadratic_reward_as_derived():
    sqdf = SQDF(
        problem(20),
        generator(0),
        proxy=Quadratic,
        kl_weight=1.0,
        estimate="tweedie",
        gamma=1.0,
        updates=800,
        batch_size=512,
        rollouts=64,
        rollout_every=20,
        capacity=1024,
        replay="random",
        on_policy_fraction=None,
        training=TRAINING,
    )
    mean, variance, tilted = optima(sqdf.transition)
    assert mean > 1.2 * tilted
    check(tuned(sqdf), mean * Quadratic().c, variance)


def test_the_published_divergence_is_a_mean_of_squares():
    """α times the mean over dimensions of Δμ²/σ², without ½, is 2α/d per nat."""
    settings = {
        "proxy": Quadratic,
        "kl_weight": 3.0,
        "estimate": "tweedie",
        "gamma": 1.0,
        "updates": 1,
        "batch_size": 64,
        "rollouts": 8,
        "rollout_every": 1,
        "capacity": 8,
        "replay": "random",
        "on_policy_fraction": None,
        "training": TRAINING,
    }
    published = SQDF(problem(20), generator(0), kl_of_mean=True, **settings)
    step, k = published.transition, torch.arange(20)
    shift = torch.randn(20, 2, generator=generator(1))
    squares = (shift.square() / step.std[:, None] ** 2).mean(1)
    torch.testing.assert_close(published.kl_weight * step.kl(k, shift, 0 * shift), 3 * squares)
