"""DDPO: denoising diffusion policy optimization."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.diffusion.finetune import FineTuner, Training, check_counts, pairs
from bbo_bench.surrogate.ensemble import Ensemble


class Steps(NamedTuple):
    """`n` steps of trajectories."""

    x: Tensor
    """x_t."""
    k: Tensor
    """Step numbers."""
    following: Tensor
    """x_{t-1}, as it was drawn."""
    behaviour: Tensor
    """Log-probability with which it was drawn."""
    reference: Tensor
    """The prior's mean of x_{t-1}."""
    advantage: Tensor
    """How much better than usual the step turned out."""


class DDPO(FineTuner):
    """Policy gradient over denoising steps with clipped importance ratios (Black et al. 2024, DDPO-IS).

    Maximizes E[r(x_0) - α Σ_t KL_t] exactly: a step's return is the reward minus α times the KL of all later steps, and
    its own KL is differentiated directly. Log-probabilities are sums over dimensions, and ratios are per step.

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        proxy: Makes the model of the score that gives the rewards inside a round; None spends oracle scores directly.
        kl_weight: α, in prior standard deviations of the score per nat.
        iterations: Rollouts per round; with oracle rewards, the round's own designs are the only one.
        samples: Trajectories per rollout.
        epochs: Passes over a rollout.
        minibatches: Gradient steps per pass.
        clip: Ratios outside 1 ± clip give no gradient where they would go further.
        max_advantage: Advantages, standardized over a rollout, are clipped to this size.
        training: How the policy is trained.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        proxy: Callable[[], Ensemble] | None,
        kl_weight: float,
        iterations: int,
        samples: int,
        epochs: int,
        minibatches: int,
        clip: float,
        max_advantage: float,
        training: Training,
    ) -> None:
        super().__init__(problem, rng, proxy=proxy, kl_weight=kl_weight, training=training)
        check_counts(iterations=iterations, samples=samples, epochs=epochs, minibatches=minibatches)
        if clip <= 0 or max_advantage <= 0:
            raise ValueError(f"expected clip > 0 and max_advantage > 0, got {clip=} and {max_advantage=}")
        self.iterations, self.samples, self.epochs = iterations, samples, epochs
        self.minibatches, self.clip, self.max_advantage = minibatches, clip, max_advantage

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        if self.proxy is not None:
            for _ in range(self.iterations):
                states = self.trajectories(self.samples)
                with torch.no_grad():
                    reward = self.reward(states[:, -1])
                yield from self.surrogate(states, reward)
        elif self._asked is not None:  # the first round's designs are the prior's: no trajectory leads to them
            yield from self.surrogate(self._asked, self.standardized(self.y[-len(self._asked) :]))

    def surrogate(self, states: Tensor, reward: Tensor) -> Iterator[Tensor]:
        """Losses of `n x (T+1) x latent_shape` trajectories with `n` rewards, a gradient step each."""
        steps, kl_weight = self.steps(states, reward)
        for _ in range(self.epochs):
            order = torch.randperm(len(steps.k), generator=self.rng, device=steps.k.device)
            for rows in order.chunk(self.minibatches):
                yield self.loss(Steps(*(part[rows] for part in steps)), kl_weight)

    @torch.no_grad()
    def steps(self, states: Tensor, reward: Tensor) -> tuple[Steps, Tensor]:
        """All steps of the trajectories, and the KL weight in units of their advantages."""
        transition = self.transition
        x, k = pairs(states)
        following = states[:, 1:].flatten(0, 1)
        policy, prior = (transition.mean_by(net, k, x) for net in (self.policy, self.reference))
        kl = transition.kl(k, policy, prior).reshape(len(states), -1)
        later = kl.flip(1).cumsum(1).flip(1) - kl
        returns = reward[:, None] - self.kl_weight * later
        scale = returns.std() + 1e-8
        advantage = ((returns - returns.mean(0)) / scale).clamp(-self.max_advantage, self.max_advantage).flatten()
        behaviour = transition.log_prob(k, policy, following)
        return Steps(x, k, following, behaviour, prior, advantage), self.kl_weight / scale

    def loss(self, steps: Steps, kl_weight: Tensor) -> Tensor:
        """PPO's clipped surrogate plus the KL to the prior, a scalar."""
        x, k, transition = steps.x, steps.k, self.transition
        mean = transition.mean_by(self.policy, k, x)
        ratio = (transition.log_prob(k, mean, steps.following) - steps.behaviour).exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        surrogate = torch.minimum(ratio * steps.advantage, clipped * steps.advantage)
        return torch.mean(kl_weight * transition.kl(k, mean, steps.reference) - surrogate)
