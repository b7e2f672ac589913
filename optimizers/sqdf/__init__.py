"""SQDF: soft Q-based diffusion fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import FineTuner, check_counts
from bbo_bench.alignment.replay import Replay
from bbo_bench.core import Problem
from bbo_bench.diffusion.estimates import ESTIMATES, best


class SQDF(FineTuner):
    """KL-regularized, reparameterized policy gradient of a training-free soft Q-function (Kang et al., ICLR 2026).

    With t - 1 steps left, Q(x_t, x_{t-1}) = γ^{t-1} r(x̂_0(x_{t-1})), where x̂_0 is an estimate of x_0 by the frozen
    prior (eq. 9). The loss is E[-γ^{t-1} r(x̂_0(x_{t-1})) + α KL(p_θ(. | x_t) ‖ p(. | x_t))] over replayed x_t, with
    x_{t-1} reparameterized (eq. 16), so its gradient is one step deep.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        estimate: Of x_0: `consistency`, the prior's consistency model; `tweedie`, its posterior mean; `ddim2`, two
            deterministic steps; None is `consistency` or, where that model is poor, `tweedie`.
        gamma: Discount per denoising step of a chain of 50; γ^{50/T} is used for T steps.
        updates: Gradient steps per round.
        batch_size: States per gradient step.
        rollouts: Fresh trajectories per rollout.
        rollout_every: Gradient steps between rollouts.
        capacity: Trajectories in the replay buffer, which starts empty in every round.
        replay: How training states are drawn; see `Replay`.
        on_policy_fraction: Share of a batch that is drawn from the newest rollout, the rest as `replay` says; None is
            the share of that mode.
        kl_of_mean: Whether the loss has the mean over dimensions of (μ_θ - μ)²/σ², without ½, as in the authors' code,
            in the place of nats: α is 2/d of itself then, for d numbers of a latent.
        **shared: See `FineTuner`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        estimate: str | None,
        gamma: float,
        updates: int,
        batch_size: int,
        rollouts: int,
        rollout_every: int,
        capacity: int,
        replay: str,
        on_policy_fraction: float | None,
        kl_of_mean: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        if self.proxy is None:
            raise ValueError("SQDF follows the gradient of a proxy, got proxy=null; leave it as it is in sqdf.yaml")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], got {gamma}")
        estimate = best(self.prior) if estimate is None else estimate
        if estimate not in ESTIMATES:
            raise ValueError(f"estimate must be one of {', '.join(ESTIMATES)}, got {estimate!r}")
        check_counts(
            updates=updates, batch_size=batch_size, rollouts=rollouts, rollout_every=rollout_every, capacity=capacity
        )
        self.gamma = gamma ** (50 / self.transition.steps)
        self.buffer = partial(Replay, capacity, replay, self.gamma, on_policy_fraction)
        self.buffer()  # refuses an unknown mode before any query is spent
        self.estimate = ESTIMATES[estimate](self.prior, self.transition)
        self.updates, self.batch_size = updates, batch_size
        self.per_rollout, self.rollout_every = rollouts, rollout_every
        if kl_of_mean:
            self._kl_weight *= 2 / self.prior.size

    @property
    def gradient_steps(self) -> int:
        """See `FineTuner.gradient_steps`."""
        return self.updates

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        buffer = self.buffer()
        for update in range(self.updates):
            if update % self.rollout_every == 0:
                trajectories, reward = self.rollout(self.per_rollout)
                buffer.add(trajectories.states, self.comparable(reward, trajectories.x0))
            yield self.loss(*buffer.sample(self.batch_size, self.rng))

    def loss(self, x: Tensor, k: Tensor, steps: Tensor) -> Tensor:
        """Equation 16 for `n x latent_shape` states x_t at steps `k`, each of which stands for so many `steps`."""
        step = self.transition
        mean = step.mean_by(self.policy, k, x)
        with torch.no_grad():
            reference = step.mean_by(self.reference, k, x)
        kl = step.kl(k, mean, reference)
        self.spend(steps * kl)
        q = self.gamma ** (step.steps - 1 - k) * self.reward(self.estimate(k + 1, step.step(k, mean, self.rng)))
        return torch.mean(self.kl_weight * kl - q)
