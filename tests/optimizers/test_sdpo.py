"""SDPO: dense rewards, and its optimum where they are exact.

With three steps every posterior mean is queried. For a linear reward and the exact denoiser, E[b·x̂_0 | x_{t-1}] of all
later means has the slope of E[b·x_0 | x_{t-1}], whatever shifts the policy gives its steps, and so has any average of
them. The best shift of a step, at a KL weight α, is then σ_t² times this slope b/α for every γ: the tilted prior's.
"""

import pytest
import torch

from bbo_bench.optimizers.sdpo import SDPO
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, moments, problem, settled, tilting_shifts

B = Linear().b


def sdpo(steps=3, **changes):
    settings = {
        "proxy": Linear,
        "kl_weight": 1.0,
        "iterations": 70,
        "samples": 2048,
        "epochs": 1,
        "minibatches": 8,
        "gamma": 0.99,
        "ratio_weight": 1.0,
        "clip": 0.2,
        "max_advantage": 10.0,
        "training": TRAINING,
    }
    optimizer = SDPO(problem(steps), generator(0), **settings | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


@pytest.mark.parametrize("gamma", [0.99, 0.5])
@pytest.mark.slow
def test_sdpo_with_kl_meets_the_tilted_distribution(gamma):
    optimizer = sdpo(gamma=gamma)
    mean, variance = moments(optimizer.transition, tilting_shifts(optimizer.transition))
    check(settled(optimizer), mean * B, variance)


def test_pairs_share_their_noise():
    states = sdpo().rollout(8).trajectories.states
    assert states[:4, 0].equal(states[4:, 0]) and not states[:4, 1].equal(states[4:, 1])
    assert len(states[:, 0].unique(dim=0)) == 4


@pytest.mark.parametrize("steps", [3, 8])
def test_rewards_are_those_of_three_posterior_means_and_lie_between_them_elsewhere(steps):
    optimizer = sdpo(steps)
    rollout = optimizer.rollout(64)
    dense, states = optimizer.dense(rollout), rollout.trajectories.states
    means = torch.cat([optimizer.estimates(rollout.trajectories)[:, 1:], states[:, -1:]], 1)
    cosine = torch.nn.functional.cosine_similarity
    resemblance = cosine(means, means[:, :1], dim=2) + cosine(means, means[:, -1:], dim=2)
    for i in range(64):
        anchor = 1 + int(resemblance[i, 1:-1].argmin())
        queried = [0, anchor, steps - 1]
        torch.testing.assert_close(dense[i, queried], means[i, queried] @ B, atol=1e-4, rtol=1e-4)
        for left, right in ((0, anchor), (anchor, steps - 1)):
            low, high = dense[i, [left, right]].sort().values
            assert (dense[i, left : right + 1] >= low - 1e-4).all() and (
                dense[i, left : right + 1] <= high + 1e-4
            ).all()


def test_returns_are_discounted_means():
    optimizer = sdpo(gamma=0.5)
    expected = torch.tensor([[4, 2, 1], [0, 4, 2], [0, 0, 4]]) / torch.tensor([[7.0], [6.0], [4.0]])
    torch.testing.assert_close(optimizer.average, expected)
    advantage = optimizer.advantages(optimizer.rollout(256), torch.zeros(256, 3))
    torch.testing.assert_close(advantage.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(advantage.std(0), torch.ones(3))


def test_the_gradient_at_ratio_1_is_the_policy_gradient_of_pairs():
    """-½ (A - A') ∇(log p - log p'), which is -A ∇ log p in expectation, as both are drawn alike from one x_T."""
    optimizer = sdpo(kl_weight=0.0, ratio_weight=3.0)
    rollout = optimizer.rollout(8)
    steps = optimizer.experience(rollout)
    weights = list(optimizer.policy.trainable().values())
    step, difference = optimizer.transition, steps.advantage[:12] - steps.advantage[12:]
    log_prob = step.log_prob(steps.k, step.mean_by(optimizer.policy, steps.k, steps.x), steps.following)
    expected = torch.autograd.grad(-(difference * (log_prob[:12] - log_prob[12:])).mean() / 2, weights)
    gradient = torch.autograd.grad(optimizer.loss(steps), weights)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-3)


def test_the_loss_is_the_larger_of_two_squared_errors():
    """A pair whose log-ratios went 1 apart where .2 was asked for, and one that stayed where it was."""
    optimizer = sdpo(kl_weight=0.0, clip=0.5)
    steps = optimizer.experience(optimizer.rollout(2))
    steps = steps._replace(advantage=torch.tensor([0.2, 0.0, 1.0, 0.0, 0.0, 0.0]))
    optimizer.log_ratio = lambda steps: (torch.tensor([0.5, 0.0, 0.0, -0.5, 0.0, 0.0]), torch.zeros(6))
    clipped = (torch.tensor(1.5).log() + 0.5 - 0.2) ** 2
    expected = (torch.maximum(torch.tensor(0.8) ** 2, clipped) + 0 + 1) / 3 / 4
    assert float(optimizer.loss(steps)) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"proxy": None}, "three posterior means.*got proxy=null"),
        ({"steps": 2}, "expected steps >= 3"),
        ({"samples": 7}, "even samples.*samples=7"),
        ({"gamma": 0.0}, "0 < gamma <= 1.*got gamma=0.0"),
        ({"ratio_weight": 0.0}, "ratio_weight > 0.*ratio_weight=0.0"),
        ({"clip": 1.0}, "0 < clip < 1.*clip=1.0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        sdpo(**setting)
