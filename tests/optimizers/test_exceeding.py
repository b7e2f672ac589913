"""VSD and CbAS on the Gaussian problem: their optimum is the prior given that a linear score exceeds a threshold.

Of N(0, I) and y = b·x + σε, the law given y > τ has along b the mean m φ(τ/s) / (1 - Φ(τ/s)), where m = |b|²/s and
s² = |b|² + σ².
"""

import math
from dataclasses import replace

import pytest
import torch

from bbo_bench.core import UnsuitableError
from bbo_bench.optimizers.cbas import CbAS
from bbo_bench.optimizers.vsd import VSD
from bbo_bench.seeding import generator
from bbo_bench.surrogate.ensemble import Ensemble
from bbo_bench.testing.gaussian import TRAINING, Linear, problem, prompted, tilting_shifts, tuned

B, NOISE = Linear().b, 0.5
THRESHOLD = 1.0
VSD_SETTINGS = {
    "kl_weight": 1.0,
    "iterations": 150,
    "samples": 512,
    "epochs": 1,
    "minibatches": 1,
    "clip": None,
    "max_advantage": 10.0,
    "training": TRAINING,
}
CBAS_SETTINGS = {
    "effective": 0.0,
    "iterations": 1,
    "samples": 8000,
    "updates": 800,
    "batch_size": 512,
    "training": replace(TRAINING, learning_rate=1e-3),
}


class Known(Ensemble):
    """A proxy that knows b·x, up to normal noise."""

    def __call__(self, z):
        return z @ B

    predict = __call__

    def fit(self, z, y, rng):
        pass

    def law(self, z):
        return z @ B, torch.full((len(z),), NOISE)


def made(cls, task=None, **changes):
    settings = VSD_SETTINGS if cls is VSD else CBAS_SETTINGS
    both = {"proxy": Known, "quantile": 0.5, "anneal": 1.0} | settings | changes
    optimizer = cls(task or problem(), generator(0), **both)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def truncated(variance=1.0):
    """The mean along b of the prior, of this variance, given that the score exceeds the threshold."""
    square = float(B @ B) * variance
    s = math.sqrt(square + NOISE**2)
    density = math.exp(-((THRESHOLD / s) ** 2) / 2) / math.sqrt(2 * math.pi)
    return square / s * density / (0.5 * math.erfc(THRESHOLD / s / math.sqrt(2)))


def test_rewards_are_log_probabilities_of_exceeding():
    optimizer = made(VSD)
    optimizer.threshold = THRESHOLD
    z = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-60.0, 0.0]], requires_grad=True)
    reward = optimizer.reward(z)
    assert reward[:2].tolist() == pytest.approx([math.log(0.5), math.log(0.5 * math.erfc(2 / 2**0.5))], rel=1e-5)
    assert reward.isfinite().all(), "far below the threshold too"
    reward.sum().backward()
    assert z.grad.isfinite().all() and (z.grad @ B > 0).all()


@pytest.mark.parametrize("cls", [VSD, pytest.param(CbAS, marks=pytest.mark.slow)])
def test_the_optimum_is_the_prior_above_the_threshold(cls):
    optimizer = made(cls)
    optimizer.threshold = THRESHOLD
    z = tuned(optimizer)
    along, across = z @ B, z @ torch.stack([-B[1], B[0]])
    natural = float(optimizer.prior.sample(20_000, generator(5)).var(0).mean())
    assert float(along.mean()) == pytest.approx(truncated(natural), rel=0.1)
    assert abs(float(across.mean())) < 0.15
    assert optimizer.diagnostics()["threshold"] == THRESHOLD, "it never falls"


@pytest.mark.slow
def test_more_sets_stay_where_the_first_has_come():
    """The ratio takes back what earlier sets have weighted already."""
    optimizer = made(CbAS, iterations=7, samples=2000, updates=200)
    optimizer.threshold = THRESHOLD
    along = tuned(optimizer) @ B
    assert float(along.mean()) == pytest.approx(truncated(0.92), rel=0.15)
    optimizer = made(CbAS, iterations=7, samples=2000, updates=200)
    optimizer.threshold = THRESHOLD
    optimizer.log_ratio = lambda z: torch.zeros(len(z))
    assert float((tuned(optimizer) @ B).mean()) > 1.15 * truncated(0.92), "and goes on without it"


def test_the_ratio_is_zero_of_the_prior_itself():
    optimizer = made(CbAS)
    ratio = optimizer.log_ratio(optimizer.prior.sample(50, generator(1)))
    assert float(ratio.abs().max()) < 1e-3


def test_the_ratio_is_that_of_the_laws():
    """Of a policy whose steps are shifted as those of the prior tilted by exp(b·x): -b·x + const."""
    optimizer = made(CbAS)
    step, inner = optimizer.transition, optimizer.reference
    shift = tilting_shifts(step)[:, None] * B
    per_output = step.mean(torch.arange(step.steps), torch.zeros(step.steps, 1), torch.ones(step.steps, 1))
    number = {int(t): k for k, t in enumerate(step.timesteps)}

    def tilted(x, t):
        k = torch.tensor([number[int(each)] for each in t.reshape(-1)])
        return inner(x, t) + (shift / per_output)[k]

    optimizer.network = lambda: tilted
    z = optimizer.prior.sample(400, generator(1))
    off = optimizer.log_ratio(z) + z @ B
    assert float(off.std()) < 0.25 * float((z @ B).std())


def test_weights_are_flattened_until_enough_count():
    reward = torch.tensor([0.0, 1.0, 2.0, 30.0])
    sharp, flat = made(CbAS).weights(reward), made(CbAS, effective=0.6).weights(reward)
    torch.testing.assert_close(sharp, reward.softmax(0))
    assert float(1 / flat.square().sum()) >= 2.4
    assert flat.argsort().tolist() == [0, 1, 2, 3] and float(flat.sum()) == pytest.approx(1)


def test_the_threshold_rises_as_the_authors_anneal_it():
    """Quantiles p, p^η, p^(η²) of all scores so far, never lower than before."""
    task = replace(problem(), budget=(4, 4, 4))
    optimizer = made(VSD, task=task, quantile=0.5, anneal=0.9, iterations=1, samples=8)
    optimizer.y = optimizer.y[:0]
    scores = [torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0, 7.0]), torch.full((4,), -9.0)]
    expected, seen = [], torch.empty(0)
    for i, y in enumerate(scores):
        optimizer.tell(optimizer.prior.decode(optimizer.prior.sample(4, generator(i))), y)
        seen = torch.cat([seen, y])
        expected.append(max([float(seen.quantile(0.5 ** (0.9**i))), *expected]))
        assert optimizer.threshold == pytest.approx(expected[-1])
    assert expected[0] < expected[1] == expected[2]
    other = made(VSD, task=task)
    other.proxy.load_state_dict = lambda state, device: None
    other.load_state_dict(optimizer.state_dict())
    assert other.threshold == optimizer.threshold


def test_an_ensemble_tells_how_sure_it_is():
    """Its spread and what it missed: near the data about the noise, far from it more."""
    rng = generator(0)
    z = torch.randn(400, 2, generator=rng)
    y = (z @ B + NOISE * torch.randn(400, generator=rng)).double()
    ensemble = Ensemble()
    ensemble.fit(z, 10 * y + 3, rng)
    mean, std = ensemble.law(torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, -9.0]]))
    assert mean[:2].tolist() == pytest.approx([3.0, 13.0], abs=3)
    assert std[:2].tolist() == pytest.approx([10 * NOISE] * 2, rel=0.3) and std[2] > 1.3 * std[0]


@pytest.mark.parametrize(
    ("cls", "setting", "message"),
    [
        (VSD, {"quantile": 1.0}, "0 < quantile < 1.*got quantile=1.0"),
        (VSD, {"anneal": 0.0}, "0 < anneal <= 1.*anneal=0.0"),
        (VSD, {"proxy": Linear}, "VSD needs an Ensemble as proxy, got Linear"),
        (VSD, {"proxy": None}, "needs an Ensemble as proxy, got NoneType"),
        (VSD, {"proxy": lambda: Known(heads=1, optimism="elliptical")}, "at least two heads, whose spread.*got 1"),
        (CbAS, {"effective": 1.0}, "0 <= effective < 1, got effective=1.0"),
        (CbAS, {"kl_weight": 0.1}, "set kl_weight=0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(cls, setting, message):
    with pytest.raises(ValueError, match=message):
        made(cls, **setting)


@pytest.mark.parametrize("cls", [VSD, CbAS])
def test_prompts_have_no_common_threshold(cls):
    with pytest.raises(UnsuitableError, match=f"{cls.__name__} looks for designs above one threshold"):
        made(cls, task=prompted())
