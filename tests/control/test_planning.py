"""Plans executed in a closed loop: by hand, by dynamic programming, and what is chosen of candidates."""

import math

import pytest
import torch

from bbo_bench.control.environment import execute
from bbo_bench.control.planning import Control, Plans, chosen, entropy, episodes
from bbo_bench.seeding import generator
from bbo_bench.tasks.nav1d.environment import HORIZON, returns
from bbo_bench.tasks.nav1d.planner import LENGTH, Line, actions, clock, started
from bbo_bench.tasks.nav1d.planning import act, value


def control(**settings):
    return Control(Line(5.0), started, actions, **settings)


def optimal(observation, n):
    """Plans by the best policy, all alike; their values are their numbers."""
    state, rows = observation.double(), []
    for _ in range(LENGTH):
        action = torch.where(state[:, 1] < HORIZON, act(clock(state[:, 1]).clamp(max=HORIZON - 1), state[:, 0]), 0)
        rows.append(torch.cat([state, action[:, None]], 1))
        state = Line(5.0).step(state, action[:, None]).state
    designs = torch.stack(rows, 1)[:, None].expand(-1, n, -1, -1)
    return Plans(designs, torch.arange(n).expand(len(observation), n).double())


def test_executing_actions_returns_what_the_environment_says():
    rng = generator(0)
    start, moves = 8 * torch.rand(7, generator=rng).double() - 4, 2 * torch.rand(7, HORIZON, generator=rng).double() - 1
    outcome = execute(Line(5.0), torch.stack([start, torch.zeros(7)], 1), moves[..., None])
    assert outcome.states.shape == (7, HORIZON + 1, 2)
    assert torch.allclose(outcome.rewards.sum(1), returns(start, moves))
    assert not outcome.success.any()


@pytest.mark.parametrize("every", [1, 5, 16])
@pytest.mark.parametrize("choice", ["one", "mean", "greedy", "softmax"])
def test_the_best_policys_plans_return_the_optimum_however_often_they_are_made(every, choice):
    line = Line(5.0)
    start = line.reset(30, generator(1))
    start[:, 0] = (start[:, 0] * 200).round() / 200  # on the grid, where the values are exact
    outcome = episodes(control(every=every, candidates=3), optimal, start, choice, generator(2))
    best = value(torch.zeros(30, dtype=torch.long), start[:, 0])
    assert torch.allclose(outcome.returns, best, atol=1e-6)


def test_plans_are_made_once_for_what_looks_alike():
    seen = []

    def planner(observation, n):
        seen.append(len(observation))
        return optimal(observation, n)

    start = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-4.9, 0.0]]).double()
    outcome = episodes(control(every=16), planner, start, "one", generator(0))
    assert seen == [2, 2]
    assert outcome.returns[0] == outcome.returns[1] != outcome.returns[2]


def test_what_is_chosen_of_candidates():
    moves = torch.arange(6.0).reshape(2, 3, 1, 1)
    values = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])
    take = lambda choice, values=values: chosen(moves, values, choice, 0.5, generator(0)).flatten().tolist()  # noqa: E731
    assert take("one") == [0, 3]
    assert take("mean") == [1, 4]
    assert take("greedy") == [1, 3]
    many = chosen(moves[:1].expand(20000, -1, -1, -1), values[:1].expand(20000, -1), "softmax", 0.5, generator(0))
    share = torch.bincount(many.flatten().long(), minlength=3) / 20000
    assert torch.allclose(share, (values[0] / (0.5 * values[0].std())).softmax(0), atol=0.01)
    with pytest.raises(ValueError, match="goes by values"):
        take("greedy", None)
    assert take("mean", None) == [1, 4]


def test_entropy_is_that_of_normal_numbers():
    drawn = 3 * torch.randn(2, 50000, 2, 1, generator=generator(0))
    assert entropy(drawn).tolist() == pytest.approx([0.5 * math.log(2 * math.pi * math.e * 9)] * 2, abs=0.02)
    assert entropy(torch.zeros(1, 4, 2, 1)).isfinite().all()
    assert entropy(torch.zeros(3, 1, 2, 1)).isnan().all()


@pytest.mark.parametrize(
    "wrong", [{"episodes": 0}, {"every": 0}, {"candidates": 0}, {"temperature": 0.0}, {"choices": ("one", "best")}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        control(**wrong)
