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
    assert rank is None or not policy.merged()(X, T).requires_grad
    other.load_weights(policy.weights())
    assert other(X, T).equal(policy(X, T))


def test_lora_trains_little(gaussian):
    sizes = [sum(p.numel() for p in Policy(gaussian.denoiser, r, generator(0)).trainable().values()) for r in (1, None)]
    assert sizes[0] < sizes[1] / 5
    assert all("lora" in name for name in Policy(gaussian.denoiser, 1, generator(0)).trainable())


def test_lora_without_layers_for_it_is_refused():
    with pytest.raises(ValueError, match="no layers for LoRA"):
        Policy(nn.LayerNorm(2), 4, generator(0))


def test_lora_copies_no_weight_that_it_leaves_as_it_is(gaussian):
    policy = Policy(gaussian.denoiser, 2, generator(0), ("hidden", "out"))
    own = {p.data_ptr() for p in gaussian.denoiser.parameters()}
    base = [p for name, p in policy.network.named_parameters() if "lora" not in name]
    assert all(p.data_ptr() in own for p in base)
    apart = {name for name, p in policy.merged().named_parameters() if p.data_ptr() not in own}
    assert apart == {"blocks.0.hidden.weight", "blocks.0.out.weight", "out.weight"}
    before = {name: p.clone() for name, p in gaussian.denoiser.named_parameters()}
    with torch.no_grad():
        for weight in policy.trainable().values():
            weight += 1.0
    policy.merged()
    assert all(p.equal(before[name]) for name, p in gaussian.denoiser.named_parameters())


def test_lora_is_on_the_layers_that_are_named(gaussian):
    policy = Policy(gaussian.denoiser, 2, generator(0), ("blocks.0.hidden",))
    assert {name.split(".lora")[0] for name in policy.trainable()} == {"blocks.0.hidden"}
    with pytest.raises(ValueError, match=r"no layer's name ends in one of \['to_q'\]; layers are .*blocks.0.hidden"):
        Policy(gaussian.denoiser, 2, generator(0), ("to_q",))
