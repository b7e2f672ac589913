"""REINFORCE over the last denoising steps, with credit weights: the first alignment of "Maximize Your Diffusion"."""

from __future__ import annotations

from bbo_bench.alignment.credit import Credited
from bbo_bench.alignment.finetune import Rollout, Trajectories
from bbo_bench.alignment.policy_gradient import PolicyGradient, Steps


class Reinforce(Credited, PolicyGradient):
    """Ascends E[Σ_t w_t ∇ log p_θ(x_{t-1} | x_t) (R(x_0) - b)] (Huh and Mohapatra 2025, eq. 8).

    The sum is over the last K steps; the baseline b is the step's mean over the rollout. Divergence is controlled by
    the KL to the prior, whose gradient has no credit weight, and by PPO's clipping where there is a `clip`.
    K and w_t are set as in `Credited`, all else as in `PolicyGradient`.
    """

    def experience(self, rollout: Rollout) -> Steps:
        """The last K steps of a rollout."""
        states, means = rollout.trajectories
        first = self.transition.steps - self.last
        late = Trajectories(states[:, first:], means[:, first:])
        if first:
            self.leave(Trajectories(states[:, : first + 1], means[:, :first]))
        steps = super().experience(Rollout(late, rollout.reward))
        if self.credit is None:
            return steps
        weight = self.credit(late, self.transition.steps).flatten()
        return steps._replace(advantage=weight * steps.advantage)
