"""DiBO on the Gaussian problem: the prior tilted by exp(b·x/α), its log Z, and the mode that the search climbs.

Trajectory balance is zero for the steps that tilt the prior, whatever the trajectories: the log-ratios telescope to
b·x_0/α, less a constant, which is log Z.
"""

import pytest
import torch

from bbo_bench.core import UnsuitableError
from bbo_bench.optimizers.dibo import DiBO, novel_first
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, moments, problem, prompted, tilting_shifts, tuned

STEPS = 8
B = Linear().b
SETTINGS = {
    "kl_weight": 1.0,
    "iterations": 100,
    "samples": 256,
    "epochs": 1,
    "minibatches": 2,
    "log_z_rate": 0.1,
    "candidates": 1,
    "search_steps": 0,
    "search_rate": 0.01,
    "batch": 512,
    "training": TRAINING,
}


def dibo(task=None, **changes):
    optimizer = DiBO(task or problem(STEPS), generator(0), **{"proxy": Linear} | SETTINGS | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def tilted_log_z(step, kl_weight):
    """The nats of the steps that tilt: the constant that is left where log-ratios telescope."""
    shifts = tilting_shifts(step, kl_weight)
    return float((shifts**2 / (2 * step.std**2)).sum() * B.square().sum())


@pytest.mark.parametrize("kl_weight", [1.0, 0.5])
def test_the_policy_is_the_tilted_prior_and_log_z_its_constant(kl_weight):
    optimizer = dibo(kl_weight=kl_weight)
    z = tuned(optimizer)
    mean, variance = moments(optimizer.transition, tilting_shifts(optimizer.transition, kl_weight))
    check(z, mean * B, variance)
    assert optimizer.diagnostics()["log_z"] == pytest.approx(tilted_log_z(optimizer.transition, kl_weight), rel=0.05)


def test_trajectories_of_any_law_balance_at_the_tilted_prior():
    """The residual log Z + log ρ - r/α is the same for trajectories of the prior that are drawn by their rewards."""
    optimizer = dibo(kl_weight=0.5)
    step = optimizer.transition
    paths = optimizer.experience(optimizer.rollout(64))
    means = paths.reference + tilting_shifts(step, 0.5)[:, None] * B
    ratio = optimizer._log_ratio(paths.states, means, paths.reference).sum(1)
    left = paths.reward / 0.5 - ratio
    start = (paths.states[:, 0] @ B) * (moments(step, torch.zeros(step.steps))[1] - 1) / 0.5
    assert float(left.std()) < 0.2 * float(ratio.std()), "x_T tells little of x_0, and is not steered"
    assert float(left.mean()) == pytest.approx(tilted_log_z(step, 0.5), abs=0.1 + float(start.std()))


def test_log_z_starts_at_a_batch_and_descends_the_loss():
    optimizer = dibo(log_z_rate=0.25)
    paths = optimizer.experience(optimizer.rollout(10))
    optimizer.loss(paths)
    assert float(optimizer._log_z) == pytest.approx(float(paths.reward.mean()))
    optimizer.loss(paths._replace(reward=paths.reward + 4))
    assert float(optimizer._log_z) == pytest.approx(float(paths.reward.mean()) + 1), "a quarter of the way"


def test_half_of_every_minibatch_is_fresh_and_alone_counts_for_the_budget():
    optimizer = dibo(kl_weight=None, kl_budget=2.0, samples=6, minibatches=3)
    minibatches = optimizer.shuffled(12, torch.device("cpu"))
    assert [sorted((rows < 6).tolist()) for rows in minibatches] == [[False, False, True, True]] * 3
    assert all((rows[:2] < 6).all() for rows in minibatches)
    assert sorted(torch.cat(minibatches).tolist()) == list(range(12))
    optimizer.spend(torch.tensor([1.0, 1.0, 9.0, 9.0]))
    assert float(optimizer.dual._kl) == 1.0


def test_good_trajectories_are_replayed_more():
    optimizer = dibo(iterations=1, samples=2000, minibatches=1)
    seen = []
    optimizer.loss = lambda paths: (
        seen.append(paths.reward) or optimizer.policy(torch.zeros(1, 2), torch.tensor(0)).sum()
    )
    optimizer.learn()
    fresh, replayed = seen[0].chunk(2)
    gain = float(replayed.mean() - fresh.mean())
    assert gain == pytest.approx(float(fresh.var()), rel=0.2), "of a normal law tilted by exp(r)"


def test_the_search_climbs_the_posterior():
    """r + α log p has its mode at b/α, but for the smoothing of p: where b = α ā z."""
    optimizer = dibo(search_steps=1000, search_rate=0.02, kl_weight=0.5)
    z = torch.randn(7, 2, generator=generator(1))
    slope = optimizer.log_prior_slope(z)
    shrunk = float((slope / -z).mean())
    torch.testing.assert_close(slope, -shrunk * z)
    assert 0.9 < shrunk < 1
    torch.testing.assert_close(optimizer.climbed(z), (B / 0.5 / shrunk).expand(7, 2), atol=0.02, rtol=0)


def test_no_step_of_the_search_leaves_samples_as_they_are():
    z = torch.randn(7, 2, generator=generator(1))
    assert torch.equal(dibo().climbed(z), z)


def test_what_is_asked_for_is_the_best_of_the_candidates():
    """By r + α log p, whose mode is at b/(α ν) where log p falls by ν/2 at distance 1."""
    few, many = (dibo(candidates=candidates) for candidates in (1, 50))
    axes = torch.cat([torch.zeros(1, 2), torch.eye(2), -torch.eye(2)])
    fall = -2 * (few.value(axes) - axes @ B - few.value(axes[:1]))[1:]
    assert float(fall.std()) < 1e-4 * float(fall.mean()), "noise leaves no direction"
    mode = B / fall.mean()
    off = [float((each.ask(40) - mode).norm(dim=1).mean()) for each in (few, many)]
    assert off[1] < 0.3 * off[0]
    assert many.recommend(300).shape == (300, 2), "more than are handled at once"


def test_known_designs_and_repetitions_come_last():
    x = torch.tensor([[1.0], [2.0], [1.0], [3.0], [2.0]])
    assert novel_first(x, x[:0]).tolist() == [0, 1, 3, 2, 4]
    assert novel_first(x, torch.tensor([[2.0], [5.0]])).tolist() == [0, 3, 1, 2, 4]


def test_log_z_is_part_of_the_state():
    first, second = dibo(iterations=2, samples=8), dibo(iterations=2, samples=8)
    first.proxy.load_state_dict = second.proxy.load_state_dict = lambda state, device: None
    first.learn()
    second.load_state_dict(first.state_dict())
    for each in (first, second):
        each.rng.manual_seed(1)
        each.learn()
    assert first.diagnostics() == second.diagnostics()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"proxy": None}, "got proxy=null"),
        ({"kl_weight": 0.0}, "expected kl_weight > 0, got 0"),
        ({"candidates": 0}, "got candidates=0"),
        ({"search_steps": -1}, "search_steps >= 0.*got search_steps=-1"),
        ({"search_rate": 0.0}, "search_rate > 0.*search_rate=0.0"),
        ({"log_z_rate": 0.0}, "0 < log_z_rate <= 1, got log_z_rate=0.0"),
        ({"samples": 0}, "got samples=0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        dibo(**setting)


def test_prompts_are_refused():
    with pytest.raises(UnsuitableError, match="one normalizing constant"):
        dibo(prompted())
