"""RWR on the problem of `bbo_bench.testing.gaussian` with the linear reward b·x.

Weights exp(r/τ) make of the prior's samples, N(0, v I), the tilted law N(v b/τ, v I). The policy is the sampler with
that law's exact denoiser, whose steps are affine, so its moments are exact, the sampler's own shrinkage included. From
set to set N(m, v I) becomes N(m + v b/τ, v I), whose denoiser is averaged with the prior's at weights 1 and λ = α/τ.
"""

from dataclasses import replace

import pytest
import torch

from bbo_bench.optimizers.rwr import RWR
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, moments, problem, tuned
from bbo_bench.testing.laws import regressed, resting
from bbo_bench.testing.probe import Probe, problem_of

B = Linear().b
SLOW = replace(TRAINING, learning_rate=1e-3)
SETTINGS = {
    "proxy": Linear,
    "training": TRAINING,
    "temperature": 1.0,
    "iterations": 1,
    "samples": 20_000,
    "updates": 1500,
    "batch_size": 1024,
}


def rwr(**changes):
    optimizer = RWR(problem(), generator(0), **SETTINGS | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def natural_variance(step):
    return moments(step, torch.zeros(step.steps))[1]


def test_weighted_samples_of_the_prior_have_the_tilted_mean():
    optimizer = rwr(temperature=0.7)
    z, reward = optimizer.scored(50_000)
    tilted = natural_variance(optimizer.transition) * B / 0.7
    weights = optimizer.weights(reward)
    assert float(weights.sum()) == pytest.approx(1)
    assert (weights @ z - tilted).norm() < 0.03 * tilted.norm()


def test_one_set_of_the_prior_makes_the_tilted_prior():
    optimizer = rwr(training=SLOW)
    variance = natural_variance(optimizer.transition)
    slope, shift = regressed(optimizer.transition, variance, variance)
    mean, variance = moments(optimizer.transition, shift, slope)
    check(tuned(optimizer), mean * B, variance)


@pytest.mark.slow
def test_many_sets_come_to_rest_near_the_tilted_prior():
    optimizer = rwr(kl_weight=1.0, iterations=25, samples=2048, updates=60, training=SLOW)
    mean, variance = resting(optimizer.transition, lambda mean, variance: (mean + variance, variance, 1.0))
    assert mean == pytest.approx(natural_variance(optimizer.transition), rel=0.03)
    along = tuned(optimizer) @ B / B.norm()
    assert float(along.mean()) == pytest.approx(mean * float(B.norm()), rel=0.05)
    assert float(along.var()) == pytest.approx(variance, rel=0.1)


def test_the_rest_that_the_readme_gives():
    step = problem(50).prior.transition
    natural = natural_variance(step)
    rest = [resting(step, lambda m, v, ratio=ratio: (m + v / ratio, v, 1 / ratio), 100) for ratio in (1, 1.875, 2, 4)]
    assert [mean / natural for mean, _ in rest] == pytest.approx([0.99, 0.95, 0.94, 0.84], abs=0.006)
    assert [variance for _, variance in rest] == pytest.approx([0.83, 0.76, 0.75, 0.59], abs=0.006)


def test_a_weak_tilt_is_weaker_by_the_priors_share():
    changes = {"kl_weight": 2.0, "prior_share": 0.2, "samples": 2048, "updates": 60, "training": SLOW}
    optimizer = rwr(iterations=15, **changes)
    along = tuned(optimizer) @ B / B.norm()
    alone = natural_variance(optimizer.transition) * float(B.norm()) / 2
    assert 0.6 < float(along.mean()) / alone < 0.8  # (1 - u) α / (α + u τ) is .73


def test_the_prior_weighs_alpha_over_tau_for_normal_rewards():
    optimizer = rwr(kl_weight=0.3, temperature=2.0)
    _, reward = optimizer.scored(50_000)
    assert float(optimizer.anchor(optimizer.weights(reward), reward)) == pytest.approx(0.15, rel=0.03)


def test_a_share_of_every_batch_is_of_the_prior():
    optimizer = rwr(prior_share=0.25, updates=100, batch_size=1000)
    latents = []
    optimizer.loss = lambda z, anchor: latents.append(z) or z.sum() * anchor
    list(optimizer.losses())
    natural = natural_variance(optimizer.transition)
    mean = torch.cat(latents).mean(0)
    assert (mean - 0.75 * natural * B).norm() < 0.05 * mean.norm()
    assert torch.cat([z[750:] for z in latents]).mean(0).norm() < 0.05


def test_without_a_proxy_it_learns_from_all_queries():
    optimizer = rwr(proxy=None, samples=7)
    optimizer.x, optimizer.y = torch.randn(30, 2, generator=generator(1)), torch.arange(30.0)
    latents = []
    optimizer.loss = lambda z, anchor: latents.append(z) or z.sum()
    next(optimizer.losses())
    assert latents[0].shape == (1024, 2)
    best = (z := optimizer.prior.encode(optimizer.x))[optimizer.standardized(optimizer.y, z) > 0]
    assert (torch.cdist(latents[0], best).amin(1) == 0).float().mean() > 0.75


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": 0.0}, "temperature > 0, got temperature=0.0"),
        ({"prior_share": 1.0}, "prior_share < 1, got prior_share=1.0"),
        ({"samples": 0}, "counts of at least 1, got samples=0"),
    ],
)
def test_settings_out_of_range_are_refused(build, setting, message):
    with pytest.raises(ValueError, match=message):
        build("rwr", problem_of(Probe(), (8,)), **setting)
