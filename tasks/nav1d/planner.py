"""Nav1D for planners: 16 positions and actions from a position and a time that are given, executed in a closed loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from bbo_bench.control.environment import Environment, Step, execute
from bbo_bench.control.planning import Control
from bbo_bench.core import Offline, Transitions
from bbo_bench.diffusion.codecs import Standardize, Started
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Box
from bbo_bench.metrics.reward import deviation
from bbo_bench.seeding import generator
from bbo_bench.tasks.nav1d import COHERENT, WIDTH
from bbo_bench.tasks.nav1d.data import BEHAVIOURS, trajectories, transitions
from bbo_bench.tasks.nav1d.drawing import draw_landscape
from bbo_bench.tasks.nav1d.environment import HORIZON, SIZE, advance, reward
from bbo_bench.tasks.nav1d.planning import act, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LENGTH = 16
"""Steps of a plan."""
LAST = HORIZON + LENGTH - 2
"""Latest time in a plan that begins before the end of an episode."""
TRAINING, HELD_OUT, EACH = 8192, 512, 4
"""Trajectories to train on and held out; times at which a training trajectory is cut."""
STARTS = 8192
"""Observations of the data that plans are made from while a planner learns."""


class Line(Environment):
    """The environment as it is played: a state is position and time, and so is an observation.

    Args:
        starts: Episodes begin uniformly in [-starts, starts], at time 0.
    """

    horizon = HORIZON

    def __init__(self, starts: float) -> None:
        self.starts = starts

    def reset(self, n: int, rng: Generator) -> Tensor:
        """See `Environment.reset`."""
        position = self.starts * (2 * torch.rand(n, generator=rng, dtype=torch.double) - 1)
        return torch.stack([position, torch.zeros_like(position)], 1)

    def observe(self, state: Tensor) -> Tensor:
        """See `Environment.observe`."""
        return state

    def step(self, state: Tensor, action: Tensor) -> Step:
        """See `Environment.step`; the reward is that of the state in which the action is taken."""
        position, time = state.unbind(1)
        after = advance(position, action[:, 0].double().clamp(-1, 1))
        gained = rewarded(time, position)
        return Step(torch.stack([after, time + 1], 1), gained, torch.zeros(len(state), dtype=torch.bool))


class Nav1DPlanner(DiffusionTask):
    """What the actions of a plan gain over the best policy from where it begins, from 0 down.

    A design is `16 x 3`: position, time and action, step by step. Times and the first position are given; the other
    positions are what the plan believes. After the end of an episode, a plan stays where it is.

    Args:
        data: See `Nav1D`.
        control: How plans are executed: what `Control` takes but for what is this task's.
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: The optimum, 0.
        infeasible_score: Never needed: every plan can be executed.

    Raises:
        ValueError: If there is no such data set.
    """

    columns = tuple(f"{what}_{t}" for t in range(LENGTH) for what in ("position", "time", "action"))
    domain = Box(
        torch.tensor([[-SIZE, t, -1.0] for t in range(LENGTH)]),
        torch.tensor([[SIZE, HORIZON - 1.0 + t, 1.0] for t in range(LENGTH)]),
    )

    def __init__(
        self,
        data: str,
        control: Mapping[str, Any],
        noise_std: float,
        y_prior: float,
        best_known: float,
        infeasible_score: float,
    ) -> None:
        if data not in BEHAVIOURS:
            raise ValueError(f"data must be one of {', '.join(BEHAVIOURS)}, got {data!r}")
        self.data, self.behaviour = data, BEHAVIOURS[data]
        line = Line(self.behaviour.starts)
        self.played = Control(line, started, actions, optimum=optimum, **control)
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known

    @property
    def folder(self) -> Path:
        """Every data set has a prior of its own."""
        return super().folder / f"{self.data}_planner"

    def training_data(self) -> Tensor:
        """`32768 x 16 x 3` plans that the behaviour has executed, from four times of each of 8192 trajectories."""
        return windows(self._trajectories[:TRAINING], EACH, generator(0, "nav1d windows"))

    def reference(self) -> Tensor:
        """See `Task.reference`: 512 more, one of each of as many trajectories."""
        return windows(self._trajectories[TRAINING:], 1, generator(0, "nav1d held-out windows"))

    @cached_property
    def _trajectories(self) -> Tensor:
        return trajectories(self.behaviour, TRAINING + HELD_OUT, generator(0, f"nav1d {self.data}"))

    def codec(self, data: Tensor | None = None) -> Started:
        """See `DiffusionTask.codec`."""
        return Started(Standardize(self.domain, data), given(), self.training_data()[:STARTS])

    def offline(self) -> Offline:
        """See `Task.offline`; what comes after the end of an episode is worth nothing, whatever one does."""
        data = transitions(self._trajectories[:TRAINING])
        return replace(data, **_with_end(data), steps=steps, given=given(), relative=True, executed=True)

    def executed(self, x: Tensor) -> Transitions:
        """See `Task.executed`: to the end of an episode, or of the plan."""
        outcome = execute(self.played.environment, x[:, 0, :2].double(), actions(x))
        state, after = outcome.states[:, :-1].flatten(0, 1), outcome.states[:, 1:].flatten(0, 1)
        inside, done = clock(state[:, 1]) < HORIZON, clock(state[:, 1]) == HORIZON - 1
        action, reward = actions(x).flatten(0, 1), outcome.rewards.flatten()
        seen = Transitions(seen_by_critics(state), action, reward.float(), seen_by_critics(after), done)
        return Transitions(*(each[inside] for each in seen))

    def control(self) -> Control:
        """See `Task.control`."""
        return self.played

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`: of executing the actions until the episode ends, and acting as well as one can then.

        Raises:
            ValueError: If a plan does not lie in the domain.
        """
        state, gained = self.domain.check(x)[:, 0, :2].double(), torch.zeros(len(x), dtype=torch.double)
        best = value(clock(state[:, 1]), state[:, 0])
        for action in x[..., 2:].unbind(1):
            state, gain, _ = self.played.environment.step(state, action)
            gained += gain
        after = value(clock(state[:, 1]).clamp(max=HORIZON), state[:, 0])
        return (gained + after - best).clamp(max=0)  # the grid's values are a little too low

    def coherency(self, x: Tensor) -> Tensor:
        """Coherency scores of `n x 16 x 3` plans, an `n`-dim tensor; see `Nav1D.coherency`."""
        error = self.errors(x)
        return (-((error / WIDTH) ** 2) / 2).exp().mean(1)

    def errors(self, x: Tensor) -> Tensor:
        """`n x 15` errors of planned positions, given the planned ones and the actions before them."""
        position, time, action = x.double().unbind(-1)
        over = clock(time[:, :-1]) >= HORIZON - 1  # an episode has no step after its last action
        ahead = torch.where(over, position[:, :-1], advance(position, action)[:, :-1])
        return (position[:, 1:] - ahead).abs()

    def valid(self, x: Tensor) -> Tensor:
        """Whether plans are coherent, by more than half."""
        return self.coherency(x) > COHERENT

    def features(self, x: Tensor) -> Tensor:
        """`n x 48` positions, times from 0 to 5, as positions are from 0 to ±5, and actions."""
        return (x * x.new_tensor([1.0, SIZE / LAST, 1.0])).flatten(1)

    def metrics(self, x: Tensor) -> dict[str, float]:
        """The mean coherency, the mean error of the first planned position, and the standard deviation of scores."""
        first = float(self.errors(x)[:, 0].mean())
        return {
            "coherency": float(self.coherency(x).mean()),
            "first_error": first,
            "loss_std": deviation(self.evaluate(x)),
        }

    def best_design(self) -> Tensor:
        """See `Task.best_design`: what dynamic programming does from the middle, at the start."""
        state, rows = torch.zeros(1, 2, dtype=torch.double), []
        for _ in range(LENGTH):
            action = act(clock(state[:, 1]), state[:, 0])[:, None]
            rows.append(torch.cat([state, action], 1))
            state = self.played.environment.step(state, action).state
        return torch.cat(rows).float()

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: positions over the rewards, as planned and, dashed, as executed."""
        state, path = x[None, 0, :2].double(), []
        for action in x[None, :, 2:].unbind(1):
            path.append(float(state[0, 0]))
            state = self.played.environment.step(state, action).state
        draw_landscape(axes)
        time = x[:, 1].numpy()
        axes.plot(time, x[:, 0].numpy(), color="tab:red", linewidth=1.2)
        axes.plot(time, path, color="black", linewidth=1, linestyle="--")


def given() -> Tensor:
    """Bools of a plan's shape: which of its numbers are given."""
    mask = torch.zeros(LENGTH, 3, dtype=torch.bool)
    mask[:, 1] = True
    mask[0, 0] = True
    return mask


def started(observation: Tensor) -> Tensor:
    """`n x 16 x 3` designs, zero but for what is given, from `n x 2` positions and times."""
    x = torch.zeros(len(observation), LENGTH, 3)
    x[:, 0, 0] = observation[:, 0]
    x[..., 1] = observation[:, 1:] + torch.arange(LENGTH)
    return x


def actions(x: Tensor) -> Tensor:
    """`n x 16 x 1` actions of `n x 16 x 3` plans."""
    return x[..., 2:]


def steps(x: Tensor) -> tuple[Tensor, Tensor]:
    """Observations `n x 16 x (1 + H)`, their time a one-hot vector, zero after the end, and actions `n x 16 x 1`."""
    return seen_by_critics(x), x[..., 2:]


def seen_by_critics(x: Tensor) -> Tensor:
    """`n x ... x (1 + H)` positions, and times as one-hot vectors, zero after the end, of positions and times first."""
    time = clock(x[..., 1].detach())
    row = one_hot(time.clamp(0, HORIZON), HORIZON + 1)[..., :HORIZON]
    return torch.cat([x[..., :1], row.to(x)], -1).float()


def clock(time: Tensor) -> Tensor:
    """Times as whole numbers."""
    return time.round().long()


def optimum(state: Tensor) -> Tensor:
    """Returns of the best policy from `n x 2` states."""
    return value(clock(state[:, 1]), state[:, 0])


def rewarded(time: Tensor, position: Tensor) -> Tensor:
    """Rewards at `n` times and positions; 0 after the end."""
    step = clock(time)
    return torch.where(step < HORIZON, reward(step.clamp(max=HORIZON - 1), position), 0)


def windows(x: Tensor, each: int, rng: Generator) -> Tensor:
    """`each · n x 16 x 3` plans cut from `n x H x 2` trajectories at random times."""
    position, action = x.repeat(each, 1, 1).unbind(-1)
    time = torch.randint(HORIZON, (len(position), 1), generator=rng) + torch.arange(LENGTH)
    inside = time < HORIZON
    place = time.clamp(max=HORIZON - 1)
    still = torch.where(inside, action.gather(1, place), 0)
    return torch.stack([position.gather(1, place), time.to(x), still], -1)


def _with_end(data: Offline) -> dict[str, Any]:
    """The fields of transitions, and a thirty-second more of them that lie after the end of an episode."""
    rows = data.observation[::HORIZON]
    beyond = torch.cat([rows[:, :1], torch.zeros_like(rows[:, 1:])], 1)
    return {
        "observation": torch.cat([data.observation, beyond]),
        "action": torch.cat([data.action, data.action[::HORIZON]]),
        "reward": torch.cat([data.reward, torch.zeros(len(rows)).to(data.reward)]),
        "following": torch.cat([data.following, beyond]),
        "done": torch.cat([data.done, torch.ones(len(rows), dtype=torch.bool)]),
    }
