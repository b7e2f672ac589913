"""Whitened coordinates: mean 0, covariance I, and an exact way back."""

import torch

from bbo_bench.whitening import Whitening


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
