"""What plans are executed in: an environment, many episodes of it side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Generator, Tensor


class Step(NamedTuple):
    """What a step of `n` episodes comes to."""

    state: Tensor
    """`n x s`."""
    reward: Tensor
    """`n` rewards."""
    success: Tensor
    """`n` bools: whether the goal is reached now; False where there is none."""


class Environment(ABC):
    """A deterministic environment on the host: a state and an action give the next state and a reward.

    States are all that an episode needs to go on, so that it goes on from a kept state as it would have.
    """

    horizon: int
    """Steps of an episode."""
    goal: bool = False
    """Whether there is one, so that episodes succeed or fail."""

    @abstractmethod
    def reset(self, n: int, rng: Generator) -> Tensor:
        """`n x s` states in which episodes begin, drawn as the environment draws them."""

    @abstractmethod
    def observe(self, state: Tensor) -> Tensor:
        """`n x o` observations of `n x s` states."""

    def over(self, state: Tensor) -> Tensor:
        """Whether episodes have ended in `n x s` states before their time, `n` bools; by default none does."""
        return torch.zeros(len(state), dtype=torch.bool)

    @abstractmethod
    def step(self, state: Tensor, action: Tensor) -> Step:
        """What `n x a` actions do in `n x s` states."""


class Executed(NamedTuple):
    """What executing actions came to."""

    states: Tensor
    """`n x (k+1) x s`: those before every action, and the last."""
    rewards: Tensor
    """`n x k`."""
    success: Tensor
    """`n` bools: whether the goal was reached after any action."""


def execute(environment: Environment, state: Tensor, actions: Tensor) -> Executed:
    """Execute `n x k x a` actions from `n x s` states."""
    states, rewards, success = [state], [], torch.zeros(len(state), dtype=torch.bool)
    for action in actions.unbind(1):
        step = environment.step(states[-1], action)
        states.append(step.state)
        rewards.append(step.reward)
        success = success | step.success
    return Executed(torch.stack(states, 1), torch.stack(rewards, 1), success)
