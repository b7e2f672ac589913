from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bbo_bench.diffusion.conditional import Conditional, codes
from bbo_bench.seeding import generator

TOKENS = torch.tensor([[[1.0, 1.0]], [[2.0, 2.0]], [[10.0, 10.0]]])
"""Of two prompts, and of none."""


class Told(nn.Module):
    """Says what it is told, and what it is given."""

    def forward(self, z, t, tokens):
        return SimpleNamespace(sample=z + t[:, None, None, None] + tokens.mean((1, 2))[:, None, None, None])


def latents(number):
    """Of zeros, with the codes of prompts."""
    code = codes(torch.eye(2), torch.Size([2, 2]))
    return code, torch.cat([torch.zeros(len(number), 3, 2, 2), code[number][:, None]], 1)


def test_codes_differ_and_have_unit_variance():
    code = codes(torch.randn(45, 100, generator=generator(0)), torch.Size([8, 8]))
    assert code.shape == (45, 8, 8) and float(code.var()) == pytest.approx(1, abs=0.01)
    assert float(torch.pdist(code.flatten(1)).min()) > 1
    assert torch.equal(codes(torch.ones(1, 4), torch.Size([2])), torch.zeros(1, 2)), "of one prompt nothing is told"


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("guidance", [1.0, 0.0, 5.0])
def test_guidance_is_the_unprompted_output_and_its_weight_times_what_the_prompt_adds(guidance, batch):
    code, x = latents(torch.tensor([1, 0, 1]))
    net, sizes = Told(), []
    net.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    network = Conditional(net, code, TOKENS, guidance=guidance, batch=batch).eval()
    output = network(x, torch.tensor(7))
    expected = 10 + guidance * (torch.tensor([2.0, 1.0, 2.0]) - 10) + 7
    assert torch.allclose(output[:, :-1], expected[:, None, None, None].expand(3, 3, 2, 2))
    assert (output[:, -1] == 0).all(), "what is given is not predicted"
    assert max(sizes) <= (batch or 6) and sum(sizes) == (3 if guidance == 1 else 6)


def test_a_share_of_the_examples_is_learnt_from_without_their_prompt():
    code, x = latents(torch.zeros(4000, dtype=torch.long))
    network = Conditional(Told(), code, TOKENS, unprompted=0.25).train()
    told = network(x, torch.zeros(4000))[:, 0, 0, 0]
    assert set(told.tolist()) == {1.0, 10.0}
    assert float((told == 10).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert (network.eval()(x, torch.zeros(4000))[:, 0, 0, 0] == 1).all()
