"""ReFL: reward feedback learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.backprop import Backprop
from bbo_bench.core import Problem


class ReFL(Backprop):
    """Follows the reward of x̂_0, predicted from a random late step (Xu et al., NeurIPS 2023, algorithm 1).

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        earliest: x̂_0 is predicted from a step drawn uniformly among those behind this part of the chain, in [0, 1).
        target: The loss is relu(target - r): a reward above it gives no gradient; None for -r.
        **shared: See `Backprop`.

    Raises:
        ValueError: If `earliest` is out of range, or there is a KL weight or budget, which has no place here.
    """

    def __init__(
        self, problem: Problem, rng: Generator, *, earliest: float, target: float | None, **shared: Any
    ) -> None:
        weight, budget = shared.get("kl_weight", 0), shared.get("kl_budget")
        if weight or budget:
            raise ValueError(
                "expected kl_weight = 0 and no kl_budget, as ReFL has no KL term, "
                f"got kl_weight={weight}, kl_budget={budget}"
            )
        super().__init__(problem, rng, **shared)
        if not 0 <= earliest < 1:
            raise ValueError(f"expected 0 <= earliest < 1, got {earliest=}")
        self.earliest, self.target = int(earliest * self.transition.steps), target

    def kept(self) -> Tensor:
        """See `Backprop.kept`: the step that x̂_0 is predicted from."""
        steps, rng = self.transition.steps, self.rng
        m = torch.randint(self.earliest, steps, (self.updates, 1), generator=rng, device=rng.device)
        return torch.arange(steps, device=rng.device) == m

    def loss(self, kept: Sequence[bool]) -> Tensor:
        """See `Backprop.loss`; here of x̂_0, and no step is taken behind the kept one."""
        m = kept.index(True)
        x, _ = self.path(kept[:m])
        x0 = self.transition.denoise(m, x, self.output(self.policy, m, x))
        reward = self.reward(x0)
        return -reward.mean() if self.target is None else (self.target - reward).relu().mean()
