import pytest
import torch
import yaml

from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.denoisers import MLP
from bbo_bench.diffusion.likelihood import elbo
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.train import fit
from bbo_bench.domains import Box
from bbo_bench.seeding import generator

BOX = Box(torch.tensor([-3.0, 0.0]), torch.tensor([3.0, 1.0]))


def test_codec_round_trips_inside_the_box_and_clamps_outside():
    data = BOX.sample(100, generator(0))
    codec = Standardize(BOX, data)
    torch.testing.assert_close(codec.decode(codec.encode(data)), data)
    torch.testing.assert_close(codec.encode(data).std(0), torch.ones(2))
    assert codec.decode(torch.tensor([[100.0, -100.0]])).tolist() == [[3.0, 0.0]]


def test_samples_follow_the_seed(gaussian):
    a, b, c = (gaussian.sample(8, generator(seed)) for seed in (0, 0, 1))
    assert a.equal(b)
    assert not a.equal(c)


def test_elbo_prefers_what_is_likely_and_does_not_depend_on_the_batch(gaussian):
    z = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 2.0], [4.0, 4.0]])
    bound = gaussian.elbo(z)
    assert bound.argsort(descending=True).tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(gaussian.elbo(z[2:3]), bound[2:3])


def test_opposite_noise_takes_back_what_noise_has_preferred(gaussian):
    """The denoiser is linear, so the bound at z with noise ε is that at -z with -ε."""
    z = torch.randn(50, 2, generator=generator(0))
    same, opposite = (elbo(gaussian.denoiser, gaussian.transition, z, sign) for sign in (1, -1))
    torch.testing.assert_close(opposite, gaussian.elbo(-z))
    assert float((same - opposite).abs().max()) > 0.01


def test_elbo_of_a_gaussian_falls_as_its_log_density(gaussian):
    """The denoiser errs by (1 - ā_t) x_0 on average, which the posterior mean of step t weighs by c_t."""
    z = torch.randn(4000, 2, generator=generator(0))
    bound, log_density = gaussian.elbo(z), -z.square().sum(1) / 2
    slope = torch.stack([bound, log_density]).cov()[0, 1] / log_density.var()
    now, std = gaussian.transition.alpha_bar[:-1], gaussian.transition.std[:-1]
    prev = gaussian.transition.alpha_bar[1:]
    c = prev.sqrt() * (1 - now / prev) / (1 - now)
    assert float(slope) == pytest.approx(float((c * (1 - now) / std).square().sum()), rel=0.05)


def test_a_prior_round_trips_through_its_folder(tmp_path):
    data = BOX.sample(64, generator(0))
    recipe = {
        "denoiser": {"_target_": "bbo_bench.diffusion.denoisers.MLP", "dim": 2, "width": 16, "depth": 1},
        "scheduler": {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"},
        "sampler": {"steps": 5},
    }
    (tmp_path / "prior.yaml").write_text(yaml.safe_dump(recipe))
    net = MLP(2, 16, 1)
    torch.nn.init.normal_(net.out.weight, generator=generator(1))
    prior = DiffusionPrior(net, Standardize(BOX, data), recipe["scheduler"], recipe["sampler"])
    prior.save(tmp_path)
    loaded = DiffusionPrior.load(tmp_path, Standardize(BOX))
    assert loaded.decode(loaded.sample(4, generator(2))).equal(prior.decode(prior.sample(4, generator(2))))


def test_training_learns_a_shifted_and_narrow_gaussian(gaussian):
    net = MLP(2, width=32, depth=1)
    target = torch.tensor([1.0, -1.0])
    data = target + 0.3 * torch.randn(2000, 2, generator=generator(0))
    loss = fit(net, gaussian.scheduler, data, generator(1), steps=600, learning_rate=3e-3, ema_decay=0.99)
    prior = DiffusionPrior(net, Standardize(BOX), {"prediction_type": "v_prediction"} | SCHEDULER, {"steps": 50})
    z = prior.sample(2000, generator(2))
    assert loss < 0.5
    torch.testing.assert_close(z.mean(0), target, atol=0.1, rtol=0)
    torch.testing.assert_close(z.std(0), torch.full((2,), 0.3), atol=0.1, rtol=0)


SCHEDULER = {"beta_schedule": "squaredcos_cap_v2"}
