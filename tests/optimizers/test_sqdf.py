"""SQDF's known bias: its estimate of x_0 has no spread, so that it overshoots where the reward curves down."""

import pytest
import torch

from bbo_bench.core import Problem
from bbo_bench.diffusion.denoisers import MLP
from bbo_bench.diffusion.finetune import Training
from bbo_bench.diffusion.prior import DiffusionPrior, Standardize
from bbo_bench.diffusion.transition import Transition
from bbo_bench.domains import Box
from bbo_bench.optimizers.sqdf import SQDF
from bbo_bench.seeding import generator

C = torch.tensor([2.0, 1.0])
SCHEDULER = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}


class Quadratic:
    """The score -|x - c|²/2 itself in the place of a proxy."""

    error = 0.0

    def __call__(self, z):
        return -(z - C).square().sum(1) / 2

    def fit(self, z, y, rng):
        """Nothing to learn."""


def prior(steps: int) -> DiffusionPrior:
    box = Box(torch.full((2,), -20.0), torch.full((2,), 20.0))
    return DiffusionPrior(MLP(2, width=32, depth=1), Standardize(box), SCHEDULER, {"steps": steps})


def optima(step: Transition) -> tuple[float, float, float]:
    """For α = γ = 1 mean, per unit of c, and variance of SQDF's optimum, and both of the tilted prior, which are equal.

    A step's loss |√ā m - c|²/2 + |m - A x|²/2σ² has its minimum at the mean m = (A x + σ² √ā c) / (1 + σ² ā).
    """
    mean, variance, natural = 0.0, 1.0, 1.0
    slopes = step.mean(torch.arange(step.steps), torch.ones(step.steps, 1), torch.zeros(step.steps, 1))[:, 0]
    next_alpha_bar = torch.cat([step.alpha_bar[1:], torch.ones(1)])
    for a, var, alpha_bar in zip(slopes.tolist(), step.std.square().tolist(), next_alpha_bar.tolist(), strict=True):
        shrink = 1 + var * alpha_bar
        mean = (a * mean + var * alpha_bar**0.5) / shrink
        variance = (a / shrink) ** 2 * variance + var
        natural = a**2 * natural + var
    return mean, variance, 1 / (1 / natural + 1)


def test_the_numbers_of_the_readme():
    assert optima(prior(50).transition) == pytest.approx((0.595, 0.432, 0.478), abs=5e-4)


def test_sqdf_overshoots_a_quadratic_reward_as_derived():
    generative = prior(20)
    sqdf = SQDF(
        Problem(generative.codec.box, generative, (2,)),
        generator(0),
        proxy=Quadratic,
        kl_weight=1.0,
        gamma=1.0,
        updates=800,
        batch_size=512,
        rollouts=64,
        rollout_every=20,
        capacity=1024,
        replay="random",
        training=Training(learning_rate=2e-3, weight_decay=0.0, lora_rank=None),
    )
    sqdf.y = torch.tensor([-1.0, 1.0]) / 2**0.5  # they standardize to themselves
    sqdf._descend()
    z = torch.cat([sqdf.trajectories(4000)[:, -1] for _ in range(3)])
    mean, variance, tilted = optima(generative.transition)
    assert mean > 1.2 * tilted
    assert z.mean(0).tolist() == pytest.approx((mean * C).tolist(), rel=0.05)
    assert z.var(0).tolist() == pytest.approx([variance] * 2, rel=0.1)
