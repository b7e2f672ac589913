"""Value-DPO: where sure preferences lead, and what margin and SNR weight do."""

import pytest
import torch

from bbo_bench.optimizers.diffusion_dpo import DiffusionDPO
from bbo_bench.optimizers.value_dpo import ValueDPO, min_snr
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, problem, tuned

B = Linear().b


def method(cls=ValueDPO, **settings):
    common = {"iterations": 2, "samples": 256, "updates": 50, "batch_size": 256, "temperature": 1.0, "kl_weight": 1.0}
    own = {"margin": 0.0, "weighting": "elbo"} if cls is ValueDPO else {}
    return cls(problem(20), generator(0), proxy=Linear, training=TRAINING, **common | own | settings)


def pairs(n=256):
    z = torch.randn(2, n, 2, generator=generator(1))
    return z, z @ B


def gradient(made, z, reward):
    made.rng.manual_seed(0)
    return torch.autograd.grad(made.loss(z, reward), list(made.policy.trainable().values()))


def test_its_gradient_is_diffusion_dpos_of_sure_labels():
    z, reward = pairs()
    ours, sure = method(), method(DiffusionDPO)
    for got, expected in zip(gradient(ours, z, reward), gradient(sure, z, 1e6 * reward), strict=True):
        torch.testing.assert_close(got, expected)


def test_pairs_that_noise_could_have_ordered_do_not_count():
    z, reward = pairs()
    counted = (reward[0] - reward[1]).abs() > 0.5
    made = method(margin=0.5)
    one, other = z.clone(), z.clone()
    other[:, ~counted] = other[:, ~counted].flip(0)
    for got, expected in zip(gradient(made, one, reward), gradient(made, other, reward), strict=True):
        torch.testing.assert_close(got, expected)
    assert all(not g.any() for g in gradient(method(margin=1e3), z, reward))


def test_the_snr_weight_takes_from_late_steps_and_keeps_the_total():
    plain, weighed = method(), method(weighting="min_snr")
    factor = weighed._nats / plain._nats
    assert (factor.diff() <= 1e-6).all() and factor[0] > 1 > factor[-1]
    torch.testing.assert_close(weighed._share @ weighed._nats, plain._share @ plain._nats)
    snr = plain.transition.alpha_bar / (1 - plain.transition.alpha_bar)
    torch.testing.assert_close(min_snr(plain.transition) * snr, snr.clamp(max=5))


@pytest.mark.parametrize("weighting", ["elbo", "min_snr"])
def test_the_value_ascends(weighting):
    assert float((tuned(method(weighting=weighting), 4000) @ B).mean()) > 0.5


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"margin": -0.1}, "margin >= 0, got margin=-0.1"), ({"weighting": "snr"}, "elbo, min_snr, got weighting='snr'")],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        method(**setting)


def test_hard_labels_hold_no_budget():
    with pytest.raises(ValueError, match="no optimum that α could hold at a kl_budget"):
        method(kl_weight=None, kl_budget=8.0)
