"""A budget of divergence from the prior: the weight of the KL divergence follows from it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bbo_bench.core import State

SPAN = 2.0
"""How far log λ moves in a round at most."""
POWER = 2.0
"""With which power of KL/κ the weight answers at once."""
RESPONSE = 10.0
"""Bound of KL/κ and of κ/KL in that answer."""
SMOOTHING = 0.9
"""Weight of the earlier estimates in the moving average of the KL divergence."""
OUTLIER = 10.0
"""How many budgets a batch counts for at most."""
LEAST, MOST = 1e-3, 1e3
"""Bounds of α, in prior standard deviations of the score per nat."""


class Dual:
    """The weight α with which the KL divergence of the policy's trajectories to the prior's stays at a budget κ.

    A multiplier λ of the constraint KL ≤ κ ascends its dual: after every gradient step log λ gains `SPAN` / (steps per
    round) times KL/κ - 1, clipped to ±1, with KL a moving average of what the batches show (Haarnoja et al. 2018,
    arXiv:1812.05905, section 5, for SAC's entropy). λ alone lags behind a policy that moves as fast as its learning
    rate lets it, and swings; so α = λ (KL/κ)^`POWER`, with a part in proportion (Stooke, Achiam and Abbeel 2020,
    arXiv:2007.03964). At the budget both are the same. λ begins with 1/√(2κ): where rewards are normal with the prior's
    standard deviation, the prior tilted by exp(r/α) is 1/(2α²) nats away.

    Args:
        budget: κ, in nats per trajectory.
        device: Of α.

    Raises:
        ValueError: If the budget is not positive.
    """

    def __init__(self, budget: float, device: torch.device) -> None:
        if not 0 < budget < math.inf:
            raise ValueError(f"expected kl_budget > 0 nats, got {budget}")
        self.budget = budget
        start = min(max((2 * budget) ** -0.5, LEAST), MOST)
        self._log_weight = torch.tensor(math.log(start), device=device)
        self._kl = torch.full((), math.nan, device=device)

    @property
    def weight(self) -> Tensor:
        """α, a scalar."""
        excess = (self._kl / self.budget).nan_to_num(1.0).clamp(1 / RESPONSE, RESPONSE)
        return (self._log_weight.exp() * excess**POWER).clamp(LEAST, MOST)

    def follow(self, kl: Tensor, steps: int) -> None:
        """Move λ after a batch.

        Args:
            kl: The divergence that its trajectories show, in nats, a scalar.
            steps: Gradient steps of a round.
        """
        kl = kl.clamp(max=OUTLIER * self.budget)
        self._kl = torch.where(self._kl.isnan(), kl, torch.lerp(kl, self._kl, SMOOTHING))
        excess = (self._kl / self.budget - 1).clamp(-1, 1)
        self._log_weight = (self._log_weight + SPAN / steps * excess).clamp(math.log(LEAST), math.log(MOST))

    def diagnostics(self) -> dict[str, float]:
        """α, and whether it has come to its least value, as the optimum is nearer to the prior than the budget."""
        weight = float(self.weight)
        return {"kl_weight": weight, "kl_unbound": float(weight < 1.01 * LEAST)}

    def state_dict(self) -> State:
        """What `load_state_dict` takes up."""
        return {"log_weight": self._log_weight, "kl": self._kl}

    def load_state_dict(self, state: State) -> None:
        """Go on from a state."""
        device = self._kl.device
        self._log_weight, self._kl = state["log_weight"].to(device), state["kl"].to(device)
