"""RAFT on the problem of `bbo_bench.testing.gaussian` with the linear reward b·x.

Of the prior's samples, the best of every K follow the law of the maximum of K normals along b, density K φ Φ^{K-1}, and
the prior's own across. The policy is the sampler with that law's exact denoiser. With α > 0, and laws taken for normal,
the best of two of N(m, v) have the mean m + √(v/π) and the variance (1 - 1/π) v, and λ = α √(v/π) / |b| v.
"""

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import ks_2samp

from bbo_bench.optimizers.raft import RAFT
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, moments, problem, tuned
from bbo_bench.testing.laws import regressed, regressed_samples, resting
from bbo_bench.testing.probe import Probe, problem_of

B = Linear().b / Linear().b.norm()
ACROSS = torch.stack([-B[1], B[0]])
SETTINGS = {
    "proxy": Linear,
    "candidates": 2,
    "ranking": "local",
    "iterations": 1,
    "samples": 40_000,
    "updates": 1500,
    "batch_size": 1024,
}


def raft(learning_rate=2e-3, **changes):
    training = replace(TRAINING, learning_rate=learning_rate)
    return RAFT(problem(), generator(0), training=training, **SETTINGS | changes)


def maximum_law(variance: float, candidates: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest of some normals as weighted atoms."""
    normal = torch.distributions.Normal(0.0, variance**0.5)
    atoms = torch.linspace(-4, 5, 401)
    return atoms, normal.log_prob(atoms).exp() * normal.cdf(atoms) ** (candidates - 1) + 1e-30


@pytest.mark.slow
def test_one_set_of_the_prior_makes_the_law_of_the_maximum():
    optimizer = raft(candidates=4, learning_rate=1e-3)
    step = optimizer.transition
    _, natural = moments(step, torch.zeros(step.steps))
    expected = regressed_samples(step, *maximum_law(natural, 4), 12_000, generator(1))
    z = tuned(optimizer)
    along, across = z @ B, z @ ACROSS
    assert float(along.mean()) == pytest.approx(float(expected.mean()), rel=0.05)
    assert float(along.var()) == pytest.approx(float(expected.var()), rel=0.1)
    assert ks_2samp(along, expected).statistic < 0.05
    slope, shift = regressed(step, 0.0, natural)
    assert float(across.var()) == pytest.approx(moments(step, shift, slope)[1], rel=0.1)
    assert abs(float(across.mean())) < 0.05


@pytest.mark.slow
def test_many_sets_with_a_weight_on_the_prior_come_to_rest():
    optimizer = raft(kl_weight=1.0, iterations=40, samples=1024, updates=40)

    def best_of_two(mean, variance):
        gain = math.sqrt(variance / math.pi)
        return mean + gain, variance * (1 - 1 / math.pi), gain / (float(Linear().b.norm()) * variance)

    mean, variance = resting(optimizer.transition, best_of_two)
    along = tuned(optimizer) @ B
    assert float(along.mean()) == pytest.approx(mean, rel=0.05)
    assert float(along.var()) == pytest.approx(variance, rel=0.1)


def test_the_best_of_every_group_or_of_all_are_kept():
    reward = torch.tensor([3.0, 1.0, 2.0, 0.0, 9.0, 8.0, 7.0])
    local, whole = raft(candidates=3).weights(reward), raft(candidates=3, ranking="global").weights(reward)
    torch.testing.assert_close(local, torch.tensor([0.5, 0, 0, 0, 0.5, 0, 0]))
    torch.testing.assert_close(whole, torch.tensor([0.0, 0, 0, 0, 0.5, 0.5, 0]))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ranking": "best"}, "one of local, global, got ranking='best'"),
        ({"candidates": 0}, "counts of at least 1, got candidates=0"),
        ({"candidates": 17, "samples": 16}, "candidates <= 16.*got candidates=17"),
    ],
)
def test_settings_out_of_range_are_refused(build, setting, message):
    with pytest.raises(ValueError, match=message):
        build("raft", problem_of(Probe(), (8,)), **setting)
