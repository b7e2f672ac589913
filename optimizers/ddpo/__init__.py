"""DDPO: denoising diffusion policy optimization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Generator, Tensor

from bbo_bench.alignment.finetune import Rollout, check_counts
from bbo_bench.alignment.groups import History
from bbo_bench.alignment.policy_gradient import PolicyGradient
from bbo_bench.core import Problem


class DDPO(PolicyGradient):
    """Policy gradient over denoising steps (Black et al. 2024).

    By clipped importance ratios, or, with `clip=None`, by the score function: DDPO-IS, and DDPO-SF.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        history: Rewards of a prompt whose mean and deviation an advantage is measured by, the newest of the round; None
            for those of the rollout's other trajectories. Without prompts there is no such history.
        **shared: See `PolicyGradient`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, *, history: int | None = None, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if history is not None:
            check_counts(history=history)
        self.history = history
        self._known: History | None = None

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`; the proxy is another one in every round, so the history begins anew."""
        several = self.prior.codec.prompts > 1  # starts are others in every rollout
        self._known = None if self.history is None or not several else History(self.history)
        yield from super().losses()

    def centered(self, returns: Tensor, rollout: Rollout) -> Tensor:
        """See `PolicyGradient.centered`; what divergences take from returns is centered over the rollout."""
        if self._known is None:
            return super().centered(returns, rollout)
        mean, spread = self._known.compared(rollout.reward, self.prompt(rollout.trajectories.x0))
        taken = rollout.reward[:, None] - returns
        above = rollout.reward - mean
        unit = spread.mean()
        per_prompt = unit / (spread + 1e-8)
        return self.normalized((above[:, None] - taken + taken.mean(0)) * per_prompt[:, None], unit)
