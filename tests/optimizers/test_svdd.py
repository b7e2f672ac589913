"""SVDD on the problem of `bbo_bench.testing.gaussian`, where the value of x_{t-1} is r(√ā_{t-1} x_{t-1}).

With many proposals a step has the density ∝ N(x_{t-1}; A_t x_t, σ_t²) exp(v(x_{t-1})/α). For r = b·x that shifts its
mean by σ_t² √ā_{t-1} b/α, which tilts the prior by exp(r/α), as a DDPM step from x_t has the slope A_t = √(ā_t/ā_{t-1})
and √ā_{t-1} is the product of all later ones. For r = -‖x - c‖²/2 it adds ā_{t-1}/α to the step's precision.
"""

import math

import pytest
import torch
from scipy import stats

from bbo_bench.optimizers.svdd import SVDD
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import Linear, Quadratic, check, moments, problem, slopes, tilting_shifts, tuned

STEPS, MANY = 20, 48


def svdd(proxy=Linear, **changes):
    settings = {"kl_weight": 1.0, "proposals": MANY, "batch": 100_000} | changes
    return SVDD(problem(STEPS), generator(0), proxy=proxy, **settings)


def value_slopes(step):
    """√ā_{t-1}, the slope of x̂_0 by x_{t-1}."""
    return torch.cat([step.alpha_bar[1:], torch.ones(1)]).sqrt()


def test_many_proposals_tilt_the_prior():
    optimizer = svdd()
    step = optimizer.transition
    mean, variance = moments(step, step.std**2 * value_slopes(step))
    assert (mean, variance) == pytest.approx(moments(step, tilting_shifts(step)), rel=1e-3)
    check(tuned(optimizer, 4000), mean * Linear().b, variance)


def test_a_quadratic_value_adds_to_the_precision_of_a_step():
    optimizer = svdd(Quadratic)
    step = optimizer.transition
    shrink = 1 + (step.std * value_slopes(step)) ** 2
    shift = step.std**2 * value_slopes(step) / shrink
    mean, variance = moments(step, shift, slopes(step) / shrink, step.std / shrink.sqrt())
    check(tuned(optimizer, 4000), mean * Quadratic().c, variance)


def test_few_proposals_fall_short_by_a_part_e_to_the_s_squared_over_m():
    """Self-normalized weights exp(s ξ) of M normal ξ have the mean s (1 - exp(s²)/M) up to O(1/M²), not s."""
    s, proposals = 0.5, 20
    optimizer = svdd(proposals=proposals)
    noise = torch.randn(200_000, proposals, generator=generator(1))
    mean = float(noise.flatten()[optimizer.chosen(s * noise)].mean())
    assert mean == pytest.approx(s * (1 - math.exp(s**2) / proposals), abs=0.01)
    assert mean < s - 0.02


def test_the_highest_value_is_the_maximum_law():
    """Without α the largest of M normal variables is taken along b, and any across; whatever the length of b."""
    optimizer = svdd(kl_weight=0.0, proposals=4)
    step, largest = optimizer.transition, stats.powernorm(4)
    mean, variance = moments(step, -largest.mean() * step.std, std=step.std * largest.std())
    along = Linear().b / Linear().b.norm()
    z = tuned(optimizer)
    check((z @ along)[:, None], torch.tensor([mean]), variance)
    across = z @ torch.stack([-along[1], along[0]])
    assert float(across.var()) == pytest.approx(moments(step, torch.zeros(STEPS))[1], rel=0.1)


@pytest.mark.parametrize("wrong", [{"kl_weight": -1.0}, {"proposals": 1}])
def test_a_setting_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="expected kl_weight >= 0 and proposals >= 2, got"):
        svdd(**wrong)
