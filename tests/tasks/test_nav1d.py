"""The navigation task against hand-computed returns, brute force, and what it says of itself."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from bbo_bench.alignment.inpainting import inpaint
from bbo_bench.plugins import choices, find
from bbo_bench.seeding import generator
from bbo_bench.tasks import nav1d
from bbo_bench.tasks.nav1d import WIDTH, Nav1D
from bbo_bench.tasks.nav1d.data import BEHAVIOURS, steps, trajectories
from bbo_bench.tasks.nav1d.environment import ETA, HORIZON, MEANS, SIZE, STDS, advance, executed, returns, rewards
from bbo_bench.tasks.nav1d.planning import CELLS, act, backwards, best_plan, grid, optimal

FOLDER = Path(nav1d.__file__).parent
NAMES = sorted(name for name, choice in choices("task").items() if choice.file.parent == FOLDER)


@pytest.fixture(scope="module")
def task() -> Nav1D:
    task = instantiate(find("task", "nav1d_partial").settings)
    assert isinstance(task, Nav1D)
    return task


def test_rewards_by_hand() -> None:
    means, stds = MEANS.tolist(), STDS.tolist()
    assert all(-3 <= m <= 3 and 0.3 <= s**2 <= 1 for m, s in zip(means, stds, strict=True))
    standing = sum(math.exp(-((1.0 - m) ** 2) / (2 * s**2)) for m, s in zip(means, stds, strict=True))
    assert returns(torch.tensor([1.0]).double(), torch.zeros(1, HORIZON).double()).item() == pytest.approx(standing)
    moving, s = 0.0, -2.0
    for t in range(HORIZON):
        moving += math.exp(-((s - means[t]) ** 2) / (2 * stds[t] ** 2))
        s = min(s + 0.25 * 0.8, 5.0)
    assert returns(torch.tensor([-2.0]).double(), torch.full((1, HORIZON), 0.8).double()).item() == pytest.approx(
        moving
    )
    assert rewards(MEANS[None]).tolist() == [[1.0] * HORIZON]


def test_walls_stop_and_the_last_action_is_idle() -> None:
    assert advance(torch.tensor([4.9, -4.9, 0.0]), torch.tensor([1.0, -1.0, -1.0])).tolist() == [5.0, -5.0, -0.25]
    actions = torch.ones(1, HORIZON)
    positions = executed(torch.tensor([0.0]), actions)[0]
    torch.testing.assert_close(positions, (ETA * torch.arange(HORIZON)).clamp(max=SIZE))
    actions[:, -1] = -1
    assert torch.equal(executed(torch.tensor([0.0]), actions)[0], positions)


def test_dynamic_programming_against_brute_force() -> None:
    reward = torch.rand(5, 7, generator=generator(0), dtype=torch.double)
    value, move = backwards(reward, 2)
    for start in range(7):
        outcomes = {}
        for moves in itertools.product(range(-2, 3), repeat=4):
            places = list(itertools.accumulate(moves, initial=start))
            if all(0 <= place < 7 for place in places):
                outcomes[moves] = sum(float(reward[t, place]) for t, place in enumerate(places))
        best = max(outcomes, key=outcomes.__getitem__)
        assert float(value[0, start]) == pytest.approx(outcomes[best])
        assert float(move[0, start]) == best[0]


def test_the_optimum_is_no_grid_s(task: Nav1D) -> None:
    start, actions = best_plan()
    best = float(returns(start[None], actions[None]))
    assert task.best_known == pytest.approx(best, abs=1e-5)
    assert float(optimal()[0][0].max()) <= best <= float(optimal()[0][0].max()) + 1e-3
    rng = generator(0)
    near = (actions + 0.02 * torch.randn(2000, HORIZON, generator=rng, dtype=torch.double)).clamp(-1, 1)
    starts = (start + 0.02 * torch.randn(2000, generator=rng, dtype=torch.double)).clamp(-SIZE, SIZE)
    assert float(returns(starts, near).max()) <= best
    with pytest.raises(ValueError, match=r"a grid whose step divides 0.25, got 77 cells"):
        optimal(77)


def test_acting_by_the_grid_attains_its_values() -> None:
    position = grid()[:: CELLS // 10]
    actions = []
    for t in range(HORIZON):
        actions.append(act(torch.full((len(position),), t), position))
        position = advance(position, actions[-1])
    torch.testing.assert_close(
        returns(grid()[:: CELLS // 10], torch.stack(actions, 1)), optimal()[0][0, :: CELLS // 10]
    )


def test_coherency_is_one_for_what_happens_and_falls_with_the_error(task: Nav1D) -> None:
    x = task.reference()[:100]
    torch.testing.assert_close(task.coherency(x), torch.ones(100).double(), atol=1e-6, rtol=0)
    before = torch.ones(100).double()
    for size in (0.05, 0.1, 0.2, 0.4):
        wrong = x.clone()
        wrong[:, 1::2, 0] += size  # every step's error is ± size
        coherency = task.coherency(wrong)
        assert (coherency < before).all()
        before = coherency
        inside = wrong[..., 0].abs().amax(1) < SIZE - ETA
        expected = math.exp(-(size**2) / (2 * WIDTH**2))
        torch.testing.assert_close(coherency[inside], torch.full_like(coherency[inside], expected), rtol=1e-4, atol=0)


def test_only_start_and_actions_score(task: Nav1D) -> None:
    x = task.reference()[:50]
    dreamt = x.clone()
    dreamt[:, 1:, 0] = -dreamt[:, 1:, 0]
    assert torch.equal(task.evaluate(x), task.evaluate(dreamt)) and not task.valid(dreamt).all()
    assert task.valid(x).all() and not task.valid(task.domain.sample(1000, generator(0))).any()


def test_metrics_by_hand(task: Nav1D) -> None:
    best = task.best_design()
    still = torch.zeros(HORIZON, 2)
    y = task.evaluate(torch.stack([best, still]))
    metrics = task.metrics(torch.stack([best, still]))
    assert metrics["coherency"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["of_optimum"] == pytest.approx(float(y.mean()) / task.best_known)
    assert metrics["return_std"] == pytest.approx(float(y[0] - y[1]) / 2**0.5)


@pytest.mark.parametrize(("name", "most"), [("partial", 1.0), ("full", SIZE), ("expert", SIZE)])
def test_data_are_trajectories_of_their_policies(name: str, most: float) -> None:
    behaviour = BEHAVIOURS[name]
    x = trajectories(behaviour, 2000, generator(1))
    position, action = x.unbind(-1)
    assert position[:, 0].abs().max() <= most and position[:, 0].abs().max() > 0.99 * most
    torch.testing.assert_close(executed(position[:, 0], action), position)
    time = torch.arange(HORIZON).expand(len(x), -1)
    assert behaviour.log_prob(time, position, action).isfinite().all()
    assert (behaviour.log_prob(time, position, action * 0 + 1.01) == -math.inf).all()


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
def test_densities_of_actions_integrate_to_one_and_are_those_drawn(name: str) -> None:
    behaviour = BEHAVIOURS[name]
    action = torch.linspace(-1, 1, 4001).double()
    for t, s in ((0, -4.0), (7, 0.3), (20, 2.9)):
        time, position = torch.full((len(action),), t), torch.full((len(action),), s).double()
        density = behaviour.log_prob(time, position, action).exp()
        assert float(torch.trapezoid(density, action)) == pytest.approx(1, abs=1e-3)
        drawn = behaviour.draw(time, position, generator(0)).double()
        mean = torch.trapezoid(density * action, action)
        std = (torch.trapezoid(density * action**2, action) - mean**2).sqrt()
        assert abs(float(drawn.mean() - mean)) < 4 * float(std) / len(drawn) ** 0.5


def test_transitions_are_the_data(task: Nav1D) -> None:
    offline, x = task.offline(), task.training_data()
    assert len(offline.reward) == len(x) * HORIZON and int(offline.done.sum()) == len(x)
    torch.testing.assert_close(offline.reward.reshape(len(x), -1).sum(1).double(), task.evaluate(x), atol=1e-4, rtol=0)
    inner = ~offline.done
    torch.testing.assert_close(offline.following[inner], offline.observation.roll(-1, 0)[inner])
    observation, action = steps(x[:3])
    assert torch.equal(observation.flatten(0, 1), offline.observation[: 3 * HORIZON])
    assert torch.equal(action.flatten(), offline.action[: 3 * HORIZON, 0])


@pytest.mark.parametrize("resamples", [1, 3])
def test_starts_that_are_painted_in_are_exact(task: Nav1D, resamples: int) -> None:
    prior = task.prior()
    x = torch.zeros(64, HORIZON, 2)
    x[:, 0, 0] = torch.linspace(-0.9, 0.9, 64)
    known = torch.zeros(HORIZON, 2, dtype=torch.bool)
    known[0, 0] = True
    plans = prior.decode(inpaint(prior, prior.encode(x), known, generator(0), resamples=resamples))
    torch.testing.assert_close(plans[:, 0, 0], x[:, 0, 0], atol=1e-6, rtol=0)
    drift = plans[:, 1, 0] - plans[:, 0, 0]
    assert float(drift.abs().mean()) < 2 * ETA, "the rest goes on from there"


@pytest.mark.parametrize("wrong", [float("nan"), 5.1, -6.0])
def test_plans_outside_of_the_range_are_refused(task: Nav1D, wrong: float) -> None:
    x = task.reference()[:3].clone()
    x[1, 0, 0] = wrong
    with pytest.raises(ValueError, match="designs must"):
        task.evaluate(x)


def test_unknown_data_and_samplers_are_refused() -> None:
    settings = find("task", "nav1d").settings
    with pytest.raises(Exception, match="data must be one of partial, full, expert, got 'half'"):
        instantiate(settings, data="half")
    with pytest.raises(Exception, match=r"sampler must be one of .*, got 'euler'"):
        instantiate(settings, sampler="euler")


def test_the_environment_of_gymnasium() -> None:
    gymnasium = pytest.importorskip("gymnasium", reason="the extra nav1d is not installed")
    from gymnasium.utils.env_checker import check_env

    env = gymnasium.make("bbo_bench.tasks.nav1d.gym:Nav1D-v0")
    check_env(env.unwrapped)
    actions: Tensor = 2 * torch.rand(HORIZON, 1, generator=generator(0)) - 1
    observation, _ = env.reset(options={"start": 1.25})
    assert observation.tolist() == [1.25, 0.0]
    total, ended = 0.0, False
    for action in actions.numpy():
        assert not ended
        observation, reward, ended, truncated, _ = env.step(action)
        total += float(reward)
    assert ended and not truncated and observation[1] == 1.0
    assert total == pytest.approx(float(returns(torch.tensor([1.25]), actions.T)), abs=1e-4)
    with pytest.raises(RuntimeError, match="call reset"):
        env.unwrapped.step(np.zeros(1, np.float32))
    with pytest.raises(ValueError, match=r"a start from -5.0 to 5.0, got 7"):
        env.reset(options={"start": 7})
    for start in ("1", [1.0, 2.0], float("nan")):
        with pytest.raises(ValueError, match="expected a start from"):
            env.reset(options={"start": start})
    with pytest.raises(ValueError, match="the one option is start, got begin"):
        env.reset(options={"begin": 2})
    before, _ = env.reset()
    for wrong in (np.array([np.nan]), np.zeros(2)):
        with pytest.raises(ValueError, match="expected one finite number"):
            env.unwrapped.step(wrong)
    assert env.unwrapped.step(np.zeros(1, np.float32))[0][0] == before[0]
