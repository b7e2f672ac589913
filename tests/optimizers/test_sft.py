"""SFT: what it chooses, and from where it starts."""

import pytest
import torch

from bbo_bench.optimizers.sft import SFT
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, problem, tuned

B = Linear().b


def sft(**changes):
    settings = {
        "proxy": Linear,
        "best": 0.25,
        "unlikely": 0.05,
        "origin": "policy",
        "iterations": 3,
        "samples": 512,
        "updates": 40,
        "batch_size": 256,
        "training": TRAINING,
    }
    optimizer = SFT(problem(20), generator(0), **settings | changes)
    optimizer.x = torch.randn(2, 2, generator=generator(2))
    return optimizer


def test_only_the_best_are_learnt_from_alike():
    weights = sft(best=0.5).weights(torch.tensor([3.0, 1.0, 2.0, 0.0]))
    assert weights.tolist() == [0.5, 0.0, 0.5, 0.0]
    assert sft(best=0.01).weights(torch.tensor([3.0, 1.0])).tolist() == [1.0, 0.0]


def test_what_the_foundation_model_finds_unlikely_is_left_out():
    optimizer = sft(unlikely=0.1)
    optimizer.problem = optimizer.problem.__class__(optimizer.problem.domain, optimizer.prior, (500,))
    optimizer.x = optimizer.prior.decode(optimizer.prior.sample(500, generator(1)))
    optimizer.y = optimizer.x @ B
    far = torch.full((400, 2), 6.0)
    optimizer.sample = lambda n: torch.cat([optimizer.prior.sample(n - 400, generator(3)), far])
    z, reward = optimizer.scored(1000)
    assert z.abs().max() < 6 and 450 <= len(z) <= 600, "about nine in ten of the natural ones"
    assert torch.equal(reward, optimizer.standardized(z @ B, z))
    optimizer.sample = lambda n: far
    assert len(optimizer.scored(400)[0]) >= 2, "never nothing"
    optimizer.sample = lambda n: far[:n]
    assert len(optimizer.scored(1)[0]) == 1


def test_the_reward_ascends_from_round_to_round_or_starts_over():
    means = {}
    for origin in ("policy", "foundation"):
        optimizer = sft(origin=origin)
        means[origin] = [float((tuned(optimizer, 4000) @ B).mean()) for _ in range(2)]
    assert 0.5 < means["policy"][0] < means["policy"][1] - 0.3
    assert abs(means["foundation"][0] - means["foundation"][1]) < 0.3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"best": 0.0}, "0 < best <= 1 .* got best=0.0"),
        ({"unlikely": 1.0}, "got best=0.25, unlikely=1.0"),
        ({"origin": "prior"}, "policy, foundation, got origin='prior'"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        sft(**setting)


def test_likely_is_what_the_foundation_model_finds_so_however_far_the_policy_has_gone():
    optimizer = sft(unlikely=0.1)
    optimizer.problem = optimizer.problem.__class__(optimizer.problem.domain, optimizer.prior, (500,))
    optimizer.x = optimizer.prior.decode(optimizer.prior.sample(500, generator(1)))
    optimizer.y = optimizer.x @ B
    with torch.no_grad():
        for weight in optimizer.policy.trainable().values():
            weight += 0.15
    z = optimizer.sample(400)
    optimizer.sample = lambda n: z
    first = optimizer.prior.elbo(optimizer.prior.encode(optimizer.x)).quantile(0.1)
    likely = optimizer.prior.elbo(z) >= first
    assert 2 < int(likely.sum()) < 350, "the policy has gone away from the prior"
    assert torch.equal(optimizer.scored(400)[0], z[likely])
