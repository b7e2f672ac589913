"""Batches of noisy log expected improvement."""

import math

import pytest
import torch
from scipy import integrate, stats

from bbo_bench.optimizers.qlogei import log_expected_improvement

QUICK = {"fit_steps": 20, "steps": 10, "mc_samples": 32, "restarts": 1, "raw_samples": 16}


def test_batches_differ_from_each_other(problem, play, build):
    optimizer = build("qlogei", problem, batch=8, **QUICK)
    play(optimizer, rounds=1)
    v = optimizer.propose(20)
    assert v.shape == (20, 10)
    assert torch.cdist(v, v).fill_diagonal_(torch.inf).min() > 1e-3, "later batches know of the earlier ones"
    assert len(optimizer.v) == 32, "asking leaves the data alone"


def test_improves_on_what_it_knows(problem, play, build):
    optimizer = build("qlogei", problem, **QUICK)
    play(optimizer, rounds=2)
    asked = optimizer.predict(optimizer.ask(32))
    assert asked.max() > optimizer.predict(optimizer.x).max()


def test_searches_around_the_data(problem, play, build):
    optimizer = build("qlogei", problem, margin=0.5, **QUICK)
    play(optimizer, rounds=1)
    low, high = optimizer.bounds(optimizer.v, 0.5)
    spread = optimizer.v.amax(0) - optimizer.v.amin(0)
    assert torch.allclose(high - low, 2 * spread)


def test_points_moved_out_of_the_search_box_widen_it(problem, play, build):
    optimizer = build("qlogei", problem, margin=0.0, **QUICK)
    play(optimizer, rounds=1)
    outside = optimizer.v.amax(0, keepdim=True) + 1
    low, high = optimizer.bounds(torch.cat([optimizer.v, outside]), 0.0)
    assert torch.equal(high, outside[0]) and torch.equal(low, optimizer.v.amin(0))
    optimizer._optimized(optimizer.gp, torch.cat([optimizer.v, outside]), 2)


def test_beats_random_search(problem, play, build, random_best):
    assert play(build("qlogei", problem, **QUICK)).best > random_best / 2


def test_finds_a_corner_of_the_box(cramped, play, build):
    run = play(build("qlogei", cramped, **QUICK))
    assert (run.x == cramped.domain.upper).any(), "designs beyond the border are moved onto it"
    assert run.best > -1.2


def test_resumes_from_its_state(problem, play, build):
    optimizer, other = (build("qlogei", problem, **QUICK) for _ in range(2))
    play(optimizer, rounds=2)
    other.load_state_dict(optimizer.state_dict())
    for each in (optimizer, other):
        each.rng.manual_seed(5)
    assert torch.equal(optimizer.ask(40), other.ask(40))


@pytest.mark.parametrize("mean", [-9.0, -2.0, -0.3, 0.0, 0.4, 3.0])
def test_expected_improvement_is_the_integral(mean):
    best, std = 1.0, 0.7
    inside = lambda f: (f - best) * stats.norm.pdf(f, mean, std)  # noqa: E731
    expected = integrate.quad(inside, best, best + 12 * std, epsabs=0, points=[best + 0.1 * std])[0]
    got = log_expected_improvement(*(torch.tensor(each).double() for each in (mean, std, best)))
    assert float(got) == pytest.approx(math.log(expected), rel=1e-6)


def test_expected_improvement_is_finite_far_below():
    z = -torch.tensor([50.0, 1e4, 1e9]).double()
    got = log_expected_improvement(z, torch.ones(3).double(), torch.zeros(()).double())
    assert got.isfinite().all()
    assert float(got[0]) == pytest.approx(-1250 - math.log(2 * math.pi) / 2 - 2 * math.log(50), rel=1e-5)
