"""SQDF and DDPO on the problem of `bbo_bench.testing.gaussian`, with the linear reward b·x.

SQDF's optimum shifts each step's mean by σ_t² γ^{t-1} √ā_{t-1} b/α, since its estimate of x_0 from x_{t-1} is √ā_{t-1}
x_{t-1}. The tilted prior, which is the optimum of any method that maximizes the reward minus α times the KL divergence
of whole paths, shifts it by σ_t² times the slope of E[x_0 | x_{t-1}] b/α; covariances stay the prior's.
"""

import pytest
import torch

from bbo_bench.optimizers.ddpo import DDPO
from bbo_bench.optimizers.sqdf import SQDF
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, moments, problem, tilting_shifts, tuned

STEPS = 20
B = Linear().b


def soft_q_shifts(step, gamma):
    """SQDF's shifts per unit of b, for α = 1."""
    next_alpha_bar = torch.cat([step.alpha_bar[1:], torch.ones(1)])
    return step.std**2 * gamma ** torch.arange(step.steps - 1, -1, -1) * next_alpha_bar.sqrt()


def test_the_recursion_gives_the_published_numbers():
    step = problem(STEPS).prior.transition
    assert moments(step, soft_q_shifts(step, 1.0))[0] == pytest.approx(0.8118, abs=2e-3)
    assert moments(step, soft_q_shifts(step, 0.9 ** (50 / STEPS)))[0] == pytest.approx(0.0978, abs=1e-3)
    assert moments(problem(50).prior.transition, torch.zeros(50))[1] == pytest.approx(0.9143, abs=1e-3)


def test_tilting_shifts_the_mean_by_the_variance():
    step = problem(STEPS).prior.transition
    assert moments(step, tilting_shifts(step, 2.0))[0] == pytest.approx(moments(step, torch.zeros(STEPS))[1] / 2)


@pytest.mark.parametrize(("replay", "gamma"), [("random", 1.0), ("random", 0.9), ("reward+gamma", 1.0)])
def test_sqdf_meets_its_optimum(replay, gamma):
    sqdf = SQDF(
        problem(STEPS),
        generator(0),
        proxy=Linear,
        kl_weight=1.0,
        gamma=gamma,
        updates=800,
        batch_size=512,
        rollouts=64,
        rollout_every=20,
        capacity=1024,
        replay=replay,
        training=TRAINING,
    )
    mean, variance = moments(sqdf.transition, soft_q_shifts(sqdf.transition, sqdf.gamma))
    check(tuned(sqdf), mean * B, variance, shift=0.05 if gamma == 1 else 0.15)


def test_ddpo_with_kl_meets_the_tilted_distribution():
    ddpo = DDPO(
        problem(STEPS),
        generator(0),
        proxy=Linear,
        kl_weight=1.0,
        iterations=250,
        samples=256,
        epochs=1,
        minibatches=4,
        clip=0.2,
        max_advantage=5.0,
        training=TRAINING,
    )
    mean, variance = moments(ddpo.transition, tilting_shifts(ddpo.transition))
    check(tuned(ddpo), mean * B, variance)
