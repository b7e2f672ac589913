"""GRPO: its optimum is the tilted prior, of a diffusion and of a rectified flow, and its gradient is REINFORCE's.

The baseline of a trajectory is the mean of the others that start from the same noise, which is independent of what it
drew itself: the gradient is that of E[r(x_0) - α Σ_t KL_t] given the initial noise. The steps that maximize this for
one noise do so for all, so the optimum is DDPO's (`test_closed_form`): each step is shifted by σ_t² times the slope of
E[x_0 | x_{t-1}] b/α. Steps that are left out at random only scale the gradient.
"""

import pytest
import torch

from bbo_bench.optimizers.grpo import GRPO
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, moments, problem, settled, tilting_shifts

B = Linear().b


def grpo(steps=20, flow=False, **changes):
    settings = {
        "proxy": Linear,
        "kl_weight": 1.0,
        "iterations": 50,
        "samples": 1024,
        "epochs": 1,
        "minibatches": 4,
        "group": 16,
        "group_std": False,
        "fraction": 0.6,
        "clip": 0.2,
        "max_advantage": 5.0,
        "training": TRAINING,
    }
    return GRPO(problem(steps, flow=flow), generator(0), **settings | changes)


@pytest.mark.parametrize("flow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_grpo_with_kl_meets_the_tilted_distribution(flow):
    optimizer = grpo(flow=flow)
    mean, variance = moments(optimizer.transition, tilting_shifts(optimizer.transition))
    check(settled(optimizer), mean * B, variance)


def test_trajectories_of_a_group_share_their_noise_in_both_arms():
    optimizer, oracle = grpo(group=4), grpo(group=4, proxy=None)
    oracle.ask(10)
    for states in (optimizer.fresh(10).states, oracle._asked.states):
        assert states[0, 0].equal(states[2, 0]) and not states[0, 0].equal(states[1, 0])
        assert not states[0, 1].equal(states[2, 1])
        assert len(states[:, 0].unique(dim=0)) == 2


@pytest.mark.parametrize("group_std", [False, True])
def test_the_surrogates_gradient_at_ratio_1_is_reinforce(group_std):
    """Σ over steps of -A ∇ log p, with A from the rewards by hand."""
    optimizer = grpo(5, group=4, kl_weight=0.0, samples=8, fraction=1.0, group_std=group_std)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    rollout = optimizer.rollout(8)
    states, _ = rollout.trajectories
    reward = rollout.reward.reshape(4, 2)  # trajectories i and i + 2 share their noise
    above = (reward - reward.mean(0)) * 4 / 3
    advantage = (above / reward.std(0) if group_std else above / rollout.reward.repeat(5, 1).std()).flatten()
    step, weights = optimizer.transition, list(optimizer.policy.trainable().values())
    log_prob = sum(
        step.log_prob(k, step.mean_by(optimizer.policy, k, states[:, k]), states[:, k + 1]) for k in range(5)
    )
    expected = torch.autograd.grad(-(advantage * log_prob).mean() / 5, weights)
    gradient = torch.autograd.grad(optimizer.loss(optimizer.experience(rollout)), weights)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-3)


def test_a_share_of_every_trajectorys_steps_is_learnt_from():
    optimizer = grpo(10, group=4, fraction=0.3)
    optimizer.y = torch.tensor([-1.0, 1.0])
    rollout = optimizer.rollout(8)
    steps = optimizer.experience(rollout)
    assert len(steps.k) == 8 * 3 and len(steps.k.unique()) > 3
    x = rollout.trajectories.states[torch.arange(8).repeat_interleave(3), steps.k]
    assert steps.x.equal(x)
    assert all(len(k.unique()) == 3 for k in steps.k.reshape(8, 3))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"group": 1}, "expected 2 <= group <= samples, got group=1"),
        ({"group": 2048}, "got group=2048, samples=1024"),
        ({"fraction": 0.0}, "expected 0 < fraction <= 1.*got fraction=0.0"),
        ({"clip": 0.0}, "clip > 0.*got .*clip=0.0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        grpo(**setting)
