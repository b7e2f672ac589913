"""DDOM: weights as its authors have them, and the law of designs given a linear score, which is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bbo_bench.alignment.inverse import importances
from bbo_bench.core import UnsuitableError
from bbo_bench.optimizers.ddom import DDOM
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, problem, prompted, scored

B = Linear().b
ACROSS = torch.stack([-B[1], B[0]]) / B.norm()
SETTINGS = {"proxy": None, "guidance": 0.0, "updates": 800, "batch_size": 256, "width": 64, "training": TRAINING}


def ddom(task=None, **changes):
    return DDOM(task or problem(), generator(0), **SETTINGS | changes)


def taught(n=4000, **changes):
    return scored(ddom(**changes), n)


def test_untrained_it_is_the_prior():
    optimizer = ddom(guidance=2.0)
    z, t = torch.randn(5, 2, generator=generator(1)), optimizer.transition.timesteps[3]
    torch.testing.assert_close(optimizer.network()(z, t), optimizer.reference(z, t))


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_those_of_the_histogram(seed):
    y = np.random.default_rng(seed).normal(size=200) ** (1 + seed)
    counts, edges = np.histogram(y, 20)
    share = counts / 200
    tau = max(y.max() - np.quantile(y, 0.9), 1e-3)
    wanted = np.exp((edges[1:] - edges[-1]) / tau) * share / (share + 1e-3)
    wanted /= wanted.sum()
    place = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, 19)
    expected = np.minimum(wanted[place] / share[place], 5)
    np.testing.assert_allclose(importances(torch.from_numpy(y)).numpy(), expected, rtol=1e-4)


def test_equal_scores_have_equal_weights():
    weight = importances(torch.full((7,), 3.0))
    assert weight.isfinite().all() and (weight == weight[0]).all() and weight[0] > 0
    assert importances(torch.tensor([2.0])).tolist() == [1.0]


def test_what_is_sampled_has_the_best_score():
    """Without guidance the law is that of designs with that score: along b the score's, across it the data's."""
    optimizer = taught()
    optimizer.learn()
    z = optimizer.sample(4000)
    assert float((z @ B).mean()) == pytest.approx(float(optimizer.y.max()), rel=0.1)
    assert float((z @ B).std()) < 0.3 * float(optimizer.y.std())
    assert abs(float((z @ ACROSS).mean())) < 0.2
    assert float((z @ ACROSS).std()) == pytest.approx(1, rel=0.2)


def test_guidance_goes_further_from_the_prior():
    optimizer = taught(n=200, updates=100)
    optimizer.learn()
    z, t = torch.randn(5, 2, generator=generator(1)), optimizer.transition.timesteps[3]
    with torch.no_grad():
        prior, plain = optimizer.reference(z, t), optimizer.network()(z, t).clone()
        optimizer.guidance = 1.5
        guided = optimizer.network()(z, t)
    assert (plain - prior).norm() > 0.1
    torch.testing.assert_close(guided - prior, 2.5 * (plain - prior))


def test_every_round_trains_a_new_model():
    optimizer = taught(n=100, updates=20)
    optimizer.learn()
    first = {name: weight.clone() for name, weight in optimizer.policy.weights().items()}
    assert not all(torch.equal(first[name], weight) for name, weight in ddom().policy.weights().items())
    optimizer.rng.manual_seed(5)
    optimizer.learn()
    again = {name: weight.clone() for name, weight in optimizer.policy.weights().items()}
    optimizer.policy.load_weights({name: weight + 1 for name, weight in again.items()})
    optimizer.rng.manual_seed(5)
    optimizer.learn()
    assert all(torch.equal(again[name], weight) for name, weight in optimizer.policy.weights().items())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"guidance": -1.0}, "guidance >= 0, got guidance=-1.0"),
        ({"proxy": Linear}, "set proxy=null"),
        ({"kl_weight": 0.1}, "kl_weight=0"),
        ({"training": replace(TRAINING, lora_rank=4)}, "lora_rank=null"),
        ({"updates": 0}, "got updates=0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        ddom(**setting)


def test_prompts_are_refused():
    with pytest.raises(UnsuitableError, match="DDOM samples at one score"):
        ddom(prompted())
