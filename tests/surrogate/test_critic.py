"""Implicit Q-learning against dynamic programming of expectiles, on the random policy's data."""

from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate
from scipy.stats import spearmanr

from bbo_bench.core import Offline, Problem
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.surrogate.critic import IQL
from bbo_bench.tasks.nav1d.data import observed
from bbo_bench.tasks.nav1d.environment import HORIZON
from bbo_bench.tasks.nav1d.planning import expectile_values
from bbo_bench.testing.probe import Probe, SequenceProbe, problem_of

EXPECTILE = 0.7


@pytest.fixture(scope="module")
def learnt():
    """The task with a critic of its data."""
    task = instantiate(find("task", "nav1d_full").settings)
    problem = task.problem((64,), torch.device("cpu"))
    critic = IQL(expectile=EXPECTILE)
    critic.bind(problem)
    x = task.reference()
    critic.fit(problem.prior.encode(x), task.evaluate(x).float(), generator(0))
    return task, problem, critic


@pytest.mark.slow
def test_values_are_those_of_dynamic_programming(learnt):
    _, _, critic = learnt
    s, expected = expectile_values(EXPECTILE)
    observation = observed(s.float()[:, None].expand(-1, HORIZON)).flatten(0, 1)
    with torch.no_grad():
        got = critic.value(observation).reshape(expected.shape).double()
    error = (got - expected).square().mean(0).sqrt()
    assert float(error[0]) < 0.25 * float(expected[:, 0].std()), "at the start, where errors of all steps add up"
    assert float(error.mean()) < 0.3 * float(expected.std(0).mean())
    mean = expectile_values(0.5)[1]
    assert float((got - mean).mean()) > 0.5 * float((expected - mean).mean()) > 0, "above the mean action's"


@pytest.mark.slow
def test_plans_are_ordered_as_by_their_returns(learnt):
    task, problem, critic = learnt
    x = task.reference()
    with torch.no_grad():
        value = critic.predict(problem.prior.encode(x))
    assert spearmanr(value, task.evaluate(x)).statistic > 0.93
    assert 0 < critic.error < 0.3


def test_a_bandit_is_learnt():
    """Episodes of one step: Q(s, a) is the reward, and a plan is worth it."""
    task = Probe()
    problem = problem_of(task, (8,))
    critic = IQL(updates=1500, batch_size=64, width=64)
    critic.bind(problem)
    x = task.reference()
    z = problem.prior.encode(x)
    critic.fit(z, task.evaluate(x), generator(0))
    value = critic.predict(z).detach()
    assert float((value - task.evaluate(x)).square().mean().sqrt()) < 0.3 * float(task.evaluate(x).std())
    slope = torch.autograd.grad(critic(z.requires_grad_()).sum(), z)[0]
    assert slope.isfinite().all() and slope.abs().max() > 0


def test_online_plans_change_the_critic():
    task = Probe()
    problem, x = problem_of(task, (8,)), 3 + torch.rand(64, 2, generator=generator(1))
    errors = {}
    for online in (0, 500):
        critic = IQL(updates=300, online=online, batch_size=64, width=64)
        critic.bind(problem)
        z, y = problem.prior.encode(x), task.evaluate(x)
        critic.fit(z, y, generator(0))
        errors[online] = float((critic.predict(z).detach() - y).abs().mean())
    assert errors[500] < 0.5 * errors[0]


def test_a_state_is_the_whole_critic():
    problem = problem_of(Probe(), (8,))
    critics = [IQL(updates=5, batch_size=8, width=8) for _ in range(2)]
    z = torch.randn(8, 2, generator=generator(0))
    for critic in critics:
        critic.bind(problem)
    critics[0].fit(z, z.sum(1), generator(0))
    critics[1].load_state_dict(critics[0].state_dict(), torch.device("cpu"))
    assert torch.equal(critics[0].predict(z), critics[1].predict(z))
    for critic in critics:
        critic.fit(z, z.sum(1), generator(1))
    assert torch.equal(critics[0].predict(z), critics[1].predict(z))


def test_scores_that_are_no_returns_are_refused_online():
    task = instantiate(find("task", "nav1d_policy").settings)
    problem = Problem(task.domain, None, (8,), task.offline())
    with pytest.raises(ValueError, match="no returns: set online=0"):
        IQL(online=1).bind(problem)


def test_scores_far_from_the_data_are_refused_online():
    critic = IQL(updates=1, online=1, batch_size=8, width=8)
    critic.bind(problem_of(Probe(), (8,)))
    with pytest.raises(ValueError, match=r"scores up to 1e\+38: set online=0"):
        critic.fit(torch.zeros(2, 2), torch.tensor([0.0, 1e38], dtype=torch.float64), generator(0))


def test_a_task_without_transitions_is_refused():
    with pytest.raises(ValueError, match="this task has none: choose a task such as nav1d"):
        IQL().bind(problem_of(SequenceProbe(), (8,)))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"updates": 0}, "got updates=0"),
        ({"online": -1}, "online=-1"),
        ({"expectile": 1.0}, "0 < expectile < 1.*expectile=1.0"),
        ({"target_rate": 0.0}, "target_rate=0.0"),
        ({"discount": 1.5}, "discount=1.5"),
        ({"discount": 0.0}, "discount=0.0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        IQL(**setting)


@pytest.mark.parametrize("discount", [1.0, 0.5])
def test_what_comes_later_is_worth_less(discount):
    """Two steps, of which the second alone is rewarded: V of the first observation is γ."""
    probe = problem_of(Probe(), (8,))
    first, second = torch.zeros(32, 1), torch.ones(32, 1)
    data = Offline(
        observation=torch.cat([first, second]),
        action=torch.randn(64, 1, generator=generator(0)),
        reward=torch.cat([first, second]).squeeze(1),
        following=torch.cat([second, second]),
        done=torch.arange(64) >= 32,
        steps=probe.offline.steps,
        given=probe.offline.given,
    )
    critic = IQL(updates=800, batch_size=64, width=32, discount=discount)
    critic.bind(Problem(probe.domain, probe.prior, (8,), data))
    critic.fit(torch.zeros(4, 2), torch.zeros(4), generator(1))
    values = critic.value(torch.tensor([[0.0], [1.0]])).detach()
    torch.testing.assert_close(values, torch.tensor([discount, 1.0]), atol=0.05, rtol=0)


def test_an_episode_without_an_end_is_worth_what_the_discount_of_the_data_makes_of_it():
    """A reward of 3 at every step: V = 3 / (1 - γ) everywhere, and no action is better than another."""
    probe = problem_of(Probe(), (8,))
    seen = torch.randn(256, 1, generator=generator(0))
    data = Offline(
        observation=seen,
        action=torch.randn(256, 1, generator=generator(1)),
        reward=torch.full((256,), 3.0),
        following=seen.roll(1, 0),
        done=torch.zeros(256, dtype=torch.bool),
        steps=probe.offline.steps,
        given=probe.offline.given,
        discount=0.9,
    )
    critic = IQL(updates=800, batch_size=64, width=32)
    critic.bind(Problem(probe.domain, probe.prior, (8,), data))
    critic.fit(torch.zeros(4, 2), torch.zeros(4), generator(2))
    torch.testing.assert_close(critic.value(seen).detach(), torch.full((256,), 30.0), atol=1.5, rtol=0)
    with pytest.raises(ValueError, match=r"0 < discount <= 1, got 1\.2"):
        replace(data, discount=1.2)
