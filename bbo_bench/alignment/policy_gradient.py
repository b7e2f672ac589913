"""What policy gradients over denoising steps share: returns, advantages, log-probability ratios."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import Rollout, Trajectories, pairs
from bbo_bench.alignment.groups import deviations
from bbo_bench.alignment.on_policy import OnPolicy
from bbo_bench.core import Problem
from bbo_bench.scale import deviation


class Steps(NamedTuple):
    """`n` denoising steps, each an action of the policy."""

    x: Tensor
    """`n x latent_shape`: x_t."""
    k: Tensor
    """`n` step numbers."""
    following: Tensor
    """`n x latent_shape`: x_{t-1}, as it was drawn."""
    behaviour: Tensor
    """`n` log-probabilities with which they were drawn."""
    reference: Tensor
    """`n x latent_shape`: the prior's means of x_{t-1}, or anything where the KL to the prior has no weight."""
    advantage: Tensor
    """`n` advantages: how much better than usual the steps turned out."""


class PolicyGradient(OnPolicy):
    """Learns from the log-probabilities of the denoising steps of its own trajectories; they are sums over dimensions.

    A subclass gives the loss of some steps, and may give their advantages. By default a step's return is the reward
    minus α times the KL divergence of all later steps, so that, with the step's own KL in the loss, they maximize
    E[r(x_0) - α Σ_t KL_t] exactly; its advantage is the part above that step's mean over the rollout, standardized.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        max_advantage: Standardized advantages are clipped to this size.
        clip: Ratios outside 1 ± clip give no gradient where they would go further; None takes the score function,
            E[A ∇ log p], which is right on-policy only.
        **shared: See `OnPolicy`.

    Raises:
        ValueError: If a number is out of range, or there is more than one gradient step per rollout without ratios.
    """

    def __init__(
        self, problem: Problem, rng: Generator, *, max_advantage: float, clip: float | None, **shared: Any
    ) -> None:
        super().__init__(problem, rng, **shared)
        if clip is not None and clip <= 0:
            raise ValueError(f"expected clip > 0, got {clip=}")
        self.clip = math.inf if clip is None else clip
        if clip is None and self.epochs * self.minibatches > 1:
            raise ValueError(
                "the score function is right for one gradient step per rollout: set epochs=1 and minibatches=1, "
                f"or a clip, got epochs={self.epochs}, minibatches={self.minibatches}"
            )
        if max_advantage <= 0:
            raise ValueError(f"max_advantage must be positive, got {max_advantage}")
        self.max_advantage = max_advantage
        self._learnt, self._earlier = self.transition.steps, torch.zeros((), device=rng.device)

    def loss(self, steps: Steps) -> Tensor:
        """Loss of a minibatch of steps, a scalar: minus PPO's surrogate, or the score function's, plus the KL."""
        log_ratio, kl = self.log_ratio(steps)
        if self.clip == math.inf:
            return (kl - steps.advantage * log_ratio).mean()
        return (kl - clipped(log_ratio.exp(), steps.advantage, self.clip)).mean()

    @torch.no_grad()
    def experience(self, rollout: Rollout) -> Steps:
        """All steps of a rollout."""
        states, means = rollout.trajectories
        self._learnt = means.shape[1]
        if self._learnt == self.transition.steps:
            self._earlier = torch.zeros_like(self._earlier)
        x, k = pairs(states, self.transition.steps - self._learnt)
        mean, following = means.flatten(0, 1), states[:, 1:].flatten(0, 1)
        prior = self.transition.mean_by(self.reference, k, x) if self.regularized else mean
        behaviour = self.transition.log_prob(k, mean, following)
        kl = self.divergence(k, mean, prior, following).reshape(len(rollout.reward), -1)
        return Steps(x, k, following, behaviour, prior, self.advantages(rollout, kl).flatten())

    @torch.no_grad()
    def leave(self, early: Trajectories) -> None:
        """Count, under a budget, what trajectories spend in their first steps, where these are not learnt from."""
        if self.dual is not None:
            x, k = pairs(early.states)
            prior = self.transition.mean_by(self.reference, k, x)
            self._earlier = self.transition.kl(k, early.means.flatten(0, 1), prior).sum() / len(early.states)

    def estimates(self, trajectories: Trajectories) -> Tensor:
        """Posterior means of x_0 that the policy has had at the steps of its trajectories, `n x T x latent_shape`."""
        states, means = trajectories
        x, k = pairs(states, self.transition.steps - means.shape[1])
        return self.transition.denoise_by_mean(k, x, means.flatten(0, 1)).reshape(means.shape)

    def divergence(self, k: Tensor, mean: Tensor, prior: Tensor, following: Tensor) -> Tensor:
        """What returns count as the KL divergence of steps to the prior, an `n`-dim tensor: by default, their exact KL.

        Args:
            k: `n` step numbers.
            mean: `n x latent_shape` means of the policy's steps.
            prior: `n x latent_shape` means of the prior's steps.
            following: `n x latent_shape` states that the policy's steps drew.
        """
        return self.transition.kl(k, mean, prior)

    def advantages(self, rollout: Rollout, kl: Tensor) -> Tensor:
        """Advantages of all steps, `n x T`, given their KL divergences to the prior, `n x T`."""
        later = kl.flip(1).cumsum(1).flip(1) - kl
        return self.centered(rollout.reward[:, None] - self.kl_weight * later, rollout)

    def centered(self, returns: Tensor, rollout: Rollout) -> Tensor:
        """Advantages of all steps, `n x T`: the part of `n x T` returns above the step's mean, normalized.

        With prompts, above the mean of the others of their prompt.
        """
        if self.prompted:
            above, _ = deviations(returns, self.prompt(rollout.trajectories.x0))
            return self.normalized(above, deviation(above))
        return self.normalized(returns - returns.mean(0), deviation(returns))

    def normalized(self, advantage: Tensor, scale: Tensor) -> Tensor:
        """Advantages in units of `scale`, which the KL weight of the loss is divided by too, and clipped.

        The scale is one for all steps, or `T`.
        """
        self.scale = scale + 1e-8
        return (advantage / self.scale).clamp(-self.max_advantage, self.max_advantage)

    def log_ratio(self, steps: Steps) -> tuple[Tensor, Tensor]:
        """Log-probability ratios to the behaviour, `n`, and the weighted KL divergence to the prior, `n`."""
        transition = self.transition
        mean = transition.mean_by(self.policy, steps.k, steps.x)
        ratio = transition.log_prob(steps.k, mean, steps.following) - steps.behaviour
        weight = self.kl_weight / self.scale.expand(transition.steps)[steps.k]
        kl = transition.kl(steps.k, mean, steps.reference)
        self.spend(self._learnt * kl + self._earlier)
        return ratio, weight * kl


def clipped(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's pessimistic surrogate of `n` ratios and advantages (Schulman et al. 2017, eq. 7), an `n`-dim tensor."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
