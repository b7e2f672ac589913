"""Chunks of actions: what they lose to the best policy, how likely they are, and episodes that they control."""

import math

import pytest
import torch
from hydra.utils import instantiate

from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.surrogate.critic import IQL
from bbo_bench.tasks.nav1d.data import BEHAVIOURS, NOISE
from bbo_bench.tasks.nav1d.environment import ETA, HORIZON, MEANS, SIZE, STDS, returns
from bbo_bench.tasks.nav1d.planning import act, optimal, value
from bbo_bench.tasks.nav1d.policy import CHUNK, LATEST, Nav1DPolicy, controlled, unrolled


@pytest.fixture(scope="module")
def task() -> Nav1DPolicy:
    task = instantiate(find("task", "nav1d_policy").settings)
    assert isinstance(task, Nav1DPolicy)
    return task


def optimally(time, position):
    """A chunk by the best policy from a point of the grid, and the return to the end, step by step."""
    actions, total = [], 0.0
    for t in range(time, HORIZON):
        actions.append(float(act(torch.tensor([t]), torch.tensor([position]).double())[0]))
        total += math.exp(-((position - float(MEANS[t])) ** 2) / (2 * float(STDS[t]) ** 2))
        position = min(max(position + ETA * actions[-1], -SIZE), SIZE)
    return actions[:CHUNK], total


@pytest.mark.parametrize(("time", "position"), [(0, 0.0), (10, -2.5), (LATEST, 3.75)])
def test_the_best_policys_chunk_loses_nothing_and_another_what_it_costs(task, time, position):
    actions, best = optimally(time, position)
    assert float(value(torch.tensor([time]), torch.tensor([position]))[0]) == pytest.approx(best)
    still = torch.tensor([[position, time, *[0.0] * CHUNK]])
    design = torch.tensor([[position, time, *actions]])
    assert float(task.evaluate(design)) == pytest.approx(0.0, abs=1e-5)
    stays = sum(
        math.exp(-((position - float(MEANS[t])) ** 2) / (2 * float(STDS[t]) ** 2)) for t in range(time, time + CHUNK)
    )
    rest = optimally(time + CHUNK, position)[1] if time + CHUNK < HORIZON else 0.0
    assert float(task.evaluate(still)) == pytest.approx(min(stays + rest - best, 0.0), abs=1e-5)


def test_values_between_the_points_of_the_grid_lie_between():
    values, _ = optimal()
    got = value(torch.tensor([3, HORIZON]), torch.tensor([0.0025, 1.0]))
    middle = (values.shape[1] - 1) // 2
    assert float(got[0]) == pytest.approx(float(values[3, middle : middle + 2].mean()), abs=1e-6)
    assert float(got[1]) == 0, "nothing is left"
    assert float(value(torch.tensor([0]), torch.tensor([SIZE]))[0]) == pytest.approx(float(values[0, -1]))


def test_coherency_is_the_mean_log_density_of_the_behaviour(task):
    actions, _ = optimally(5, 1.0)
    design = torch.tensor([[1.0, 5.0, *actions]]).double()
    times, positions, _ = unrolled(design)
    mean = act(times[0, :-1], positions[0, :-1])
    share = 0.5 * (((1 - mean) / NOISE / 2**0.5).erf() - ((-1 - mean) / NOISE / 2**0.5).erf())
    expected = (-math.log(NOISE * math.sqrt(2 * math.pi)) - share.log()).mean()
    assert float(task.coherency(design)) == pytest.approx(float(expected), abs=1e-3)
    wrong = design.clone()
    wrong[0, 2:] = -wrong[0, 2:].sign()
    assert float(task.coherency(wrong)) < float(task.coherency(design)) - 5
    assert not task.valid(wrong).any() and task.valid(design).all()


def test_data_are_the_behaviours_own(task):
    assert task.training_data().shape == (65536, 10) and task.reference().shape == (512, 10)
    assert float(task.valid(task.training_data()).float().mean()) == pytest.approx(0.99, abs=1e-3)
    time = task.training_data()[:, 1]
    assert torch.equal(time.unique(), torch.arange(LATEST + 1.0))
    y = task.evaluate(task.training_data()[:2000])
    assert float(y.max()) <= 0 and -0.5 < float(y.mean()) < 0


def test_a_prior_controls_episodes_like_its_data(task):
    prior, start = task.prior(), torch.linspace(-4, 4, 200)
    got = controlled(prior, start, generator(0))
    behaviour = BEHAVIOURS["expert"]
    position, actions = start, []
    for t in range(HORIZON):
        actions.append(behaviour.draw(torch.full((200,), t), position, generator(t)))
        position = (position + ETA * actions[-1]).clamp(-SIZE, SIZE)
    expert, best = returns(start, torch.stack(actions, 1)), value(torch.zeros(200).long(), start)
    assert (got <= best + 1e-2).all()
    assert float(got.mean()) > float(expert.mean()) - 0.1 * float(expert.mean())
    again = controlled(prior, start, generator(0), denoiser=prior.denoiser)
    assert torch.equal(again, got)


def test_a_critic_values_the_first_action(task):
    problem = task.problem((64,), torch.device("cpu"))
    critic = IQL(updates=50, batch_size=64, width=16)
    critic.bind(problem)
    x = task.reference()
    critic.fit(problem.prior.encode(x), task.evaluate(x).float(), generator(0))
    other = x.clone()
    other[:, 3:] = 0
    before, after = (critic.predict(problem.prior.encode(each)).detach() for each in (x, other))
    torch.testing.assert_close(before, after)
    other[:, 2] = -other[:, 2]
    assert not torch.allclose(before, critic.predict(problem.prior.encode(other)).detach())


@pytest.mark.parametrize("wrong", [(0, 5.1), (1, LATEST + 1.0), (2, 1.5), (2, math.nan)])
def test_what_lies_outside_is_refused(task, wrong):
    x = task.reference()[:2].clone()
    x[1, wrong[0]] = wrong[1]
    with pytest.raises(ValueError, match="designs must"):
        task.evaluate(x)


def test_unknown_data_are_refused():
    with pytest.raises(Exception, match="data must be one of partial, full, expert, got 'best'"):
        instantiate(find("task", "nav1d_policy").settings, data="best")
