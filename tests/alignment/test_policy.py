import pytest
import torch
from torch import nn

from bbo_bench.alignment.policy import Policy
from bbo_bench.seeding import generator

X, T = torch.randn(5, 2, generator=generator(0)), torch.tensor([3])


@pytest.mark.parametrize("rank", [4, None])
def test_a_new_policy_is_the_prior(gaussian, rank):
    policy = Policy(gaussian.denoiser, rank, generator(0))
    assert policy(X, T).equal(gaussian.denoiser(X, T))
    assert not any(p.requires_grad for p in gaussian.denoiser.parameters())


@pytest.mark.parametrize("rank", [4, None])
def test_merging_changes_no_output_and_weights_round_trip(gaussian, rank):
    policy, other = (Policy(gaussian.denoiser, rank, generator(seed)) for seed in (0, 1))
    with torch.no_grad():
        for weight in policy.trainable().values():
            weight += 0.1 * torch.randn(weight.shape, generator=generator(2))
    assert not policy(X, T).allclose(gaussian.denoiser(X, T))
    torch.testing.assert_close(policy.merged()(X, T), policy(X, T))
    other.load_weights(policy.weights())
    assert other(X, T).equal(policy(X, T))


def test_lora_trains_little(gaussian):
    sizes = [sum(p.numel() for p in Policy(gaussian.denoiser, r, generator(0)).trainable().values()) for r in (1, None)]
    assert sizes[0] < sizes[1] / 5
    assert all("lora" in name for name in Policy(gaussian.denoiser, 1, generator(0)).trainable())


def test_lora_without_layers_for_it_is_refused():
    with pytest.raises(ValueError, match="no layers for LoRA"):
        Policy(nn.LayerNorm(2), 4, generator(0))
