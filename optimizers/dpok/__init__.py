"""DPOK: diffusion policy optimization with KL regularization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import Rollout, check_counts, pairs
from bbo_bench.alignment.policy_gradient import Steps
from bbo_bench.alignment.value import ActorCritic
from bbo_bench.core import Problem


class DPOK(ActorCritic):
    """Policy gradient over denoising steps with a learned baseline and the KL of each step (Fan et al. 2023).

    A step's return is the reward alone, and its own KL divergence to the prior is in the loss: the divergences of later
    steps, which it changes too, are left out, as in the paper (algorithm 1).

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        buffer: Newest transitions of the round that are learnt from, older rollouts' among them; None for those of the
            newest rollout.
        **shared: See `ActorCritic`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, *, buffer: int | None = None, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if buffer is not None:
            check_counts(buffer=buffer)
        self.buffer = buffer

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        kept: Steps | None = None
        for rollout in self.rollouts(self.iterations, self.samples):
            steps = self.experience(rollout)
            if self.buffer is not None:
                both = (steps,) if kept is None else (kept, steps)
                kept = steps = Steps(*(torch.cat(parts)[-self.buffer :] for parts in zip(*both, strict=True)))
            yield from self.passes(steps)

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
        return self.centered(rollout.reward[:, None] - value, rollout)

    def loss(self, steps: Steps) -> Tensor:
        """Minus the advantages weighted by clamped ratios, plus the KL to the prior."""
        log_ratio, kl = self.log_ratio(steps)
        ratio = log_ratio.exp().clamp(1 - self.clip, 1 + self.clip)
        return (kl - ratio * steps.advantage).mean()
