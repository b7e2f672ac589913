"""Diffusion-DPO and DMPO, which differ in their divergence alone, on the problem of `bbo_bench.testing.gaussian`.

Where the policy's output exceeds the prior's, which is 0, by a constant c, the errors of a pair that shares its noise
differ by 2 √(1 - ā) c·(x_a - x_b): the noise cancels, and the logit is linear in x_a - x_b, as (r_a - r_b)/τ is. They
agree for every pair, step and noise at c = -√(1 - ā) b/α, so that no other policy has a lower loss, by either
divergence, whatever the pairs are. This is the denoiser of N(b/α, I): of the data tilted by exp(b·x/α).
"""

import pytest
import torch

from bbo_bench.optimizers.diffusion_dpo import DiffusionDPO
from bbo_bench.optimizers.dmpo import DMPO
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, moments, problem, tuned

B = Linear().b
METHODS = [(DiffusionDPO, {}), (DMPO, {"smoothing": 1e-6})]


def method(cls, kl_weight=1.0, temperature=1.0, **settings):
    common = {"iterations": 10, "samples": 256, "updates": 50, "batch_size": 256, "training": TRAINING}
    return cls(
        problem(20),
        generator(0),
        proxy=Linear,
        kl_weight=kl_weight,
        temperature=temperature,
        **common | settings,
    )


def pairs(n=256):
    z, noise = torch.randn(2, n, 2, generator=generator(1)), torch.randn(n, 2, generator=generator(2))
    return z, torch.arange(n) % 20, noise


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_tilted_denoiser_explains_every_preference(temperature):
    dpo = method(DiffusionDPO, 0.7, temperature)
    step = dpo.transition
    dpo.policy = lambda x, t: -((1 - step.alpha_bar[k].repeat(2)) ** 0.5)[:, None] * B / 0.7
    z, k, noise = pairs()
    torch.testing.assert_close(dpo.logit(z, k, noise), (z[0] - z[1]) @ B / temperature, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize(("cls", "settings"), METHODS)
def test_it_meets_the_tilted_denoiser(cls, settings):
    tuner = method(cls, **settings)
    step = tuner.transition
    k, one = torch.arange(step.steps), torch.ones(step.steps, 1)
    shift = step.mean(k, 0 * one, -((1 - step.alpha_bar)[:, None] ** 0.5) * one)[:, 0]
    mean, variance = moments(step, shift)
    assert mean == pytest.approx(1, abs=1e-3)
    check(tuned(tuner), mean * B, variance)


@pytest.mark.parametrize(
    ("cls", "settings", "factor"),
    [
        (*METHODS[0], lambda label: label - 0.5),
        (*METHODS[1], lambda label: label.logit() / 4),
    ],
)
def test_the_gradient_at_the_prior(cls, settings, factor):
    """(α/τ) weight · ∇(e_a - e_b), times P - 1/2 or logit(P)/4: for DPO and sure labels, half of α/τ · weight."""
    tuner = method(cls, 0.7, 2.0, **settings)
    z, k, noise = pairs()
    label = torch.rand(len(k), generator=generator(3)) * 0.9 + 0.05
    weights = list(tuner.policy.trainable().values())
    loss = tuner.divergence(tuner.logit(z, k, noise), label).sum()
    first, second = (tuner._nats[k] * tuner.denoising_error(tuner.policy, x, k, noise) for x in z)
    derived = (0.7 / 2.0 * factor(label) * (first - second)).sum()
    for got, expected in zip(*(torch.autograd.grad(value, weights) for value in (loss, derived)), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()) + 1e-6)


@pytest.mark.parametrize(
    ("cls", "setting", "message"),
    [
        (DiffusionDPO, {"kl_weight": 0.0}, "expected kl_weight > 0, got 0"),
        (DiffusionDPO, {"temperature": 0.0}, "expected temperature > 0, got temperature=0.0"),
        (DiffusionDPO, {"batch_size": 0}, "counts of at least 1, got batch_size=0"),
        (DMPO, {"smoothing": 0.0}, "0 < smoothing < 0.5, got smoothing=0.0"),
    ],
)
def test_settings_out_of_range_are_refused(cls, setting, message):
    with pytest.raises(ValueError, match=message):
        method(cls, **setting)
