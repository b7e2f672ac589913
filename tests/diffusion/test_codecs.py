import pytest
import torch

from bbo_bench.diffusion.codecs import OneHot, Pixels, Standardize
from bbo_bench.domains import Box, Sequences
from bbo_bench.seeding import generator

BOX = Box(torch.tensor([-3.0, 0.0]), torch.tensor([3.0, 1.0]))
IMAGES = Box(torch.zeros(1, 4, 4), torch.full((1, 4, 4), 255.0))
DNA = Sequences(8, "ACGT")


@pytest.mark.parametrize("codec, domain", [(Standardize(BOX), BOX), (Pixels(IMAGES), IMAGES), (OneHot(DNA), DNA)])
def test_decoding_undoes_encoding_and_keeps_to_the_domain(codec, domain):
    x = domain.sample(50, generator(0))
    z = codec.encode(x)
    assert z.shape == (50, *codec.latent_shape)
    torch.testing.assert_close(codec.decode(z), x)
    domain.check(codec.decode(10 * torch.randn(z.shape, generator=generator(1))))


def test_standardized_designs_have_zero_mean_and_unit_variance():
    x = BOX.sample(100, generator(0))
    z = Standardize(BOX, x).encode(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(2))


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_one_hot_rows_have_zero_mean_and_the_mean_square_asked_for(scale):
    z = OneHot(DNA, scale).encode(DNA.sample(10, generator(0)))
    torch.testing.assert_close(z.mean(-1), torch.zeros(10, 8))
    torch.testing.assert_close(z.square().mean(-1), torch.full((10, 8), scale**2))


def test_pixels_are_stretched_to_plus_minus_one():
    z = Pixels(IMAGES).encode(torch.tensor([0.0, 127.5, 255.0]))
    assert z.tolist() == [-1, 0, 1]
