"""PRDP on the problem of `bbo_bench.testing.gaussian`.

Its loss is zero where α log ρ(path) - r(x_0) is constant, so for the prior tilted by exp(r/α). On-policy its gradient
is that of α KL(path) - E[r], up to a factor, so where no steps of the sampler's own std make the tilted prior, it comes
to the best of the steps that have it.
"""

import pytest
import torch

from bbo_bench.alignment.preference import Paths
from bbo_bench.optimizers.prdp import PRDP
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import (
    TRAINING,
    Linear,
    Quadratic,
    check,
    moments,
    problem,
    slopes,
    tilting_shifts,
    tuned,
)

STEPS = 8
B = Linear().b


def method(proxy=Linear, **settings):
    common = {"kl_weight": 1.0, "iterations": 250, "samples": 256, "epochs": 1, "minibatches": 2, "clip": 0.2}
    return PRDP(problem(STEPS), generator(0), proxy=proxy, training=TRAINING, **common | settings)


def regulated(step):
    """For r = -‖x - c‖²/2 and α = 1, slopes and shifts per unit of c that maximize E[r] - Σ KL: a linear regulator.

    With the value -p x²/2 + q x after a step, its mean m maximizes -p m²/2 + q m - (m - A x)²/2σ², so that
    m = (A x + σ² q)/(1 + σ² p).
    """
    p, q, slope, shift = 1.0, 1.0, [], []
    for a, std in zip(slopes(step).flip(0).tolist(), step.std.flip(0).tolist(), strict=True):
        shrink = 1 + p * std**2
        slope.append(a / shrink)
        shift.append(q * std**2 / shrink)
        p, q = p * a**2 / shrink, q * a / shrink
    return torch.tensor(slope[::-1]), torch.tensor(shift[::-1])


def test_a_linear_reward_leads_to_the_tilted_prior():
    prdp = method()
    mean, variance = moments(prdp.transition, tilting_shifts(prdp.transition))
    check(tuned(prdp), mean * B, variance)


def test_a_quadratic_reward_leads_to_the_regulator():
    prdp = method(Quadratic)
    slope, shift = regulated(prdp.transition)
    mean, variance = moments(prdp.transition, shift, slope)
    check(tuned(prdp), mean * Quadratic().c, variance)


def test_the_tilted_prior_predicts_all_reward_differences():
    prdp = method(kl_weight=0.5)
    prdp.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    step, (states, _) = prdp.transition, prdp.rollout(64).trajectories
    reference = slopes(step)[:, None] * states[:, :-1]
    means = reference + tilting_shifts(step, 0.5)[:, None] * B
    error = prdp.error(prdp._log_ratio(states, means, reference), states[:, -1] @ B)
    assert float(error.max()) < 1e-4


@pytest.mark.parametrize(("direction", "kept"), [(1, False), (-1, True)])
def test_beyond_the_clip_only_wrong_directions_are_corrected(direction, kept):
    prdp = method(clip=1e-4)
    reward = torch.linspace(-2, 2, 8)
    ratio = (direction * 0.01 * reward)[:, None].repeat(1, STEPS).requires_grad_()
    prdp.log_ratio = lambda paths: ratio
    states = torch.zeros(8, STEPS + 1, 2)
    paths = Paths(states, states[:, 1:], torch.zeros(8, STEPS), reward)
    [grad] = torch.autograd.grad(prdp.loss(paths), [ratio])
    [unclipped] = torch.autograd.grad(prdp.error(ratio, reward).mean(), [ratio])
    torch.testing.assert_close(grad, unclipped * kept)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kl_weight": 0.0}, "expected kl_weight > 0, got 0"),
        ({"clip": 0.0}, "expected clip > 0, got clip=0.0"),
        ({"epochs": 0}, "counts of at least 1, got epochs=0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        method(**setting)
