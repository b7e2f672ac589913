"""SQDF and DDPO on the problem of `bbo_bench.testing.gaussian`, with the linear reward b·x.

SQDF's estimate of x_0 from x_{t-1} is s_{t-1} x_{t-1}, so its loss is least where each step's mean is shifted by σ_t²
γ^{t-1} s_{t-1} b/α. s is √ā for the posterior mean; for a consistency model it is the end of the discrete ODE from 1,
nearly 1 itself; for two deterministic steps the end by way of the step in the middle. The tilted prior, which is the
optimum of any method that maximizes the reward minus α times the KL divergence of whole paths, shifts a step by σ_t²
times the slope of E[x_0 | x_{t-1}] b/α, so only the posterior mean comes to the same. Covariances stay the prior's.
"""

import pytest
import torch

from bbo_bench.optimizers.ddpo import DDPO
from bbo_bench.optimizers.sqdf import SQDF
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, moments, ode_scales, problem, tilting_shifts, tuned

STEPS = 20
B = Linear().b


def soft_q_shifts(step, gamma, scale=None):
    """SQDF's shifts per unit of b, for α = 1; by the posterior mean if no scale s of every state is given."""
    scale = torch.cat([step.alpha_bar.sqrt(), torch.ones(1)]) if scale is None else scale
    return step.std**2 * gamma ** torch.arange(step.steps - 1, -1, -1) * scale[1:]


def by_way_of_the_middle(step):
    """The end of two DDIM steps of N(0, 1) from 1, which turn it by the cosines of φ's differences, cos φ = √ā."""
    angle = torch.cat([step.alpha_bar.sqrt().arccos(), torch.zeros(1)])
    middle = angle[(torch.arange(step.steps + 1) + step.steps + 1) // 2]
    return (angle - middle).cos() * middle.cos()


def test_the_recursion_gives_the_published_numbers():
    step = problem(STEPS).prior.transition
    assert moments(step, soft_q_shifts(step, 1.0))[0] == pytest.approx(0.8118, abs=2e-3)
    assert moments(step, soft_q_shifts(step, 0.9 ** (50 / STEPS)))[0] == pytest.approx(0.0978, abs=1e-3)
    assert moments(problem(50).prior.transition, torch.zeros(50))[1] == pytest.approx(0.9143, abs=1e-3)


def test_a_consistency_model_overshoots_a_linear_reward_unless_discounted():
    """The numbers of SQDF's README: the mean per unit of b/α, for 50 steps."""
    prior = problem(50).prior
    step, scale = prior.transition, ode_scales(prior, 50)
    means = [moments(step, soft_q_shifts(step, gamma, s))[0] for gamma in (1.0, 0.95, 0.9) for s in (None, scale)]
    assert means == pytest.approx([0.914, 1.745, 0.292, 0.425, 0.116, 0.142], abs=1e-3)


def test_tilting_shifts_the_mean_by_the_variance():
    step = problem(STEPS).prior.transition
    assert moments(step, tilting_shifts(step, 2.0))[0] == pytest.approx(moments(step, torch.zeros(STEPS))[1] / 2)


@pytest.mark.parametrize(
    ("estimate", "replay", "gamma"),
    [
        ("tweedie", "random", 1.0),
        pytest.param("tweedie", "random", 0.9, marks=pytest.mark.slow),
        ("tweedie", "reward+gamma", 1.0),
        pytest.param("consistency", "random", 1.0, marks=pytest.mark.slow),
        pytest.param("consistency", "random", 0.9, marks=pytest.mark.slow),
        pytest.param("ddim2", "random", 1.0, marks=pytest.mark.slow),
    ],
)
def test_sqdf_meets_its_optimum(estimate, replay, gamma):
    sqdf = SQDF(
        problem(STEPS),
        generator(0),
        proxy=Linear,
        kl_weight=1.0,
        estimate=estimate,
        gamma=gamma,
        updates=800,
        batch_size=512,
        rollouts=64,
        rollout_every=20,
        capacity=1024,
        replay=replay,
        on_policy_fraction=None,
        training=TRAINING,
    )
    step = sqdf.transition
    scales = {"tweedie": None, "consistency": ode_scales(sqdf.prior, STEPS), "ddim2": by_way_of_the_middle(step)}
    mean, variance = moments(step, soft_q_shifts(step, sqdf.gamma, scales[estimate]))
    check(tuned(sqdf, n=12_000 if gamma == 1 else 400_000), mean * B, variance)


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
