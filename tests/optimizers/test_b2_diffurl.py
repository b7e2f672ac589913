"""B²-DiffuRL: branches, stages, contrasts, and its optimum.

For a linear reward a branch's reward is a sum Σ_t w_t ε_t of the Gaussian noise that it drew, up to a constant of its
group. So a branch that was chosen by its deviation d from its group has E[d ε_t] = w_t E[d²] / Σ_s w_s²: the choice
multiplies the gradient by its E[d²] over that of all branches, which the scale in `contrasting` takes back. What is
left is the gradient of E[r(x_0) - α Σ_t KL_t] by the last s steps, given x_s. At last s is T: the optimum is the tilted
prior, as in `test_closed_form`.
"""

import pytest
import torch

from bbo_bench.optimizers.b2_diffurl import B2DiffuRL
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, moments, problem, settled, tilting_shifts

B = Linear().b


def b2(steps=10, rounds=1, **changes):
    settings = {
        "proxy": Linear,
        "kl_weight": 1.0,
        "iterations": 75,
        "samples": 3000,
        "epochs": 1,
        "minibatches": 2,
        "branches": 5,
        "first_stage": 0.7,
        "threshold": 0.5,
        "clip": 0.2,
        "max_advantage": 5.0,
        "training": TRAINING,
    }
    setting = problem(steps)
    object.__setattr__(setting, "budget", (2,) * rounds)
    return B2DiffuRL(setting, generator(0), **settings | changes)


def scored(optimizer, n):
    optimizer.y = torch.tensor([-1.0, 1.0])
    return optimizer.rollout(n)


@pytest.mark.slow
def test_b2_diffurl_with_kl_meets_the_tilted_distribution():
    optimizer = b2()
    mean, variance = moments(optimizer.transition, tilting_shifts(optimizer.transition))
    check(settled(optimizer), mean * B, variance)


def test_branches_fork_from_a_common_state_of_the_trained_steps():
    optimizer = b2(first_stage=0.5)
    rollout = scored(optimizer, 10)
    states = rollout.trajectories.states
    assert states.shape == (10, 6, 2)
    assert states[0, 0].equal(states[2, 0]) and not states[0, 0].equal(states[1, 0])
    assert not states[0, 1].equal(states[2, 1])
    assert optimizer.experience(rollout).k.unique().tolist() == [5, 6, 7, 8, 9]
    assert float(states[:, 0].std()) > 0.3


@pytest.mark.parametrize(("proxy", "rounds", "stages"), [(Linear, 2, 6), (None, 4, 3)])
def test_stages_go_backward_from_the_last_steps_to_all(proxy, rounds, stages):
    optimizer = b2(10, rounds, proxy=proxy, iterations=3, first_stage=0.5)
    assert optimizer.stages == stages
    lengths = []
    for stage in range(stages + 1):
        optimizer.stage = stage
        lengths.append(optimizer.trained())
    assert lengths[0] == 5 and lengths[stages - 1 :] == [10, 10]
    assert lengths == sorted(lengths)


def test_best_and_worst_are_learnt_from_if_they_stand_out():
    optimizer = b2(4, branches=3)
    rollout = scored(optimizer, 6)
    chosen = optimizer.contrasting(rollout._replace(reward=torch.tensor([1.0, 5.0, 2.0, 5.1, 9.0, 5.2])))
    above = torch.tensor([-4.5, -0.15, -3.0, 0.0, 7.5, 0.15])  # the mean of the others of 1, 2, 9 and of 5, 5.1, 5.2
    scale = above.square().mean() / ((4.5**2 + 7.5**2) / 2)
    torch.testing.assert_close(chosen.reward, torch.tensor([-4.5, 7.5]) * scale)
    assert chosen.trajectories.x0.equal(rollout.trajectories.x0[[0, 4]])


def test_equal_rewards_teach_nothing():
    optimizer = b2(4)
    rollout = scored(optimizer, 10)._replace(reward=torch.ones(10))
    optimizer.rollouts = lambda iterations, samples: [rollout]
    assert list(optimizer.losses()) == [] and optimizer.stage == 1


def test_the_stage_is_part_of_the_state():
    optimizer, other = (b2(4, 2, proxy=None, samples=10) for _ in range(2))
    optimizer.ask(10)
    optimizer.y = torch.randn(10, generator=generator(1))
    optimizer.learn()
    other.load_state_dict(optimizer.state_dict())
    assert other.stage == optimizer.stage == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"branches": 1}, "expected 2 <= branches <= samples, got branches=1"),
        ({"branches": 4000}, "got branches=4000, samples=3000"),
        ({"first_stage": 0.0}, "expected 0 < first_stage <= 1.*got first_stage=0.0"),
        ({"threshold": -1.0}, "threshold >= 0.*got .*threshold=-1.0"),
        ({"clip": 0.0}, "clip > 0.*got .*clip=0.0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        b2(**setting)
