"""DAS is a consistent sequential Monte Carlo method: with many particles it draws from the prior tilted by exp(r/α).

Twist and weights make up for what the posterior mean leaves out, so there is no bias for curved rewards. For the
prior's N(0, v I) and r = b·x the tilted prior is N(v b/α, v I); for r = -‖x - c‖²/2 it has the variance 1/(1/v + 1/α)
and, per unit of c/α, the same mean.
"""

import pytest
import torch

from bbo_bench.diffusion.transition import Transition
from bbo_bench.optimizers.das import DAS, resampled
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import Linear, Quadratic, check, moments, problem

STEPS, ALPHA = 20, 0.8


def das(proxy=Linear, where=None, **changes):
    settings = {"kl_weight": ALPHA, "particles": 4, "tempering": 0.008, "batch": 50_000} | changes
    optimizer = DAS(where or problem(STEPS), generator(0), proxy=proxy, **settings)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5  # they standardize to themselves
    return optimizer


def weighted(optimizer, sets):
    """Mean and variance of the weighted particles."""
    x, log_weight = optimizer.population(sets)
    weight = log_weight.softmax(1)[..., None] / sets
    mean = (weight * x).sum((0, 1))
    return mean, (weight * (x - mean) ** 2).sum((0, 1))


def natural(optimizer):
    """The prior's variance."""
    return moments(optimizer.transition, torch.zeros(STEPS))[1]


def test_a_linear_reward_tilts_the_prior():
    optimizer = das(particles=400)
    mean, variance = weighted(optimizer, 60)
    assert torch.allclose(mean, natural(optimizer) * Linear().b / ALPHA, rtol=0.05)
    assert torch.allclose(variance, torch.tensor(natural(optimizer)), rtol=0.1)


def test_a_quadratic_reward_tilts_the_prior_without_bias():
    optimizer = das(Quadratic, particles=400)
    mean, variance = weighted(optimizer, 60)
    tilted = 1 / (1 / natural(optimizer) + 1 / ALPHA)
    assert torch.allclose(mean, tilted * Quadratic().c / ALPHA, rtol=0.05)
    assert torch.allclose(variance, torch.tensor(tilted), rtol=0.1)


def test_few_particles_fall_short_and_designs_are_drawn_by_weight():
    optimizer = das()
    tilt = natural(optimizer) * Linear().b / ALPHA
    assert torch.allclose(weighted(optimizer, 8000)[0], 0.82 * tilt, rtol=0.05)
    check(optimizer.sample(8000), 0.82 * tilt, natural(optimizer))


def test_the_default_settings_fall_short_as_the_readme_says():
    optimizer = das(where=problem(50), kl_weight=0.19, particles=2, tempering=0.017)
    variance = moments(optimizer.transition, torch.zeros(50))[1]
    check(optimizer.sample(8000), 0.87 * variance * Linear().b / 0.19, 0.96 * variance, shift=0.03)


def test_two_particles_are_never_resampled():
    weight = torch.tensor([[0.0, 0.0], [0.0, -1.0], [0.0, -50.0]])
    log_weight, rows = resampled(weight, generator(0))
    assert torch.equal(log_weight, weight) and torch.equal(rows, torch.arange(6))


def test_tempering_ends_with_the_whole_reward():
    inverse = das(tempering=0.001).inverse_temperature * ALPHA
    assert inverse[0] == 0 and inverse[-1] == 1
    assert inverse[10] == pytest.approx(1.001**50 - 1, rel=1e-3)


def test_resampling_copies_in_proportion_and_leaves_even_sets_alone():
    weight = torch.tensor([[0.85, 0.05, 0.05, 0.05], [0.3, 0.3, 0.2, 0.2]])
    sets = weight.log().repeat_interleave(4000, 0)
    log_weight, rows = resampled(sets, generator(0))
    drawn = rows.reshape(-1, 4) % 4
    copies = (drawn[:4000] == 0).sum(1)
    assert {3, 4} == set(copies.tolist()) and float(copies.float().mean()) == pytest.approx(3.4, abs=0.03)
    assert torch.equal(rows // 4, torch.arange(8000).repeat_interleave(4)) and not log_weight[:4000].any()
    assert (drawn[4000:] == torch.arange(4)).all() and torch.equal(log_weight[4000:], sets[4000:])


@pytest.mark.parametrize("wrong", [{"particles": 1}, {"kl_weight": 0.0}, {"tempering": 0.0}])
def test_a_setting_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=r"expected kl_weight > 0, particles >= 2.*tempering > 0, got"):
        das(**wrong)


def test_a_deterministic_sampler_has_no_weights():
    where = problem(5)
    where.prior.transition = Transition(where.prior.scheduler, steps=5, eta=0.0)
    with pytest.raises(ValueError, match="stochastic sampler"):
        das(where=where)


def test_a_step_is_twisted_by_the_temperature_after_it():
    """With λ rising to 1 in the first step, its proposals have the whole gradient already."""
    optimizer = das(tempering=1e9)
    step, means = optimizer.transition, []
    drawn = step.step
    optimizer.transition.step = lambda k, mean, rng: means.append(mean) or drawn(k, mean, rng)
    state = optimizer.rng.get_state()
    optimizer.population(8)
    optimizer.rng.set_state(state)
    x = optimizer.prior.noise(32, optimizer.rng)
    x0, _, gradient = optimizer.look(0, x, gradient=True)
    torch.testing.assert_close(means[0], optimizer.mean(0, x, x0) + step.std[0] ** 2 / ALPHA * gradient)
    assert gradient.norm() > 0
