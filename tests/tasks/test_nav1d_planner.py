"""Plans from a given start: what is given stays, what is planned happens, and alignment without queries helps."""

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.surrogate.critic import IQL
from bbo_bench.tasks.nav1d.environment import HORIZON, SIZE
from bbo_bench.tasks.nav1d.planner import LENGTH, Nav1DPlanner, given, rewarded, started, steps, windows
from bbo_bench.tasks.nav1d.planning import value

FREE = {"partial": 0.98, "full": 0.91, "expert": 0.97}
"""Coherency of plans that choose their start; see the README."""


def planner(data: str = "partial") -> Nav1DPlanner:
    task = instantiate(find("task", f"nav1d_planner_{data}").settings)
    assert isinstance(task, Nav1DPlanner)
    return task


@pytest.mark.parametrize("data", FREE)
def test_plans_keep_their_start_and_follow_from_it(data):
    task = planner(data)
    prior = task.prior()
    start = task.control().environment.reset(512, generator(0))
    with prior.drawing(started(start)):
        x = prior.decode(prior.sample(512, generator(1)))
    held = x[:, given()]
    assert torch.allclose(held[held[:, 0].argsort()], started(start.sort(0).values)[:, given()], atol=1e-4)
    assert float(task.errors(x)[:, 0].mean()) < 0.05
    assert float(task.coherency(x).mean()) > FREE[data] - 0.01


def test_the_score_is_what_is_lost_to_the_best_policy():
    task = planner()
    best = task.best_design()
    assert float(task.evaluate(best[None])) == pytest.approx(0, abs=1e-4)
    still = started(torch.tensor([[0.0, 0.0], [3.0, 20.0]]))
    still[:, :, 0] = still[:, :1, 0]
    y = task.evaluate(still)
    assert (y < 0).all() and y.shape == (2,)
    after = value(torch.tensor([LENGTH]), torch.tensor([0.0]))
    gained = task.played.environment
    state, total = torch.zeros(1, 2, dtype=torch.double), 0.0
    for _ in range(LENGTH):
        state, reward, _ = gained.step(state, torch.zeros(1, 1))
        total += float(reward)
    best_value = value(torch.tensor([0]), torch.tensor([0.0]))
    assert float(y[0]) == pytest.approx(float(total + after - best_value), abs=1e-6)


def test_plans_of_the_data_are_coherent_to_the_end_and_beyond():
    task = planner("expert")
    x = task.training_data()
    assert x.shape == (32768, LENGTH, 3)
    assert float(task.coherency(x).min()) > 1 - 1e-6
    assert (x[..., 1] - x[:, :1, 1] == torch.arange(LENGTH)).all()
    late = x[x[:, 0, 1] == HORIZON - 1]
    assert (late[:, 1:, 2] == 0).all() and (late[:, :, 0] == late[:, :1, 0]).all()
    short = windows(torch.randn(3, HORIZON, 2, generator=generator(0)), 2, generator(1))
    assert short.shape == (6, LENGTH, 3)


def test_critics_see_the_time_and_nothing_after_the_end():
    x = started(torch.tensor([[0.5, HORIZON - 2.0]]))
    observation, action = steps(x)
    assert observation.shape == (1, LENGTH, 1 + HORIZON) and action.shape == (1, LENGTH, 1)
    assert observation[0, 0, 0] == 0.5
    assert observation[0, :, 1:].sum(1).tolist() == [1, 1, *[0] * (LENGTH - 2)]
    assert observation[0, 1, -1] == 1
    data = planner().offline()
    beyond = data.observation[:, 1:].sum(1) == 0
    assert int(beyond.sum()) == 8192
    assert (data.reward[beyond] == 0).all() and data.done[beyond].all()


def test_what_is_not_a_data_set_is_refused():
    with pytest.raises(InstantiationException, match="data must be one of partial, full, expert, got 'half'"):
        instantiate(find("task", "nav1d_planner").settings | {"data": "half"})


def test_starts_come_in_groups_to_be_compared_and_by_turns_where_they_are_ones_own():
    prior = planner().prior()
    assert len(prior.codec.prompt(prior.noise(24, generator(0))).unique()) == 24
    with prior.codec.comparing():
        z = prior.noise(24, generator(0))
    assert torch.bincount(prior.codec.prompt(z)).tolist() == [8, 8, 8]
    assert prior.codec.turns == 1
    own = started(torch.tensor([[-SIZE, 0.0], [2.0, 3.0], [4.0, 7.0]]))
    with prior.drawing(own):
        x = prior.decode(prior.noise(7, generator(0)))
        assert prior.codec.turns == 3
    assert sorted(torch.bincount(torch.cdist(x[:, given()], own[:, given()]).argmin(1)).tolist()) == [2, 2, 3]
    assert prior.codec.turns == 1


def test_executing_plans_shows_what_happens_not_what_was_planned():
    task = planner()
    x = task.reference()[:50]
    lies = x.clone()
    lies[:, 1:, 0] += 1.0
    seen = task.executed(lies)
    inside = (x[..., 1] < HORIZON).flatten()
    position, time, action = x.flatten(0, 1)[inside].unbind(1)
    assert torch.allclose(seen.observation[:, 0], position, atol=1e-5)
    assert (seen.observation[:, 1:].argmax(1) == time).all() and torch.equal(seen.action[:, 0], action)
    assert torch.equal(seen.done, time == HORIZON - 1)
    assert torch.allclose(seen.reward.double(), rewarded(time, position.double()), atol=1e-5)
    going = ~seen.done[:-1]
    same_plan = (torch.arange(len(x)).repeat_interleave(LENGTH)[inside].diff() == 0) & going
    assert torch.allclose(seen.following[:-1][same_plan], seen.observation[1:][same_plan])
    assert (seen.following[seen.done][:, 1:] == 0).all()


@pytest.mark.slow
def test_a_critic_learns_from_what_executed_plans_have_shown():
    task = planner()
    problem = task.problem((64,), torch.device("cpu"))
    position = torch.linspace(-1, 1, 64)
    x = started(torch.stack([position, torch.zeros(64)], 1))
    x[:, :, 0], x[..., 2] = position[:, None], 1.0  # straight to the right, which a random policy never does
    errors = {}
    for online in (0, 800):
        critic = IQL(updates=800, online=online, batch_size=256)
        critic.bind(problem)
        critic.extend(task.executed(x))
        critic.fit(problem.prior.encode(x), task.evaluate(x), generator(0))
        seen = task.executed(x)
        with torch.no_grad():
            goal = seen.reward + critic.value(seen.following) * ~seen.done
            errors[online] = float((critic.action_value(seen.observation, seen.action) - goal).abs().mean())
        assert ("seen" in critic.state_dict()) == bool(online)
    assert errors[800] < 0.7 * errors[0]
    other = IQL(updates=800, online=800)
    other.bind(problem)
    other.load_state_dict(critic.state_dict(), torch.device("cpu"))
    assert torch.equal(other._seen.reward, critic._seen.reward)
