"""Whitened coordinates: mean 0, covariance I, and an exact way back."""

import pytest
import torch

from bbo_bench.whitening import Whitening, dependent


def sample(n, d):
    rng = torch.Generator().manual_seed(0)
    mix = torch.randn(d, d, generator=rng, dtype=torch.float64)
    return 3 + torch.randn(n, d, generator=rng, dtype=torch.float64) @ mix


def test_the_sample_becomes_round():
    u = sample(200, 6)
    v = Whitening(u, unit=2.0, shrinkage=0.0)(u)
    assert torch.allclose(v.mean(0), torch.zeros(6).double(), atol=1e-10)
    assert torch.allclose(v.T.cov(), torch.eye(6).double() / 4)


def test_inverse_with_fewer_points_than_dimensions():
    u = sample(4, 6)
    whitening = Whitening(u)
    assert torch.allclose(whitening.inverse(whitening(u)), u)


def test_a_constant_coordinate_keeps_everything_finite():
    u = sample(20, 3)
    u[:, 1] = 0.5
    assert Whitening(u)(u).isfinite().all()


def test_identity():
    u = sample(20, 3)
    whitening = Whitening.identity(u)
    assert torch.equal(whitening(u), u) and torch.equal(whitening.inverse(u), u)


@pytest.mark.parametrize(("n", "d"), [(64, 6), (64, 20), (32, 100)])
def test_independent_coordinates_are_taken_for_dependent_as_rarely_as_is_said(n, d):
    rng = torch.Generator().manual_seed(1)
    u = torch.rand(2000, n, d, generator=rng, dtype=torch.float64) * torch.linspace(0.1, 10, d).double()
    assert sum(map(dependent, u)) <= 12  # of 2 that are expected; the statistic is a little skewed


@pytest.mark.parametrize(("n", "d"), [(64, 6), (64, 20), (32, 100)])
def test_coordinates_that_go_together_are_dependent(n, d):
    u = torch.rand(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert not dependent(u) and dependent(u + u[:, :1])


def test_of_few_points_or_constant_coordinates_nothing_is_known():
    u = sample(20, 3)
    assert not any(map(dependent, (u[:1], u[:2], u[:, :1], torch.ones(20, 3).double())))


def test_scaled_coordinates_are_the_own_ones_in_units_of_their_deviations():
    u = sample(50, 3)
    whitening = Whitening.scaled(u, unit=2.0)
    v = whitening(u)
    assert torch.allclose(v, (u - u.mean(0)) / (2 * u.std(0))) and torch.allclose(whitening.inverse(v), u)
    assert torch.allclose(Whitening.scaled(u[:1]).inverse(v), u[:1] + v / 12**0.5)
