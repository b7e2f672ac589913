"""DPOK: diffusion policy optimization with KL regularization."""

from __future__ import annotations

from torch import Tensor

from bbo_bench.diffusion.finetune import Rollout, pairs
from bbo_bench.diffusion.policy_gradient import Steps
from bbo_bench.diffusion.value import ActorCritic


class DPOK(ActorCritic):
    """Policy gradient over denoising steps with a learned baseline and the KL of each step (Fan et al. 2023).

    A step's return is the reward alone, and its own KL divergence to the prior is in the loss: the divergences of later
    steps, which it changes too, are left out, as in the paper (algorithm 1).

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        **shared: See `ActorCritic`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def experience(self, rollout: Rollout) -> Steps:
        """See `OnPolicy.experience`; the value function learns after its use, and is no function of the actions."""
        steps = super().experience(rollout)
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
