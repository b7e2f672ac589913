"""What methods share that learn from their own trajectories alone: rollouts, and passes of minibatches over them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import FineTuner, Rollout, check_counts
from bbo_bench.core import Problem


class OnPolicy(FineTuner):
    """Rolls out, and learns from the rollout in some passes of shuffled minibatches, before it rolls out anew.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        iterations: Rollouts per round; with oracle rewards, the round's own designs are the only one.
        samples: Trajectories per rollout.
        epochs: Passes over a rollout.
        minibatches: Gradient steps per pass.
        **shared: See `FineTuner`.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        iterations: int,
        samples: int,
        epochs: int,
        minibatches: int,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(iterations=iterations, samples=samples, epochs=epochs, minibatches=minibatches)
        self.iterations, self.samples = iterations, samples
        self.epochs, self.minibatches = epochs, minibatches

    @property
    def gradient_steps(self) -> int:
        """See `FineTuner.gradient_steps`."""
        return (self.iterations if self.proxy is not None else 1) * self.epochs * self.minibatches

    @abstractmethod
    def experience(self, rollout: Rollout) -> Any:
        """What is learnt from a rollout, without gradient: a named tuple of tensors of as many rows."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Loss of some rows of `experience`, a scalar."""

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        for rollout in self.rollouts(self.iterations, self.samples):
            yield from self.passes(self.experience(rollout))

    def passes(self, experience: Any) -> Iterator[Tensor]:
        """Losses of all minibatches of all passes."""
        n, device = len(experience[0]), experience[0].device
        for _ in range(self.epochs):
            for rows in self.shuffled(n, device):
                yield self.loss(type(experience)(*(part[rows] for part in experience)))

    def shuffled(self, n: int, device: torch.device) -> Sequence[Tensor]:
        """Row numbers of the minibatches of a pass over `n` rows."""
        return torch.randperm(n, generator=self.rng, device=device).chunk(self.minibatches)
