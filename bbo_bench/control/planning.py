"""Planning in a closed loop: plans are made from what is observed, a few of their actions executed, and so on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from bbo_bench.control.environment import Environment, execute

CHOICES = ("one", "mean", "greedy", "softmax")


class Plans(NamedTuple):
    """Candidates for `n` observations."""

    designs: Tensor
    """`n x N x shape`."""
    values: Tensor | None
    """`n x N` predictions of their scores; None where nothing predicts them."""


Planner = Callable[[Tensor, int], Plans]
"""Makes N plans from each of `n x o` observations."""


@dataclass(frozen=True)
class Control:
    """How a task's plans are made and executed.

    Attributes:
        environment: What they are executed in.
        started: Maps `n x o` observations to `n x shape` designs, of which only what is given counts.
        actions: Maps `n x shape` designs to their `n x H x a` actions.
        episodes: How many a method is judged by; their starts are the same for all methods of a seed.
        candidates: N, plans for every observation.
        every: Actions that are executed before the next plans are made.
        temperature: Of `softmax`, in standard deviations of a start's candidates' values.
        choices: What the executed actions are of: `one` of the candidates; their `mean`; the one of highest value
            (`greedy`); or one drawn by the `softmax` of the values.
        optimum: Returns of the best policy from `n x s` states, where they are known.

    Raises:
        ValueError: If a number is out of range, or a choice unknown.
    """

    environment: Environment
    started: Callable[[Tensor], Tensor]
    actions: Callable[[Tensor], Tensor]
    episodes: int = 64
    candidates: int = 16
    every: int = 4
    temperature: float = 0.5
    choices: Sequence[str] = ("one", "mean", "greedy")
    optimum: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if min(self.episodes, self.candidates, self.every) < 1 or self.temperature <= 0:
            raise ValueError(
                "expected positive episodes, candidates, every and temperature, "
                f"got {self.episodes}, {self.candidates}, {self.every}, {self.temperature}"
            )
        if unknown := [each for each in self.choices if each not in CHOICES]:
            raise ValueError(f"expected choices of {', '.join(CHOICES)}, got {', '.join(map(repr, unknown))}")


class Episodes(NamedTuple):
    """What `n` episodes came to."""

    returns: Tensor
    """`n` sums of rewards."""
    success: Tensor
    """`n` bools: whether the goal was reached at any time."""
    entropy: Tensor
    """`n` entropies of the candidates' next actions in nats, averaged over time; see `entropy`."""


def episodes(control: Control, planner: Planner, start: Tensor, choice: str, rng: Generator) -> Episodes:
    """Play an episode from each of `n x s` states.

    Args:
        control: Environment and settings.
        planner: Makes plans.
        start: States.
        choice: What is executed; see `Control`.
        rng: Generator of `softmax`, on the host.

    Raises:
        ValueError: If a choice goes by values that the planner does not give.
    """
    environment, state = control.environment, start
    returns = torch.zeros(len(start), dtype=torch.double)
    success = torch.zeros(len(start), dtype=torch.bool)
    spread = []
    candidates = 1 if choice == "one" else control.candidates
    for t in range(0, environment.horizon, control.every):
        observation, same = torch.unique(environment.observe(state), dim=0, return_inverse=True)
        designs, values = planner(observation, candidates)
        actions = control.actions(designs.flatten(0, 1))
        actions = actions.reshape(*designs.shape[:2], *actions.shape[1:])
        spread.append(entropy(actions[:, :, : control.every])[same])
        taken = chosen(actions, values, choice, control.temperature, rng)[same]
        outcome = execute(environment, state, taken[:, : min(control.every, environment.horizon - t)])
        state = outcome.states[:, -1]
        returns += outcome.rewards.double().sum(1)
        success |= outcome.success
    return Episodes(returns, success, torch.stack(spread).mean(0))


def chosen(actions: Tensor, values: Tensor | None, choice: str, temperature: float, rng: Generator) -> Tensor:
    """`n x H x a` actions of `n x N x H x a` candidates', whose values are `n x N`."""
    if choice == "one":
        return actions[:, 0]
    if choice == "mean":
        return actions.mean(1)
    if values is None:
        raise ValueError(f"the choice {choice} goes by values, and the planner predicts none")
    if choice == "greedy":
        index = values.argmax(1)
    else:
        scale = temperature * values.std(1, keepdim=True).clamp(min=1e-12)
        index = torch.multinomial((values / scale).softmax(1), 1, generator=rng)[:, 0]
    return actions[torch.arange(len(actions)), index]


def entropy(actions: Tensor) -> Tensor:
    """Entropies, in nats a number, of normal laws with the variances of `n x N x H x a` candidates' numbers.

    An `n`-dim tensor, NaN of a single candidate; numbers that do not vary count as if by 1e-6.
    """
    if actions.shape[1] < 2:
        return actions.new_full((len(actions),), math.nan).double()
    std = actions.double().std(1).clamp(min=1e-6)
    return (std.log() + 0.5 * math.log(2 * math.pi * math.e)).flatten(1).mean(1)
