"""Score as action: continuous-time policy gradient with a value function that knows the reward of x̂_0."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import Rollout, pairs
from bbo_bench.alignment.value import ActorCritic
from bbo_bench.core import Problem


class ScoreAsAction(ActorCritic):
    """Policy gradient by the advantage rate of the action, which is the score (Zhao et al., ICML 2025).

    E ∫ ∇ log π_θ(a_t | x_t) [dV(t, x_t)/dt + R] dt with the running reward R = -(β/2) g² ‖a_t - s(x_t)‖² and the value
    function V(t, x) = c_skip(t) r(x̂_0) + c_out(t) NN(x, t), c_skip = cos(πt/2T), c_out = sin(πt/2T). By the sampler's
    steps, dV is what V gains in a step, ∫ R dt is -α times the step's KL divergence to the prior, so β = α, and the
    step's noise is the action's.

    Without a proxy, nothing but the network knows values before x_0: c_skip = 0 and c_out = 1 for t > 0.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        **shared: See `ActorCritic`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        t = torch.arange(self.transition.steps, 0, -1, device=rng.device) / self.transition.steps
        self.c_skip, self.c_out = (math.pi / 2 * t).cos(), (math.pi / 2 * t).sin()
        if self.proxy is None:
            self.c_skip, self.c_out = torch.zeros_like(t), torch.ones_like(t)

    def advantages(self, rollout: Rollout, kl: Tensor) -> Tensor:
        """What V gains in each step, less α times the step's KL divergence, `n x T`; V learns first."""
        x, k = pairs(rollout.trajectories.states)
        timestep = self.transition.timesteps[k]
        known = self.c_skip * self.guess(rollout)
        to_go = rollout.reward[:, None] - self.kl_weight * kl.flip(1).cumsum(1).flip(1)
        self.value.fit(x, timestep, (to_go - known).flatten(), self.rng, scale=self.c_out[k])
        value = known + self.c_out * self.value(x, timestep).reshape(kl.shape)
        gain = torch.cat([value, rollout.reward[:, None]], 1).diff()
        return self.centered(gain - self.kl_weight * kl, rollout)

    def guess(self, rollout: Rollout) -> Tensor:
        """r(x̂_0), `n x T`, of the policy's own posterior means; 0 without a proxy. Diversity is left to the network."""
        if self.proxy is None:
            return torch.zeros_like(self.c_skip)
        x0 = self.estimates(rollout.trajectories)
        every = x0.flatten(0, 1)
        return self.standardized(self.proxy(every), every).reshape(x0.shape[:2])
