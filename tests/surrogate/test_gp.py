"""The Gaussian process finds signal and noise."""

import torch

from bbo_bench.surrogate.gp import fit_gp


def wave(v):
    return torch.sin(4 * v[:, 0]) + 0.0 * v[:, 1]


def data(n, noise_std, seed=0):
    rng = torch.Generator().manual_seed(seed)
    v = torch.rand(n, 3, generator=rng, dtype=torch.float64)
    return v, wave(v) + noise_std * torch.randn(n, generator=rng, dtype=torch.float64)


def test_finds_signal_and_noise():
    model = fit_gp(*data(150, 0.06), steps=100)
    v, y = data(200, 0.0, seed=1)
    with torch.no_grad():
        error = model.posterior(v).mean.squeeze(-1) - y
    assert error.square().mean().sqrt() < 0.05
    assert 0.04 < model.likelihood.noise.item() ** 0.5 < 0.08, "noise_std is .06"


def test_lengthscales_tell_what_matters():
    scales = fit_gp(*data(150, 0.02), steps=100).covar_module.lengthscale.detach().squeeze()
    assert scales[0] < scales[1:].min() / 2


def test_fit_draws_no_random_number():
    before = torch.random.get_rng_state()
    first, second = (fit_gp(*data(40, 0.02), steps=20).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(before, torch.random.get_rng_state())
