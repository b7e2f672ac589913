import pytest
import torch

from bbo_bench.seeding import generator
from bbo_bench.surrogate.ensemble import OPTIMISM, Ensemble

SMALL = {"width": 64, "updates": 600}


def data(n: int, noise: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    rng = generator(n)
    z = torch.randn(n, 3, generator=rng)
    return z, 100 + 20 * score(z) + 20 * noise * torch.randn(n, generator=rng)


def score(z: torch.Tensor) -> torch.Tensor:
    return (2 * z[:, 0]).sin() + z[:, 1] * z[:, 2]


def test_predictions_are_in_units_of_the_score_and_generalize():
    ensemble = Ensemble(**SMALL)
    ensemble.fit(*data(512), generator(0))
    z = torch.randn(500, 3, generator=generator(1)) * 0.7
    error = (ensemble.predict(z) - 100 - 20 * score(z)).square().mean().sqrt() / 20
    assert float(error) < 0.25
    assert 0 < ensemble.error < 0.7


def test_optimism_orders_as_defined():
    z, y = data(128)
    far = 4 * torch.randn(200, 3, generator=generator(1))
    values = {}
    for optimism in OPTIMISM:
        ensemble = Ensemble(optimism=optimism, beta=2.0, **SMALL)
        ensemble.fit(z, y, generator(0))
        values[optimism] = ensemble(far).detach()
        torch.testing.assert_close(ensemble.predict(far).detach(), values["mean"])
    heads = 5
    assert (values["ucb"] >= values["mean"]).all()
    assert (values["max"] >= values["mean"]).all()
    assert (values["max"] >= values["thompson"]).all()
    assert (values["elliptical"] >= values["mean"]).all()
    spread = (values["ucb"] - values["mean"]) / 2
    assert (values["max"] - values["mean"] <= spread * (heads - 1) / heads**0.5 + 1e-3).all()  # Samuelson's inequality


def test_the_elliptical_bonus_shrinks_as_data_come_in():
    z = torch.randn(100, 3, generator=generator(9))
    bonus = []
    for n in (32, 512):
        ensemble = Ensemble(optimism="elliptical", **SMALL)
        ensemble.fit(*data(n), generator(0))
        y_std = data(n)[1].std(correction=0)
        bonus.append(float(((ensemble(z) - ensemble.predict(z)) / y_std).mean()))
    assert 0 < bonus[1] < bonus[0] <= 1


def test_rewards_are_differentiable_in_the_latents():
    ensemble = Ensemble(**SMALL)
    ensemble.fit(*data(256), generator(0))
    z = torch.zeros(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(ensemble.predict(z).sum(), z)
    assert float(gradient[0, 0]) > 0.5 * 40  # the slope of 20 sin(2x) at 0 is 40
    assert abs(float(gradient[0, 1])) < 20


def test_state_round_trips():
    ensemble, copy = Ensemble(**SMALL), Ensemble(**SMALL)
    z, y = data(64)
    ensemble.fit(z, y, generator(0))
    copy.load_state_dict(ensemble.state_dict(), torch.device("cpu"))
    assert copy(z).equal(ensemble(z))


def test_constant_scores_and_few_points_are_no_trouble():
    ensemble = Ensemble(**SMALL)
    ensemble.fit(torch.randn(2, 3, generator=generator(0)), torch.full((2,), 5.0), generator(0))
    prediction = ensemble.predict(torch.zeros(1, 3))
    assert float(prediction) == pytest.approx(5.0, abs=1.0)


@pytest.mark.parametrize(
    ("slope", "offset"),
    [(0.01, -1e6), pytest.param(1.0, 1e9, marks=pytest.mark.slow), pytest.param(1e38, 0.0, marks=pytest.mark.slow)],
)
def test_predictions_keep_differences_far_from_zero(slope, offset):
    z, y = data(64)
    one, other = Ensemble(**SMALL), Ensemble(**SMALL)
    one.fit(z, y.double(), generator(0))
    other.fit(z, slope * y.double() + offset, generator(0))
    predicted = (other(z) - offset) / slope
    assert float((predicted - one(z)).abs().max()) < 0.05 * float(y.std())
    assert torch.corrcoef(torch.stack([predicted.detach(), y.double()]))[0, 1] > 0.9


def test_few_updates_are_not_lost():
    z, y = data(128)
    ensemble = Ensemble(width=64, updates=15, patience=200)  # fewer than there are between two looks at the error
    ensemble.fit(z, y, generator(0))
    assert 0 < ensemble.error < 10
    error = (ensemble.predict(z) - y).square().mean()
    assert float(error) < float(y.var())


def test_unknown_optimism_is_refused():
    with pytest.raises(ValueError, match="one of mean, ucb"):
        Ensemble(optimism="hope")


@pytest.mark.parametrize(
    "setting", [{"heads": 1, "optimism": each} for each in ("mean", "ucb")] + [{"width": 0}, {"updates": 0}]
)
def test_counts_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match="at least two heads and positive width"):
        Ensemble(**setting)
    Ensemble(heads=1, optimism="elliptical")


@pytest.mark.parametrize("refit", [True, False])
def test_a_proxy_that_is_not_refitted_goes_on_from_where_it_was(refit):
    z, y = data(256)
    ensemble = Ensemble(refit=refit, **SMALL)
    ensemble.fit(z, y, generator(0))
    before = ensemble.predict(z).detach()
    ensemble.updates = 1
    ensemble.fit(z, 2 * y + 5, generator(1))
    moved = float((ensemble.predict(z).detach() - before).square().mean().sqrt() / y.std())
    assert (moved < 0.5) != refit, "an update is too few to learn other units in"
