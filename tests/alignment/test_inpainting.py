"""In-painting: masks, exact known parts, and the conditional law of a correlated Gaussian."""

import pytest
import torch

from bbo_bench.alignment.inpainting import Prefix, inpaint
from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.denoisers import MLP
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.train import fit
from bbo_bench.domains import Box
from bbo_bench.seeding import generator, seeded
from bbo_bench.testing.gaussian import SCHEDULER, problem

CORRELATION = 0.8


def test_masks_are_prefixes_of_log_uniform_length():
    known = Prefix(unknown=0.25)(torch.zeros(20_000, 8, 2), generator(0)).flatten(1)
    length = known.sum(1)
    assert (known.int().diff(dim=1) <= 0).all() and int(length.max()) == 15
    assert float((length == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float((length == 1).float().mean()) == pytest.approx(0.75 * 0.25, abs=0.02)  # log_16 2
    fixed = Prefix(unknown=0.0, length=3)(torch.zeros(5, 8, 2), generator(0)).flatten(1)
    assert torch.equal(fixed, (torch.arange(16) < 3).expand(5, -1))


@pytest.fixture(scope="module")
def correlated():
    """A prior of two correlated normals, trained with masks."""
    rng = generator(0)
    x = torch.randn(4096, 2, generator=rng)
    x[:, 1] = CORRELATION * x[:, 0] + (1 - CORRELATION**2) ** 0.5 * x[:, 1]
    with seeded(generator(0)):
        denoiser = MLP(2, width=64, depth=2)
    box = Box(torch.full((2,), -20.0), torch.full((2,), 20.0))
    prior = DiffusionPrior(denoiser, Standardize(box), SCHEDULER, {"steps": 50})
    prior.denoiser.requires_grad_(True)
    fit(prior.denoiser, prior.scheduler, x, rng, steps=1500, batch_size=256, learning_rate=3e-3, known=Prefix(0.5))
    prior.denoiser.requires_grad_(False)
    return prior


@pytest.mark.parametrize("resamples", [1, 3])
def test_the_rest_follows_its_law_given_what_is_known(correlated, resamples):
    z = torch.zeros(4000, 2)
    z[:, 0] = 1.5
    drawn = inpaint(correlated, z, torch.tensor([True, False]), generator(1), resamples=resamples)
    assert torch.equal(drawn[:, 0], z[:, 0])
    assert float(drawn[:, 1].mean()) == pytest.approx(1.5 * CORRELATION, abs=0.2)
    assert float(drawn[:, 1].std()) == pytest.approx((1 - CORRELATION**2) ** 0.5, rel=0.15)


def test_nothing_known_is_the_prior_itself():
    prior = problem(20).prior
    drawn = inpaint(prior, torch.zeros(7, 2), torch.zeros(2, dtype=torch.bool), generator(1))
    torch.testing.assert_close(drawn, prior.sample(7, generator(1)))


@pytest.mark.parametrize(
    ("shape", "mask", "resamples", "message"),
    [
        ((7, 3), (3,), 1, r"latents of \(2,\) and as many bools, got \(7, 3\) and \(3,\)"),
        ((7, 2), (3,), 1, r"got \(7, 2\) and \(3,\)"),
        ((7, 2), (2,), 0, "got resamples=0"),
    ],
)
def test_what_does_not_fit_is_refused(shape, mask, resamples, message):
    with pytest.raises(ValueError, match=message):
        known = torch.ones(mask, dtype=torch.bool)
        inpaint(problem(20).prior, torch.zeros(shape), known, generator(0), resamples=resamples)


@pytest.mark.parametrize("wrong", [{"unknown": 1.5}, {"length": 0}])
def test_a_mask_out_of_range_is_refused(wrong):
    [(key, value)] = wrong.items()
    with pytest.raises(ValueError, match=rf"0 <= unknown <= 1 and a length of at least 1.*{key}={value}"):
        Prefix(**wrong)


@pytest.mark.parametrize(
    ("z", "known"), [((3, 1), (1,)), ((3, 3), (3,)), ((3, 3), (3, 3)), ((3, 2), (3,)), ((3, 2), (2, 2))]
)
def test_latents_and_masks_of_other_shapes_are_refused(correlated, z, known):
    with pytest.raises(ValueError, match=r"expected latents of \(2,\) and as many bools"):
        inpaint(correlated, torch.zeros(z), torch.zeros(known, dtype=torch.bool), generator(0))
