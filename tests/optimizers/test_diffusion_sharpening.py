"""Diffusion-Sharpening on the Gaussian problem with the linear reward b·x.

The prior tilted by exp(r/α) has an output that differs from the prior's by Cov(v, r)/α, given x_t. The SFT form weighs
the difference by α f g/S against S times the best rollout's excess, on average g/S Cov(v, score) = g/S f Cov(v, r). In
the RLHF form no choice among continuations of x_t gains anything there: r(x̂_0(x_{t-1})) - α log p_θ / p has no slope in
x_{t-1}, as p_θ ∝ p exp(r(x̂_0)/α) in every step, where x̂_0 has the slope of E[x_0 | x_{t-1}].
"""

from dataclasses import replace

import pytest
import torch

from bbo_bench.optimizers.diffusion_sharpening import DiffusionSharpening, DiffusionSharpeningDPO
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, later_slopes, moments, problem, tilting_shifts, tuned
from bbo_bench.testing.laws import output_slopes, shift_problem
from bbo_bench.testing.probe import Probe, problem_of

B = Linear().b
FORMS = [(DiffusionSharpening, {}), (DiffusionSharpeningDPO, {"beta": 1.0})]
SETTINGS = {
    "proxy": Linear,
    "training": replace(TRAINING, learning_rate=1e-3),
    "iterations": 25,
    "samples": 512,
    "updates": 30,
    "batch_size": 256,
    "variants": 3,
    "length": 3,
}


def sharpening(cls, on, **changes):
    optimizer = cls(on, generator(0), **SETTINGS | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


@pytest.mark.parametrize(("cls", "form"), [FORMS[0], pytest.param(*FORMS[1], marks=pytest.mark.slow)])
def test_it_meets_the_tilted_prior(cls, form):
    optimizer = sharpening(cls, problem(), kl_weight=1.0, **form)
    mean, variance = moments(optimizer.transition, tilting_shifts(optimizer.transition))
    check(tuned(optimizer), mean * B, variance)


@pytest.mark.parametrize(("cls", "form"), FORMS)
def test_the_first_step_goes_along_the_policy_gradient(cls, form):
    """A shift of the output at a step moves the mean of b·x_0 by the two slopes times b."""
    optimizer = sharpening(cls, shift_problem(), **form)
    step = optimizer.transition
    optimizer.loss(optimizer.rolled(optimizer.sample(100_000))).backward()
    descent = -optimizer.policy.network.table.grad[step.timesteps]
    ascent = (output_slopes(step) * later_slopes(step))[:, None] * B
    assert (torch.cosine_similarity(descent, ascent) > 0.95).all()


@pytest.mark.parametrize(("cls", "form"), FORMS)
def test_reward_ascends(cls, form):
    optimizer = sharpening(cls, problem(), iterations=5, **form)
    assert float((tuned(optimizer) @ B).mean()) > 2


def test_variants_end_in_time():
    """Rollouts over all steps end at x_0 itself, in the prior's own law."""
    optimizer = sharpening(DiffusionSharpening, problem(5), length=5)
    variants, step = optimizer.rolled(optimizer.sample(60_000)), optimizer.transition
    assert sorted(set(variants.k.tolist())) == [0, 1, 2, 3, 4] and variants.targets.shape == (60_000, 3, 2)
    x0 = step.denoise(variants.k, variants.x, variants.targets[:, 1])
    assert float(x0[variants.k == 0].var()) == pytest.approx(moments(step, torch.zeros(5))[1], rel=0.03)
    last = variants.k == 4
    left = x0[last] - step.mean_by(optimizer.policy, 4, variants.x[last])
    assert float(left.std()) == pytest.approx(float(step.std[-1]), rel=0.03)
    ends = torch.stack([step.denoise(variants.k, variants.x, v) for v in (variants.best, variants.worst)])
    assert (ends[0] @ B).mean() > (x0 @ B).mean() > (ends[1] @ B).mean()


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("diffusion_sharpening", {"variants": 1}, "variants >= 2.*got variants=1"),
        ("diffusion_sharpening", {"length": 1000}, "length <= .* steps, got .*length=1000"),
        ("diffusion_sharpening", {"proxy": None}, "expected a proxy, got proxy=null"),
        ("diffusion_sharpening_dpo", {"beta": 0.0}, "beta > 0, got beta=0.0"),
    ],
)
def test_settings_out_of_range_are_refused(build, name, setting, message):
    with pytest.raises(ValueError, match=message):
        build(name, problem_of(Probe(), (8,)), **setting)
