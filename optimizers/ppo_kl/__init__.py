"""PPO+KL: proximal policy optimization of the reward minus the log-ratios to the prior."""

from __future__ import annotations

from torch import Tensor

from bbo_bench.alignment.finetune import Rollout
from bbo_bench.alignment.policy_gradient import PolicyGradient, Steps, clipped


class PPOKL(PolicyGradient):
    """Proximal policy optimization with the KL divergence to the prior in the reward, as for language models.

    Every step has the reward -α log(p_θ/p)(x_{t-1} | x_t) of the action that was drawn, the last one also r(x_0); a
    step's return is the sum from it on (Ziegler et al. 2019, eq. 2; Ouyang et al. 2022, eq. 2). The loss is PPO's.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        **shared: See `PolicyGradient`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def divergence(self, k: Tensor, mean: Tensor, prior: Tensor, following: Tensor) -> Tensor:
        """Log-ratios of policy to prior of the steps that were drawn: one-sample estimates of the KL."""
        step = self.transition
        return step.log_prob(k, mean, following) - step.log_prob(k, prior, following)

    def advantages(self, rollout: Rollout, kl: Tensor) -> Tensor:
        """What the reward minus the weighted log-ratios from a step on, its own included, has above the step's mean."""
        to_go = kl.flip(1).cumsum(1).flip(1)
        return self.centered(rollout.reward[:, None] - self.kl_weight * to_go, rollout)

    def loss(self, steps: Steps) -> Tensor:
        """Minus PPO's surrogate."""
        log_ratio, _ = self.log_ratio(steps)
        return -clipped(log_ratio.exp(), steps.advantage, self.clip).mean()
