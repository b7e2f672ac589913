import pytest
import torch

from bbo_bench.alignment.policy import Policy
from bbo_bench.diffusion.codecs import OneHot
from bbo_bench.diffusion.denoisers import MLP, Categorical, Convolution, GatedMLP, SequenceMLP, Transformer, UNet
from bbo_bench.domains import Sequences
from bbo_bench.seeding import generator, seeded

SMALL = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 16), "layers_per_block": 1}
BLOCKS = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
PATCHES = SMALL | {"in_channels": 4, "out_channels": 4}
NETWORKS = {
    "mlp": (lambda: MLP(6, 16, 1), (6,)),
    "mlp of sequences": (lambda: MLP(35, 16, 1), (7, 5)),
    "gated mlp": (lambda: GatedMLP(6, 16, 1), (6,)),
    "sequence mlp": (lambda: SequenceMLP(7, 5, 16, 1, 8), (7, 5)),
    "transformer": (lambda: Transformer(7, 5, 16, 2, 2), (7, 5)),
    "convolution": (lambda: Convolution(7, 5, 16, 2, 3), (7, 5)),
    "categorical": (lambda: Categorical(Convolution(7, 5, 16, 2, 3), 5, 0.4), (7, 5)),
    "unet": (lambda: UNet(**SMALL, **BLOCKS, norm_num_groups=4), (1, 8, 8)),
    "unet of patches": (lambda: UNet(2, **PATCHES, **BLOCKS, norm_num_groups=4), (1, 16, 16)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    """A network whose weights are random, those too that start at zero; and a latent's shape."""
    make, shape = NETWORKS[request.param]
    rng = generator(0, request.param)
    with seeded(rng):
        net = make().eval()
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn(p.shape, generator=rng)
    return net, shape


def test_designs_do_not_mix_and_a_timestep_may_be_shared(network):
    net, shape = network
    x = torch.randn(4, *shape, generator=generator(1))
    together = net(x, torch.full((4,), 300))
    assert together.shape == x.shape
    torch.testing.assert_close(net(x, torch.tensor(300)), together)
    torch.testing.assert_close(net(x[:1], torch.tensor([300])), together[:1])
    assert not net(x, torch.tensor(20)).allclose(together)


def test_every_weight_matters(network):
    net, shape = network
    x = torch.randn(4, *shape, generator=generator(1))
    net(x, torch.tensor([5, 20, 300, 900])).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


def test_lora_merges_into_all_layers(network):
    net, shape = network
    policy = Policy(net, 2, generator(0))
    x, t = torch.randn(4, *shape, generator=generator(1)), torch.tensor([5, 20, 300, 900])
    assert policy(x, t).allclose(net(x, t))
    with torch.no_grad():
        for weight in policy.trainable().values():
            weight += 0.1 * torch.randn(weight.shape, generator=generator(2))
    assert not policy(x, t).allclose(net(x, t), atol=1e-3)
    torch.testing.assert_close(policy.merged()(x, t), policy(x, t), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(policy.composed()(x, t), policy(x, t), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("make", [lambda: Transformer(7, 5, 16, 1, 2), lambda: Convolution(7, 5, 16, 2, 3)])
def test_sequence_networks_see_positions_and_neighbours(make):
    with seeded(generator(0)):
        net = make()
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator(1))
    x = torch.zeros(1, 7, 5)
    other = x.clone()
    other[:, 2, 0] = 1
    t = torch.tensor([10])
    assert not net(x, t)[0, 0].allclose(net(x, t)[0, 3])
    assert not net(x, t)[0, 3].allclose(net(other, t)[0, 3])


def test_an_untrained_categorical_denoiser_is_the_posterior_of_independent_tokens():
    """Bayes' rule with a uniform prior, computed by hand from the Gaussian densities."""
    codec, rng = OneHot(Sequences(7, "ABCDE"), 0.4), generator(0, "posterior")
    net = Categorical(Convolution(7, 5, 8, 1, 3), 5, 0.4)
    t = torch.tensor([400, 700])
    a, s = (value.sqrt()[:, None, None] for value in (net.alpha_bar[t], 1 - net.alpha_bar[t]))
    x = a * codec.encode(torch.randint(5, (2, 7), generator=rng)) + s * torch.randn(2, 7, 5, generator=rng)
    tokens = codec.encode(torch.arange(5))
    density = torch.exp(-((x[:, :, None] - a[..., None] * tokens).square().sum(-1)) / (2 * s**2))
    expected = density / density.sum(-1, keepdim=True) @ tokens
    with torch.no_grad():
        torch.testing.assert_close(a * x - s * net(x, t), expected, atol=1e-5, rtol=0)
