"""The Gaussian process finds signal and noise."""

import pytest
import torch
from linear_operator.utils.errors import NotPSDError

from bbo_bench.domains import Box, Sequences
from bbo_bench.seeding import generator
from bbo_bench.surrogate import gp
from bbo_bench.surrogate.gp import UNIT, GPOptimizer, evidence, fit_gp
from bbo_bench.testing import Probe, SequenceProbe
from bbo_bench.testing.probe import problem_of


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


class Still(GPOptimizer):
    """Asks for what it was told first."""

    domains = (Box, Sequences)

    def propose(self, n):
        return self.v[:n]


def told(task, whiten=True, n=40):
    optimizer = Still(problem_of(task, (n,)), generator(0), whiten=whiten, tanimoto=None, max_points=n, fit_steps=50)
    x = task.prior().decode(task.prior().sample(n, generator(1)))
    optimizer.tell(x, 100 * task.evaluate(x).clamp(min=-50).double())
    return optimizer, x


def test_noise_is_told_in_the_scores_own_units():
    optimizer, _ = told(Probe())
    of_unit = optimizer.gp.likelihood.noise.item() ** 0.5
    assert optimizer.diagnostics()["noise_std"] == pytest.approx(of_unit * float(optimizer.scale.std))
    assert float(optimizer.scale.std) > 50, "scores of hundreds"


def test_a_box_is_whitened_where_that_is_asked_for_and_sequences_never():
    optimizer, x = told(Probe())
    v = optimizer.axes(optimizer.to_vectors(x))
    torch.testing.assert_close(v.T.cov(), torch.eye(2).double() * v.T.cov()[0, 0], atol=1e-3, rtol=1e-2)
    assert not torch.allclose(v, optimizer.to_vectors(x))
    for optimizer, x in (told(Probe(), whiten=False), told(SequenceProbe())):
        assert torch.equal(optimizer.axes(optimizer.to_vectors(x)), optimizer.to_vectors(x))


def test_evidence_is_the_log_density_of_the_scores():
    model = fit_gp(*data(30, 0.1), steps=20)
    (v,), y = model.train_inputs, model.train_targets
    with torch.no_grad():
        covariance = model.covar_module(v).to_dense() + model.likelihood.noise * torch.eye(30)
    mean = torch.full((30,), model.mean_module.constant.item()).to(y)
    expected = torch.distributions.MultivariateNormal(mean, covariance.to(y)).log_prob(y) / 30
    assert evidence(model) == pytest.approx(float(expected), rel=1e-5)
    assert not model.training


class Sheared(Probe):
    """Designs whose numbers go together."""

    def prior(self):
        prior = super().prior()
        sample = prior.sample
        shear = torch.tensor([[1.0, 0.9], [0.0, 0.2]])
        prior.sample = lambda n, rng: sample(n, rng) @ shear
        return prior


@pytest.mark.parametrize(("task", "whitened"), [(Sheared(), True), (Probe(), False)])
def test_a_box_is_whitened_by_itself_where_the_numbers_of_natural_designs_go_together(task, whitened):
    optimizer, _ = told(task, whiten=None)
    assert optimizer.whitened == whitened
    if not whitened:
        assert (UNIT * optimizer.v.std(0)).tolist() == pytest.approx([1, 1])
    assert optimizer.diagnostics()["whitened"] == float(whitened)


def test_a_fit_that_fails_leaves_the_likeliest_settings_and_says_so(monkeypatch):
    def fails(mll, **_):
        mll.model.likelihood.noise = 7.0
        raise NotPSDError("singular")

    assert told(Probe())[0].diagnostics()["failed_fit"] == 0
    start = fit_gp(*data(20, 0.02), steps=1)
    monkeypatch.setattr(gp, "fit_gpytorch_mll_scipy", fails)
    optimizer, x = told(Probe())
    assert optimizer.diagnostics()["failed_fit"] == 1
    assert optimizer.predict(x).isfinite().all()
    assert optimizer.gp.likelihood.noise.item() < 1 and not optimizer.gp.training
    assert fit_gp(*data(20, 0.02), steps=1).likelihood.noise.item() != start.likelihood.noise.item()


def test_moments_are_in_the_scores_own_units():
    optimizer, x = told(Probe())
    mean, std = optimizer.moments(x)
    torch.testing.assert_close(mean, optimizer.predict(x))
    posterior = optimizer.gp.posterior(optimizer.axes(optimizer.to_vectors(x)))
    torch.testing.assert_close(std, posterior.variance.detach().sqrt().squeeze(-1) * optimizer.scale.std)
