"""DDPO: denoising diffusion policy optimization."""

from __future__ import annotations

import math
from typing import Any

from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.diffusion.policy_gradient import PolicyGradient, Steps


class DDPO(PolicyGradient):
    """Policy gradient over denoising steps (Black et al. 2024), by clipped importance ratios or by the score function.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        clip: Ratios outside 1 ± clip give no gradient where they would go further (DDPO-IS); None takes the score
            function, E[A ∇ log p] (DDPO-SF), which is right on-policy only.
        **shared: See `PolicyGradient`.

    Raises:
        ValueError: If a setting is out of range, or there is more than one gradient step per rollout without ratios.
    """

    def __init__(self, problem: Problem, rng: Generator, *, clip: float | None, **shared: Any) -> None:
        super().__init__(problem, rng, clip=math.inf if clip is None else clip, **shared)
        if clip is None and self.epochs * self.minibatches > 1:
            raise ValueError(
                "the score function is right for one gradient step per rollout: set epochs=1 and minibatches=1, "
                f"or a clip, got epochs={self.epochs}, minibatches={self.minibatches}"
            )

    def loss(self, steps: Steps) -> Tensor:
        """See `PolicyGradient.loss`."""
        if self.clip < math.inf:
            return super().loss(steps)
        log_ratio, kl = self.log_ratio(steps)
        return (kl - steps.advantage * log_ratio).mean()
