"""Score as action: with an exact value function, an advantage is what the step's own noise is worth, and no more.

So the gradient is that of E[r(x_0) - α Σ_t KL_t] without the noise of later steps. Its optimum is the tilted prior, as
in `test_closed_form`: paths of this objective have the law p(x_T, ..., x_0) exp(r(x_0)/α), up to a constant. For a
linear reward their steps are the prior's, shifted by σ_t² times the slope of E[x_0 | x_{t-1}] b/α.
"""

import pytest
import torch

from bbo_bench.optimizers.score_as_action import ScoreAsAction
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import (
    TRAINING,
    Linear,
    Quadratic,
    check,
    later_slopes,
    moments,
    problem,
    settled,
    slopes,
    tilting_shifts,
)

B = Linear().b


def tuner(steps=10, **changes):
    settings = {
        "proxy": Linear,
        "kl_weight": 1.0,
        "iterations": 70,
        "samples": 1024,
        "epochs": 1,
        "minibatches": 8,
        "clip": 0.2,
        "value_updates": 10,
        "value_learning_rate": 5e-4,
        "max_advantage": 10.0,
        "training": TRAINING,
    }
    optimizer = ScoreAsAction(problem(steps), generator(0), **settings | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


class Exact:
    """The value function of the prior for the reward b·x: E[b·x_0 | x_t]."""

    def __init__(self, transition):
        slope = slopes(transition) * later_slopes(transition)
        self.slope = dict(zip(transition.timesteps.tolist(), slope, strict=True))

    def fit(self, *data, scale):
        pass

    def __call__(self, x, timestep):
        return torch.stack([self.slope[t] for t in timestep.tolist()]) * (x @ B)


@pytest.mark.slow
def test_score_as_action_with_kl_meets_the_tilted_distribution():
    optimizer = tuner()
    mean, variance = moments(optimizer.transition, tilting_shifts(optimizer.transition))
    check(settled(optimizer), mean * B, variance)


def test_by_an_exact_value_an_advantage_is_what_the_steps_noise_is_worth():
    optimizer = tuner()
    step = optimizer.transition
    optimizer.value, optimizer.c_skip, optimizer.c_out = Exact(step), torch.zeros(10), torch.ones(10)
    rollout = optimizer.rollout(256)
    states, means = rollout.trajectories
    worth = (states[:, 1:] - means) @ B * later_slopes(step)
    expected = (worth - worth.mean(0)) / worth.std()
    torch.testing.assert_close(optimizer.advantages(rollout, torch.zeros(256, 10)), expected, atol=1e-4, rtol=1e-4)


def test_the_value_function_learns_what_the_reward_of_the_posterior_mean_leaves_out():
    """The spread of x_0 given x_t lowers the expectation of a quadratic reward; of all x_t it is the mean reward."""
    optimizer = tuner(proxy=Quadratic, value_updates=400, value_learning_rate=3e-3)
    rollout = optimizer.rollout(1024)
    optimizer.advantages(rollout, torch.zeros(1024, 10))
    guess = optimizer.guess(rollout).mean(0)
    x, k = rollout.trajectories.states[:, :-1].flatten(0, 1), torch.arange(10).repeat(1024)
    learnt = optimizer.value(x, optimizer.transition.timesteps[k]).reshape(1024, 10).mean(0).detach()
    value = optimizer.c_skip * guess + optimizer.c_out * learnt
    assert float((guess - rollout.reward.mean())[:5].min()) > 0.3
    torch.testing.assert_close(value, rollout.reward.mean().expand(10), atol=0.2, rtol=0)


def test_posterior_means_cost_no_pass_of_the_network():
    optimizer = tuner()
    rollout = optimizer.rollout(4)
    x, k = rollout.trajectories.states[:, 3], torch.full((4,), 3)
    expected = optimizer.transition.denoise(k, x, optimizer.policy(x, optimizer.transition.timesteps[k]))
    torch.testing.assert_close(optimizer.estimates(rollout.trajectories)[:, 3], expected.detach())
    torch.testing.assert_close(optimizer.guess(rollout)[:, 3], expected.detach() @ B)


def test_without_a_proxy_the_network_alone_knows_values():
    optimizer = tuner(proxy=None)
    optimizer.ask(8)
    optimizer.y = torch.randn(8, generator=generator(1))
    [rollout] = optimizer.rollouts(1, 8)
    assert not optimizer.guess(rollout).any() and not optimizer.c_skip.any() and optimizer.c_out.eq(1).all()
    assert optimizer.advantages(rollout, torch.zeros(8, 10)).isfinite().all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"clip": 0.0}, "expected clip > 0, got clip=0.0"),
        ({"value_updates": 0}, "got value_updates|got updates=0"),
        ({"value_learning_rate": 0.0}, "expected learning_rate > 0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        tuner(**setting)
