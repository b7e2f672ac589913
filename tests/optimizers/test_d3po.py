"""D3PO on the problem of `bbo_bench.testing.gaussian`: its optimum, with the bias of its labels, and its gradient."""

from dataclasses import replace

import pytest
import torch

from bbo_bench.optimizers.d3po import D3PO
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, later_slopes, moments, problem, tilting_shifts, tuned

B = Linear().b
STEPS = 5


def method(**settings):
    common = {"iterations": 120, "samples": 512, "epochs": 1, "minibatches": 2, "clip": 0.2, "temperature": 1.0}
    return D3PO(problem(STEPS), generator(0), proxy=Linear, training=TRAINING, **{"kl_weight": 1.0} | common | settings)


def slope(variance, temperature):
    """E[σ'(u/τ)] for u ~ N(0, variance)."""
    u = torch.linspace(-8, 8, 2001, dtype=torch.double)
    weights = (-(u**2) / 2).exp()
    p = (u * variance**0.5 / temperature).sigmoid()
    return float((weights * p * (1 - p)).sum() / weights.sum())


def attenuation(part, total, temperature):
    """κ with κ E[σ'(κ g/τ)] = E[σ'(Δr/τ)], where g is the part of the reward difference Δr that a step explains."""
    factor = 1.0
    for _ in range(50):
        factor = slope(total, temperature) / slope(factor**2 * part, temperature)
    return factor


def test_d3po_meets_its_optimum():
    """The tilted prior, each of whose shifts is multiplied by the step's attenuation κ_t.

    A step of noise z shifts x_0 by L σ z, L the slope of E[x_0 | x_{t-1}]; the rest of Δr is independent of it. The
    gradient in the shift δ, E[(σ(u/τ) - σ(Δr/τ)) z] (on-policy: ∇ log ρ = z/σ), is by Stein's lemma that of
    E[σ'(u/τ)] α δ/σ - E[σ'(Δr/τ)] L σ b, with the noise in Δr not in u: it vanishes at δ = κ σ² L b/α.
    """
    d3po = method()
    step = d3po.transition
    part = 2 * step.std**2 * later_slopes(step) ** 2 * float(B @ B)
    total = 2 * moments(step, torch.zeros(STEPS))[1] * float(B @ B)
    factors = torch.tensor([attenuation(v, total, 1.0) for v in part.tolist()])
    mean, variance = moments(step, factors * tilting_shifts(step))
    assert 0.8 < mean / moments(step, tilting_shifts(step))[0] < 0.9
    tuned(d3po)
    d3po.training = replace(TRAINING, learning_rate=3e-4)  # a smaller step for what noise the larger one has left
    check(tuned(d3po), mean * B, variance)


def gradient(d3po, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(d3po.policy.trainable().values()))])


def started(**settings):
    d3po = method(**settings)
    d3po.y = torch.tensor([-1.0, 1.0])
    return d3po, d3po.experience(d3po.rollout(16))


def test_the_gradient_at_the_prior():
    """(α/τ) (1/2 - P(a ≻ b)) ∇(log ρ_a - log ρ_b), averaged over pairs and steps."""
    d3po, paths = started(kl_weight=0.7, temperature=2.0)
    ratio = d3po.log_ratio(paths)
    label = ((paths.reward[:, None] - paths.reward) / 2).sigmoid()
    derived = 0.7 / 2 * ((0.5 - label)[..., None] * (ratio[:, None] - ratio)).mean()
    torch.testing.assert_close(gradient(d3po, d3po.loss(paths)), gradient(d3po, derived), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kl_weight": 0.0}, "expected kl_weight > 0, got 0"),
        ({"clip": 0.0}, "expected clip > 0, got clip=0.0"),
        ({"temperature": -1.0}, "expected temperature > 0, got temperature=-1.0"),
        ({"samples": 3}, "two trajectories per minibatch or more, got samples=3, minibatches=2"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        method(**setting)
