"""Which denoising steps learn, and how much: truncation to the last ones, and credit weights.

Huh and Mohapatra (arXiv:2502.12198) name both and print no formula; these are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import FineTuner, Trajectories
from bbo_bench.core import Problem

Credit = Callable[[Trajectories, int], Tensor]
"""Maps the last K steps of trajectories, and the sampler's steps T, to weights `n x K`, at least 0, of mean 1."""


@dataclass(frozen=True)
class Truncation:
    """Only the last K steps learn, K going from `first` in the first round to `last` in the last.

    With `first` None it is `last` in all rounds, and with both None all steps learn.

    Raises:
        ValueError: If a number is below 1, or `first` is given and `last` is not.
    """

    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        if (self.last is None and self.first is not None) or any(
            k is not None and k < 1 for k in (self.first, self.last)
        ):
            raise ValueError(f"expected a truncation to at least one step, or of none with first=last=null, got {self}")

    def check(self, steps: int) -> None:
        """Raise `ValueError` if it asks for more than the sampler's steps."""
        if self.last is not None and max(self.first or self.last, self.last) > steps:
            raise ValueError(f"expected K <= {steps}, the sampler's steps, got {self}")

    def __call__(self, steps: int, progress: float) -> int:
        """K in a round, given how far the run has come, from 0 to 1."""
        if self.last is None:
            return steps
        first = self.last if self.first is None else self.first
        return round(first + progress * (self.last - first))


@dataclass(frozen=True)
class Decreasing:
    """γ^{t-1} with t - 1 steps left, γ that of a chain of 50 steps: the first steps from the noise get the least.

    Raises:
        ValueError: If γ does not lie in (0, 1].
    """

    gamma: float

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise ValueError(f"expected 0 < gamma <= 1, got gamma={self.gamma}")

    def __call__(self, trajectories: Trajectories, steps: int) -> Tensor:
        """See `Credit`."""
        n, K = trajectories.means.shape[:2]
        left = torch.arange(K - 1, -1, -1, device=trajectories.means.device)
        weight = self.gamma ** (50 / steps * left)
        return (weight / weight.mean()).expand(n, K)


@dataclass(frozen=True)
class Similarity:
    """The cosine of x_{t-1} and the x_0 that it led to, if positive: known once a rollout has ended."""

    def __call__(self, trajectories: Trajectories, steps: int) -> Tensor:
        """See `Credit`."""
        states = trajectories.states[:, 1:].flatten(2)
        cosine = torch.cosine_similarity(states, states[:, -1:], dim=2).clamp(min=0)
        return cosine / cosine.mean(1, keepdim=True)  # the last is 1


class Credited(FineTuner):
    """A method that learns from the last steps of its trajectories, with credit weights.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        truncation: K, round by round.
        credit: w_t; None is 1 for all.
        **shared: See `FineTuner`.

    Raises:
        ValueError: If a setting is out of range, or K is above T.
    """

    def __init__(
        self, problem: Problem, rng: Generator, *, truncation: Truncation, credit: Credit | None, **shared: Any
    ) -> None:
        super().__init__(problem, rng, **shared)
        truncation.check(self.transition.steps)
        self.truncation, self.credit = truncation, credit

    @property
    def last(self) -> int:
        """K of this round."""
        return self.truncation(self.transition.steps, self.progress)
