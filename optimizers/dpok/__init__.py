"""DPOK: diffusion policy optimization with KL regularization."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor

from bbo_bench.core import Problem, State
from bbo_bench.diffusion.finetune import Rollout, pairs
from bbo_bench.diffusion.policy_gradient import PolicyGradient, Steps
from bbo_bench.diffusion.value import Value


class DPOK(PolicyGradient):
    """Policy gradient over denoising steps with a learned baseline and the KL of each step (Fan et al. 2023).

    A step's return is the reward alone, and its own KL divergence to the prior is in the loss: the divergences of later
    steps, which it changes too, are left out, as in the paper (algorithm 1).

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        value_updates: Gradient steps of the value function per rollout.
        value_learning_rate: Its learning rate.
        **shared: See `PolicyGradient`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        value_updates: int,
        value_learning_rate: float,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        self.value = Value(self.prior.latent_shape, rng, updates=value_updates, learning_rate=value_learning_rate)

    def steps(self, rollout: Rollout) -> Steps:
        """See `PolicyGradient.steps`; the value function learns after its use, and is no function of the actions."""
        steps = super().steps(rollout)
        reward = rollout.reward.repeat_interleave(self.transition.steps)
        self.value.fit(steps.x, self.transition.timesteps[steps.k], reward, self.rng)
        return steps

    def advantages(self, rollout: Rollout, kl: Tensor) -> Tensor:
        """What the reward has above V(x_t, t), `n x T`, and above that step's mean."""
        x, k = pairs(rollout.trajectories.states)
        value = self.value(x, self.transition.timesteps[k]).reshape(kl.shape)
        return self.centered(rollout.reward[:, None] - value)

    def loss(self, steps: Steps) -> Tensor:
        """Minus the advantages weighted by clamped ratios, plus the KL to the prior."""
        log_ratio, kl = self.log_ratio(steps)
        ratio = log_ratio.exp().clamp(1 - self.clip, 1 + self.clip)
        return (kl - ratio * steps.advantage).mean()

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"value": self.value.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        self.value.load_state_dict(state["value"])
